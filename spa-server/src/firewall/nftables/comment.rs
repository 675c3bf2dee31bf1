//! The comment beside a grant's elements: `g42 alice ssh ttl=1800`, for a wide one with `
//! from=192.0.2.7/24` behind, for an unconfirmed one with ` provisional`. It tells the operator in
//! `nft list` what an element is, and it is all that a restarted server knows of its grants.

use std::net::IpAddr;
use std::time::Duration;

use super::grant_keys::is_wide;
use crate::domain::grant::{Grant, GrantId, alone};

/// Longest comment that fits the one-byte length of nft's userdata, its NUL included in 255, and
/// the kernel's 256 bytes in all.
const MAX_COMMENT_BYTES: usize = 253;

/// A comment, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comment<'a> {
    /// Number of the grant.
    pub(super) id: GrantId,
    /// Name of the client that knocked.
    pub(super) client: &'a str,
    /// Name of the service that was opened.
    pub(super) service: &'a str,
    /// Time that the grant was given, whatever is left of it.
    pub(super) ttl: Duration,
    /// Of a wide grant, whose elements do not tell it: source and prefix.
    pub(super) from: Option<(IpAddr, u8)>,
    /// Nobody had confirmed it.
    pub(super) provisional: bool,
}

/// Writes it; None when the names are too long or could not be told apart again.
pub(super) fn write_comment(grant: &Grant) -> Option<String> {
    let ttl = if grant.ttl.subsec_millis() == 0 {
        grant.ttl.as_secs().to_string()
    } else {
        format!("{}ms", grant.ttl.as_millis())
    };
    let mut text = format!("{} {} {} ttl={ttl}", grant.id, grant.client, grant.service);
    if is_wide(grant) {
        text.push_str(&format!(" from={}/{}", grant.source, grant.prefix));
    }
    if grant.provisional {
        text.push_str(" provisional");
    }
    let faithful = read_comment(&text)
        .is_some_and(|c| c.client == &*grant.client && c.service == &*grant.service);
    (text.len() <= MAX_COMMENT_BYTES && faithful).then_some(text)
}

/// Reads it; None for comments that are not ours.
pub(super) fn read_comment(text: &str) -> Option<Comment<'_>> {
    let mut words = text.split(' ');
    let id = words.next()?.strip_prefix('g')?.parse().ok().map(GrantId)?;
    let client = words.next().filter(|w| !w.is_empty())?;
    let service = words.next().filter(|w| !w.is_empty())?;
    let ttl = words.next()?.strip_prefix("ttl=")?;
    let ttl = match ttl.strip_suffix("ms") {
        Some(ms) => Duration::from_millis(ms.parse().ok()?),
        None => Duration::from_secs(ttl.parse().ok()?),
    };
    let mut words = words.peekable();
    let from = match words.next_if(|word| word.starts_with("from=")) {
        Some(word) => {
            let (source, prefix) = word.strip_prefix("from=")?.split_once('/')?;
            let (source, prefix) = (source.parse().ok()?, prefix.parse().ok()?);
            Some((source, prefix)).filter(|_| prefix < alone(source))
        }
        None => None,
    };
    let provisional = words.next_if(|word| *word == "provisional").is_some();
    words.next().is_none().then_some(Comment { id, client, service, ttl, from, provisional })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::grant::Scope;

    fn grant(client: &str, service: &str, ttl: Duration) -> Grant {
        let source = std::net::Ipv4Addr::LOCALHOST.into();
        Grant {
            id: GrantId(42),
            client: client.into(),
            service: service.into(),
            source,
            prefix: 32,
            scope: Scope::All,
            ttl,
            provisional: false,
        }
    }

    #[test]
    fn what_is_written_is_read_or_refused() {
        let text = write_comment(&grant("alice", "ssh", Duration::from_secs(1800))).unwrap();
        assert_eq!(text, "g42 alice ssh ttl=1800");
        let text = write_comment(&grant("alice", "ssh", Duration::from_millis(1500))).unwrap();
        assert_eq!(read_comment(&text).unwrap().ttl, Duration::from_millis(1500));
        assert!(
            write_comment(&grant(&"a".repeat(120), &"s".repeat(100), Duration::from_secs(9)))
                .is_some()
        );
        for (client, service) in
            [("al ice", "ssh"), ("", "ssh"), ("alice", ""), (&"a".repeat(250), "ssh")]
        {
            assert_eq!(write_comment(&grant(client, service, Duration::from_secs(9))), None);
        }
    }

    #[test]
    fn foreign_comments_are_not_ours() {
        for text in [
            "",
            "hello",
            "g42",
            "42 alice ssh ttl=1",
            "g42 alice ssh",
            "g42 alice ssh ttl=x",
            "g42 a s ttl=1 b",
        ] {
            assert_eq!(read_comment(text), None, "{text}");
        }
    }
}
