//! The comment beside a grant's elements: `g42 alice ssh ttl=1800`. It tells the operator in
//! `nft list` what an element is, and it is all that a restarted server knows of its grants.

use std::time::Duration;

use crate::grant::{Grant, GrantId};

/// Longest comment that fits the one-byte length of nft's userdata, its NUL included in 255, and
/// the kernel's 256 bytes in all.
const LONGEST: usize = 253;

/// A comment, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comment<'a> {
    pub(super) id: GrantId,
    pub(super) client: &'a str,
    pub(super) service: &'a str,
    pub(super) ttl: Duration,
}

/// Writes it; None when the names are too long or could not be told apart again.
pub(super) fn write(grant: &Grant) -> Option<String> {
    let ttl = if grant.ttl.subsec_millis() == 0 {
        grant.ttl.as_secs().to_string()
    } else {
        format!("{}ms", grant.ttl.as_millis())
    };
    let text = format!("{} {} {} ttl={ttl}", grant.id, grant.client, grant.service);
    let faithful = read(&text).is_some_and(|c| c.client == &*grant.client && c.service == &*grant.service);
    (text.len() <= LONGEST && faithful).then_some(text)
}

/// Reads it; None for comments that are not ours.
pub(super) fn read(text: &str) -> Option<Comment<'_>> {
    let mut words = text.split(' ');
    let id = words.next()?.strip_prefix('g')?.parse().ok().map(GrantId)?;
    let client = words.next().filter(|w| !w.is_empty())?;
    let service = words.next().filter(|w| !w.is_empty())?;
    let ttl = words.next()?.strip_prefix("ttl=")?;
    let ttl = match ttl.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(ms.parse().ok()?),
        None => Duration::from_secs(ttl.parse().ok()?),
    };
    words.next().is_none().then_some(Comment { id, client, service, ttl })
}
