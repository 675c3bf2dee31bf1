//! Elements: what is written beside a key, and the messages about them.

use std::time::Duration;

use super::abi::{self, element, msg};
use super::expression::{Count, Expression};
use super::key::Key;
use super::model::Pair;
use crate::firewall::netlink::message::{APPEND, CREATE};
use crate::firewall::netlink::{Attrs, Batch, Nla};

/// Elements in one message: with the longest comment they stay below the 64 KiB of an attribute.
const PER_MESSAGE: usize = 128;
/// Type of nft's comment in an element's userdata (libnftnl `NFTNL_UDATA_SET_ELEM_COMMENT`).
const COMMENT: u8 = 0;

/// An element to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Key,
    /// The time it was given.
    pub(super) ttl: Duration,
    /// The time that is left of it.
    pub(super) left: Duration,
    /// Shown by `nft list`; at most 253 bytes.
    pub(super) comment: String,
    /// Where its counter begins.
    pub(super) count: Count,
}

impl Element {
    /// An element whose time begins now.
    pub(super) fn new(key: Key, ttl: Duration) -> Self {
        Self { key, ttl, left: ttl, comment: String::new(), count: Count::default() }
    }
}

/// An element as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) left: Duration,
    pub(super) comment: String,
    pub(super) count: Count,
}

/// A time in milliseconds as the kernel wants it; never 0, which means "for ever" there.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Writes elements with their time, whether they exist or not: add, delete, add. A plain add
/// would keep the old timer (before Linux 6.12), a plain delete would fail on a missing element,
/// and in one transaction no packet sees the moment between.
pub(super) fn replace(batch: &mut Batch, elements: &[Element]) {
    for run in runs(elements, |e| e.key.set()) {
        add(batch, run, 0);
        message(batch, msg::DEL_ELEMENT, 0, run, |n, e| e.key.write(n), |_, _| ());
        add(batch, run, 0);
    }
}

/// Adds elements. One that exists keeps its timer, or with `EXCLUSIVE` refuses the transaction.
pub(super) fn add(batch: &mut Batch, elements: &[Element], flags: u16) {
    for run in runs(elements, |e| e.key.set()) {
        message(
            batch,
            msg::NEW_ELEMENT,
            CREATE | APPEND | flags,
            run,
            |n, e| e.key.write(n),
            |n, e| {
                n.put_u64(element::TIMEOUT, millis(e.ttl));
                if e.left != e.ttl {
                    n.put_u64(element::EXPIRATION, millis(e.left));
                }
                if !e.comment.is_empty() {
                    n.put(element::USERDATA, &userdata(&e.comment));
                }
                // Without one the kernel makes the set's own, which begins at zero.
                if e.key.counted() && e.count != Count::default() {
                    n.nest(element::EXPRESSION, |n| Expression::Counter(e.count).encode(n));
                }
            },
        );
    }
}

/// Deletes elements whether they exist or not: what is missing is made first.
pub(super) fn clear(batch: &mut Batch, keys: &[Key]) {
    let elements: Vec<_> =
        keys.iter().map(|key| Element::new(*key, Duration::from_secs(1))).collect();
    add(batch, &elements, 0);
    delete(batch, keys);
}

/// Deletes elements; a missing one makes the whole transaction fail.
pub(super) fn delete(batch: &mut Batch, keys: &[Key]) {
    for run in runs(keys, |key| key.set()) {
        message(batch, msg::DEL_ELEMENT, 0, run, |n, key| key.write(n), |_, _| ());
    }
}

/// Neighbours of the same set, in pieces that fit into a message.
pub(super) fn runs<T>(items: &[T], set: impl Fn(&T) -> &'static str) -> impl Iterator<Item = &[T]> {
    items.chunk_by(move |a, b| set(a) == set(b)).flat_map(|run| run.chunks(PER_MESSAGE))
}

trait Keyed {
    fn set(&self) -> &'static str;
}

impl Keyed for Element {
    fn set(&self) -> &'static str {
        self.key.set()
    }
}

impl Keyed for Key {
    fn set(&self) -> &'static str {
        Key::set(*self)
    }
}

fn message<T: Keyed>(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    items: &[T],
    key: impl Fn(&mut Nla, &T),
    beside: impl Fn(&mut Nla, &T),
) {
    let Some(set) = items.first().map(Keyed::set) else { return };
    batch.push(kind, flags, abi::INET, set, |n| {
        in_set(n, set, |n| {
            for item in items {
                n.nest(abi::LIST_ELEM, |n| {
                    key(n, item);
                    beside(n, item);
                });
            }
        });
    });
}

/// Table, set and a list of elements.
pub(super) fn in_set(n: &mut Nla, set: &str, elements: impl FnOnce(&mut Nla)) {
    n.put_str(abi::TABLE, super::TABLE);
    n.put_str(element::SET, set);
    n.nest(element::ELEMENTS, elements);
}

/// The body of a lookup of keys of one set.
pub(super) fn these(n: &mut Nla, keys: &[Key]) {
    let Some(first) = keys.first() else { return };
    in_set(n, first.set(), |n| {
        for key in keys {
            n.nest(abi::LIST_ELEM, |n| key.write(n));
        }
    });
}

/// `u8 type, u8 length, text, NUL`, as nft writes a comment.
fn userdata(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut out = vec![COMMENT, length];
    out.extend(comment.bytes().take(usize::from(length) - 1));
    out.push(0);
    out
}

/// Reads the elements of a message about the pair's sets; elements without a timer count as
/// endless.
pub(super) fn read(pair: Pair, attrs: Attrs<'_>, each: &mut impl FnMut(Found)) {
    let Some(list) = attrs.nested(element::ELEMENTS) else { return };
    for (_, bytes) in list {
        let key = Key::read(pair, Attrs(bytes));
        let (mut left, mut comment) = (Duration::from_secs(u64::from(u32::MAX)), "");
        let mut count = Count::default();
        for (kind, value) in Attrs(bytes) {
            match kind {
                element::EXPIRATION => {
                    if let Ok(ms) = value.try_into().map(u64::from_be_bytes) {
                        left = Duration::from_millis(ms);
                    }
                }
                element::USERDATA => comment = text(value),
                element::EXPRESSION => {
                    let decoded = Expression::decode(Attrs(value)).map(|d| d.expression);
                    if let Some(Expression::Counter(found)) = decoded {
                        count = found;
                    }
                }
                _ => (),
            }
        }
        if let Some(key) = key {
            each(Found { key, left, comment: comment.to_owned(), count });
        }
    }
}

/// The comment in an element's userdata.
fn text(mut userdata: &[u8]) -> &str {
    while let [kind, length, rest @ ..] = userdata {
        let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *kind == COMMENT {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value))
                .unwrap_or_default();
        }
        userdata = rest;
    }
    ""
}
