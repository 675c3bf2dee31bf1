//! Elements: what is written beside a key, and the messages about them.

use std::time::Duration;

use spa_keys::whole_millis;

use super::abi::{self, element, msg};
use super::element_key::ElementKey;
use super::expression::{Count, Expression};
use super::model::TABLE_NAME;
use crate::firewall::address_set::AddressSet;
use crate::firewall::netlink::message::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, single};
use crate::firewall::netlink::{Attrs, Batch, Nla};

/// Elements in one message: with the longest comment they stay below the 64 KiB of an attribute.
const ELEMENTS_PER_MESSAGE: usize = 128;
/// Type of nft's comment in an element's userdata (libnftnl `NFTNL_UDATA_SET_ELEM_COMMENT`).
const UDATA_COMMENT: u8 = 0;

/// Time left of an element without a timer.
pub(super) const ENDLESS_TIME: Duration = Duration::from_secs(u32::MAX as u64);

/// Element to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// Set and key in it.
    pub(super) key: ElementKey,
    /// The time it was given.
    pub(super) ttl: Duration,
    /// The time that is left of it.
    pub(super) left: Duration,
    /// Shown by `nft list`; at most 253 bytes.
    pub(super) comment: String,
    /// Start of its counter.
    pub(super) count: Count,
}

impl Element {
    /// An element whose time begins now.
    pub(super) fn new(key: ElementKey, ttl: Duration) -> Self {
        Self { key, ttl, left: ttl, comment: String::new(), count: Count::default() }
    }
}

/// Element as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelElement {
    /// Set and key in it.
    pub(super) key: ElementKey,
    /// Time left by the kernel's timer; 136 years for an element without one.
    pub(super) left: Duration,
    /// Comment as `nft list` shows it; empty when there is none.
    pub(super) comment: String,
    /// Counter; zero when the element has none.
    pub(super) count: Count,
}

/// A time in milliseconds as the kernel wants it; never 0, which means "for ever" there.
pub(super) fn millis(time: Duration) -> u64 {
    whole_millis(time).max(1)
}

/// Writes elements with their time, whether they exist or not: add, delete, add. A plain add
/// would keep the old timer (before Linux 6.12), a plain delete would fail on a missing element,
/// and in one transaction no packet sees the moment between.
pub(super) fn replace_elements(batch: &mut Batch, elements: &[Element]) {
    for run in runs(elements, |e| e.key) {
        push_new(batch, run, 0);
        push_run(batch, msg::DEL_ELEMENT, 0, run, |e| e.key, |_, _| ());
        push_new(batch, run, 0);
    }
}

/// Adds elements. One that exists keeps its timer, or with `NLM_F_EXCL` refuses the transaction.
pub(super) fn add_elements(batch: &mut Batch, elements: &[Element], flags: u16) {
    runs(elements, |e| e.key).for_each(|run| push_new(batch, run, flags));
}

/// Deletes elements whether they exist or not: what is missing is made first.
pub(super) fn clear_elements(batch: &mut Batch, keys: &[ElementKey]) {
    let elements: Vec<_> =
        keys.iter().map(|key| Element::new(*key, Duration::from_secs(1))).collect();
    add_elements(batch, &elements, 0);
    delete_elements(batch, keys);
}

/// Deletes elements; a missing one makes the whole transaction fail.
pub(super) fn delete_elements(batch: &mut Batch, keys: &[ElementKey]) {
    for run in runs(keys, |key| *key) {
        push_run(batch, msg::DEL_ELEMENT, 0, run, |key| *key, |_, _| ());
    }
}

/// Neighbours of the same set, in pieces that fit into a message.
pub(super) fn runs<T>(items: &[T], key: fn(&T) -> ElementKey) -> impl Iterator<Item = &[T]> {
    items
        .chunk_by(move |a, b| key(a).set_name() == key(b).set_name())
        .flat_map(|run| run.chunks(ELEMENTS_PER_MESSAGE))
}

