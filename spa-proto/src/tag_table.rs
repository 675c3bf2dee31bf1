//! From a packet's first 8 bytes to client and stage in one look-up, for one epoch.
//!
//! Immutable once built, so it can be made ahead of time on another thread and swapped in. Entries
//! lie in buckets by the tag's high bits, about four to a bucket, and each bucket has a small
//! filter beside its index, so that a stranger's packet nearly always ends at one cache line: 8
//! bytes an entry plus 2 for the index, where a hash table of tags with spare room would need over
//! 20.

use crate::layout::TAG_LEN;

/// A client's index and a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Index of the client, below 2^29.
    pub client: u32,
    /// Stage, 0 to 7.
    pub stage: u8,
}

/// The low half of the tag, and client · 8 + stage.
#[derive(Clone, Copy, Default)]
struct Entry {
    low: u32,
    value: u32,
}

const PER_BUCKET: usize = 4;

/// Offset where a bucket's entries begin (they end where the next bucket's begin), and a filter of
/// their tags.
#[derive(Clone, Copy, Default)]
struct Bucket {
    start: u32,
    filter: u32,
}

/// The tags of every client and stage in one epoch.
#[derive(Default)]
pub struct TagTable {
    buckets: Vec<Bucket>,
    entries: Vec<Entry>,
}

/// Collects the tags of an epoch.
#[derive(Default)]
pub struct TagTableBuilder {
    highs: Vec<u32>,
    entries: Vec<Entry>,
}

impl TagTableBuilder {
    /// Room for `n` tags.
    #[must_use]
    pub fn with_capacity(n: usize) -> Self {
        Self { highs: Vec::with_capacity(n), entries: Vec::with_capacity(n) }
    }

    /// Adds the tag of a client's stage. A client index of 2^29 or above is not representable and
    /// left out.
    pub fn add(&mut self, tag: [u8; TAG_LEN], client: u32, stage: u8) {
        if client < 1 << 29 && stage < 8 {
            let tag = u64::from_be_bytes(tag);
            self.highs.push((tag >> 32) as u32);
            self.entries.push(Entry { low: tag as u32, value: client << 3 | u32::from(stage) });
        }
    }

    /// The finished table. Entries move to their buckets in place (an American flag sort): the peak
    /// is what a million clients' server must have room for.
    #[must_use]
    pub fn build(mut self) -> TagTable {
        let count = self.entries.len() / PER_BUCKET + 1;
        let mut buckets = vec![Bucket::default(); count + 1];
        for high in &self.highs {
            if let Some(next) = buckets.get_mut(bucket_index(*high, count) + 1) {
                next.start += 1;
            }
        }
        let mut sum = 0;
        for bucket in &mut buckets {
            sum += bucket.start;
            // Until the filters are made, this is where the next entry of the bucket goes.
            *bucket = Bucket { start: sum, filter: sum };
        }
        for home in 0..count {
            let end = buckets.get(home + 1).map_or(0, |next| next.start);
            while let Some(at) = buckets.get(home).map(|home| home.filter).filter(|at| *at < end) {
                let Some(to) = self.highs.get(at as usize).map(|high| bucket_index(*high, count))
                else {
                    break;
                };
                let Some(goal) = buckets.get_mut(to) else { break };
                let free = goal.filter;
                goal.filter += 1;
                if to != home {
                    self.highs.swap(at as usize, free as usize);
                    self.entries.swap(at as usize, free as usize);
                }
            }
        }
        drop(self.highs);
        self.entries.shrink_to_fit();
        let mut end = self.entries.len();
        for bucket in buckets.iter_mut().rev() {
            let entries = self.entries.get(bucket.start as usize..end).unwrap_or_default();
            bucket.filter = entries.iter().fold(0, |filter, entry| filter | filter_bits(entry.low));
            end = bucket.start as usize;
        }
        TagTable { buckets, entries: self.entries }
    }
}

/// Multiply-shift of the tag's high half.
fn bucket_index(high: u32, buckets: usize) -> usize {
    ((u64::from(high) * buckets as u64) >> 32) as usize
}

/// A tag's bits in its bucket's filter: two of 32, so that with four entries a stranger's tag
/// passes one time in twenty.
fn filter_bits(low: u32) -> u32 {
    1 << (low & 31) | 1 << (low >> 5 & 31)
}

impl TagTable {
    /// The clients whose tag this packet may carry: none for a stranger's packet, nearly always
    /// exactly one otherwise. The bits that are not compared here are under the packet's mac.
    pub fn find<'a>(&'a self, packet: &[u8]) -> impl Iterator<Item = Hit> + use<'a> {
        let tag = packet.first_chunk::<TAG_LEN>().map(|tag| u64::from_be_bytes(*tag));
        let (high, low) = tag.map_or((0, 0), |tag| ((tag >> 32) as u32, tag as u32));
        let buckets = tag.and_then(|_| self.buckets.len().checked_sub(1));
        let of_bucket = buckets.and_then(|count| {
            let at = bucket_index(high, count);
            let here = self
                .buckets
                .get(at)
                .filter(|here| here.filter & filter_bits(low) == filter_bits(low))?;
            let end = self.buckets.get(at + 1)?.start;
            self.entries.get(here.start as usize..end as usize)
        });
        of_bucket
            .unwrap_or_default()
            .iter()
            .filter(move |entry| entry.low == low)
            .map(|entry| Hit { client: entry.value >> 3, stage: (entry.value & 7) as u8 })
    }

    /// Number of tags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Heap bytes it holds.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>() + self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain map, with tags that crowd together as well as spread ones.
        #[test]
        fn as_a_map(
            tags in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..64, (0u64..8).prop_map(|n| n << 32)], 0..300),
            others in prop::collection::vec(any::<u64>(), 0..50),
        ) {
            let mut builder = TagTableBuilder::with_capacity(tags.len());
            let mut map: HashMap<u64, Vec<(u32, u8)>> = HashMap::new();
            for (client, tag) in (0u32..).zip(&tags) {
                let stage = (client % 8) as u8;
                builder.add(tag.to_be_bytes(), client, stage);
                map.entry(*tag).or_default().push((client, stage));
            }
            let table = builder.build();
            prop_assert_eq!(table.len(), tags.len());
            for tag in tags.iter().chain(&others) {
                let found: Vec<(u32, u8)> = table
                    .find(&tag.to_be_bytes())
                    .map(|hit| (hit.client, hit.stage))
                    .collect();
                for wanted in map.get(tag).into_iter().flatten() {
                    prop_assert!(found.contains(wanted));
                }
                // Others in the same bucket may share the low half, nothing else is found.
                for (client, stage) in &found {
                    prop_assert_eq!(tags[*client as usize] as u32, *tag as u32);
                    prop_assert_eq!(u32::from(*stage), client % 8);
                }
            }
        }
    }

    #[test]
    fn strangers_rarely_pass_the_filter() {
        let mut tag = 1u64;
        let mut next = || {
            tag = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_add(1);
            tag
        };
        let mut builder = TagTableBuilder::default();
        for client in 0..10_000 {
            builder.add(next().to_be_bytes(), client, 0);
        }
        let table = builder.build();
        let passes = (0..10_000)
            .filter(|_| {
                let tag = next();
                let at = bucket_index((tag >> 32) as u32, table.buckets.len() - 1);
                table.buckets[at].filter & filter_bits(tag as u32) == filter_bits(tag as u32)
            })
            .count();
        assert!((200..1000).contains(&passes), "{passes} of 10 000");
    }
}
