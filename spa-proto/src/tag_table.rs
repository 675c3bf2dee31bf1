//! From a packet's first 8 bytes to client and stage in one look-up, for one epoch.
//!
//! Immutable once built, so it can be made ahead of time on another thread and swapped in. Entries are sorted into
//! buckets by the tag's high bits, about four to a bucket: 8 bytes an entry plus 1 for the bucket's index, where
//! a hash table of tags with spare room would need over 20.

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

/// The tags of every client and stage in one epoch.
#[derive(Default)]
pub struct TagTable {
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

/// Collects the tags of an epoch.
#[derive(Default)]
pub struct TagTableBuilder {
    tags: Vec<(u64, u32)>,
}

impl TagTableBuilder {
    /// Room for `n` tags.
    #[must_use]
    pub fn with_capacity(n: usize) -> Self {
        Self { tags: Vec::with_capacity(n) }
    }

    /// Adds the tag of a client's stage. A client index of 2^29 or above is not representable and left out.
    pub fn add(&mut self, tag: [u8; TAG_LEN], client: u32, stage: u8) {
        if client < 1 << 29 && stage < 8 {
            self.tags.push((u64::from_be_bytes(tag), client << 3 | u32::from(stage)));
        }
    }

    /// The finished table.
    #[must_use]
    pub fn build(mut self) -> TagTable {
        self.tags.sort_unstable();
        let buckets = self.tags.len() / PER_BUCKET + 1;
        let mut starts = vec![0; buckets + 1];
        for (tag, _) in &self.tags {
            if let Some(count) = starts.get_mut(bucket(*tag, buckets) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let entries =
            self.tags.iter().map(|(tag, value)| Entry { low: *tag as u32, value: *value }).collect();
        TagTable { starts, entries }
    }
}

/// Multiply-shift of the whole tag: monotonic, so sorting by tag sorts by bucket.
fn bucket(tag: u64, buckets: usize) -> usize {
    ((u128::from(tag) * buckets as u128) >> 64) as usize
}

impl TagTable {
    /// The clients whose tag this packet may carry: none for a stranger's packet, nearly always exactly one
    /// otherwise. The bits that are not compared here are under the packet's mac.
    pub fn find(&self, tag: &[u8; TAG_LEN]) -> impl Iterator<Item = Hit> + use<'_> {
        let tag = u64::from_be_bytes(*tag);
        let of_bucket = self.starts.len().checked_sub(1).and_then(|buckets| {
            let at = bucket(tag, buckets);
            let (from, to) = (*self.starts.get(at)?, *self.starts.get(at + 1)?);
            self.entries.get(from as usize..to as usize)
        });
        of_bucket
            .unwrap_or_default()
            .iter()
            .filter(move |entry| entry.low == tag as u32)
            .map(|entry| Hit { client: entry.value >> 3, stage: (entry.value & 7) as u8 })
    }

    /// Number of tags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Heap bytes it holds.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.starts.capacity() * size_of::<u32>() + self.entries.capacity() * size_of::<Entry>()
    }
}
