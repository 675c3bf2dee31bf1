//! Outcomes of clients' knocks, kept in memory since the start for `clients` and `explain`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::grant::ADMIN_NAME;
use crate::engine::{Event, EventKind};

/// Events kept in all, and of one client: one that knocks without end must not push out what the
/// others did.
const MAX_EVENTS: usize = 8192;
const MAX_EVENTS_PER_CLIENT: usize = 16;

/// One event of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// When, unix milliseconds.
    pub(super) at_ms: u64,
    /// The event.
    pub(super) event: Event,
}

/// The last knock that opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// When, unix milliseconds.
    pub(super) at_ms: u64,
    /// Address that it came from.
    pub(super) source: IpAddr,
    /// Name of the service.
    pub(super) service: Option<Arc<str>>,
}

/// The memory. Only authenticated events come here, so it is bounded by the number of clients and
/// by [`MAX_EVENTS`].
#[derive(Debug, Default)]
pub(super) struct History {
    number: u64,
    events: BTreeMap<u64, Past>,
    of: HashMap<Arc<str>, VecDeque<u64>>,
    seen: HashMap<Arc<str>, Seen>,
}

impl History {
    /// Takes an event in.
    pub(super) fn note_event(&mut self, event: &Event, at_ms: u64) {
        if &*event.client == ADMIN_NAME {
            return;
        }
        if matches!(event.kind, EventKind::Granted | EventKind::Renewed) && event.by.is_none() {
            let seen = Seen { at_ms, source: event.source, service: event.service.clone() };
            self.seen.insert(Arc::clone(&event.client), seen);
        }
        self.number += 1;
        let of = self.of.entry(Arc::clone(&event.client)).or_default();
        of.push_back(self.number);
        let oldest = if of.len() > MAX_EVENTS_PER_CLIENT { of.pop_front() } else { None };
        if let Some(oldest) = oldest {
            self.events.remove(&oldest);
        }
        self.events.insert(self.number, Past { at_ms, event: event.clone() });
        if self.events.len() > MAX_EVENTS
            && let Some((_, past)) = self.events.pop_first()
            && let Some(of) = self.of.get_mut(&past.event.client)
        {
            of.pop_front();
            if of.is_empty() {
                self.of.remove(&past.event.client);
            }
        }
    }

    /// The last events of a client, the newest first.
    pub(super) fn events_of(&self, client: &str) -> impl Iterator<Item = &Past> {
        let numbers = self.of.get(client).into_iter().flatten().rev();
        numbers.filter_map(|number| self.events.get(number))
    }

    /// The last knock of a client that opened.
    pub(super) fn last_opening(&self, client: &str) -> Option<&Seen> {
        self.seen.get(client)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use spa_proto::Reason;

    fn event(client: &str, kind: EventKind) -> Event {
        Event {
            kind,
            client: client.into(),
            service: Some("ssh".into()),
            source: "192.0.2.1".parse().unwrap(),
            skew_ms: 0,
            reason: Reason::None,
            grant: None,
            asked: None,
            network: None,
            took: None,
            ttl: None,
            keys: None,
            detail: None,
            by: None,
        }
    }

    #[test]
    fn the_last_of_each_and_no_more() {
        let mut history = History::default();
        history.note_event(&event("quiet", EventKind::Granted), 1);
        for at_ms in 2..100 {
            history.note_event(&event("loud", EventKind::Denied), at_ms);
        }
        let times =
            |client: &str| history.events_of(client).map(|past| past.at_ms).collect::<Vec<_>>();
        assert_eq!(times("loud"), (84..100).rev().collect::<Vec<_>>());
        assert_eq!(times("quiet"), [1]);
        assert_eq!(times("nobody"), [0; 0]);
        assert_eq!(history.last_opening("quiet").map(|seen| seen.at_ms), Some(1));
        assert_eq!(history.last_opening("loud"), None);
    }

    #[test]
    fn bounded_in_all() {
        let mut history = History::default();
        for client in 0..MAX_EVENTS as u64 + 10 {
            history.note_event(&event(&format!("c{client}"), EventKind::Stale), client);
        }
        assert_eq!((history.events.len(), history.of.len()), (MAX_EVENTS, MAX_EVENTS));
        assert!(
            history.events_of("c9").next().is_none() && history.events_of("c10").next().is_some()
        );
    }

    #[test]
    fn what_an_administrator_does_is_no_knock() {
        let mut history = History::default();
        history.note_event(&event(ADMIN_NAME, EventKind::Granted), 1);
        history.note_event(&Event { by: Some(0), ..event("laptop", EventKind::Closed) }, 2);
        assert!(
            history.events_of(ADMIN_NAME).next().is_none()
                && history.last_opening("laptop").is_none()
        );
        assert_eq!(history.events_of("laptop").count(), 1);
    }
}