fn push_new(batch: &mut Batch, run: &[Element], flags: u16) {
    let flags = NLM_F_CREATE | NLM_F_APPEND | flags;
    push_run(
        batch,
        msg::NEW_ELEMENT,
        flags,
        run,
        |e| e.key,
        |n, e| {
            n.put_u64(element::TIMEOUT, millis(e.ttl));
            if e.left != e.ttl {
                n.put_u64(element::EXPIRATION, millis(e.left));
            }
            if !e.comment.is_empty() {
                n.put(element::USERDATA, &userdata(&e.comment));
            }
            // Without one the kernel makes the set's own, which begins at zero.
            if e.key.kind.counts() && e.count != Count::default() {
                n.nest(element::EXPRESSION, |n| e.count.expression().encode(n));
            }
        },
    );
}

fn push_run<T>(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    run: &[T],
    key: fn(&T) -> ElementKey,
    beside: fn(&mut Nla, &T),
) {
    let Some(set) = run.first().map(|first| key(first).set_name()) else { return };
    batch.push(kind, flags, abi::NFPROTO_INET, set, |n| {
        put_set(n, set, |n| {
            for item in run {
                n.nest(abi::LIST_ELEM, |n| {
                    key(item).write(n);
                    beside(n, item);
                });
            }
        });
    });
}

/// Writes table, set and a list of elements.
pub(super) fn put_set(n: &mut Nla, set: &str, elements: impl FnOnce(&mut Nla)) {
    n.put_str(abi::TABLE_ATTRIBUTE, TABLE_NAME);
    n.put_str(element::SET, set);
    n.nest(element::ELEMENTS, elements);
}

/// Request for the elements with these keys, all of one set.
pub(super) fn request_elements(keys: &[ElementKey]) -> Nla {
    single(msg::GET_ELEMENT, NLM_F_ACK, abi::NFPROTO_INET, 0, |n| {
        let Some(first) = keys.first() else { return };
        put_set(n, first.set_name(), |n| {
            keys.iter().for_each(|key| n.nest(abi::LIST_ELEM, |n| key.write(n)));
        });
    })
}

/// `u8 type, u8 length, text, NUL`, as nft writes a comment.
fn userdata(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut out = vec![UDATA_COMMENT, length];
    out.extend(comment.bytes().take(usize::from(length) - 1));
    out.push(0);
    out
}

/// Reads the elements of a message about a set.
pub(super) fn read_elements(
    set: AddressSet,
    attrs: Attrs<'_>,
    each: &mut impl FnMut(KernelElement),
) {
    let list = attrs.nested(element::ELEMENTS).into_iter().flatten();
    list.filter_map(|(_, bytes)| read_element(set, Attrs(bytes))).for_each(each);
}

/// Reads an element; one without a timer counts as endless.
fn read_element(set: AddressSet, attrs: Attrs<'_>) -> Option<KernelElement> {
    Some(KernelElement {
        key: ElementKey::read(set, attrs)?,
        left: attrs.u64(element::EXPIRATION).map_or(ENDLESS_TIME, Duration::from_millis),
        comment: comment_of(attrs).to_owned(),
        count: count_of(attrs),
    })
}

/// Count of an element; one without a counter has counted nothing.
pub(super) fn count_of(attrs: Attrs<'_>) -> Count {
    let expression = attrs.nested(element::EXPRESSION).and_then(Expression::decode);
    match expression.map(|decoded| decoded.expression) {
        Some(Expression::Counter { packets, bytes }) => Count { packets, bytes },
        _ => Count::default(),
    }
}

/// Comment of an element.
pub(super) fn comment_of(attrs: Attrs<'_>) -> &str {
    attrs.get(element::USERDATA).map(read_userdata).unwrap_or_default()
}

/// The comment in an element's userdata.
fn read_userdata(mut userdata: &[u8]) -> &str {
    while let [kind, length, rest @ ..] = userdata {
        let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *kind == UDATA_COMMENT {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value))
                .unwrap_or_default();
        }
        userdata = rest;
    }
    ""
}
