//! What a test sees of its world: what lasts. Provisional grants, their answers and lines are
//! left out; `confirm.rs` is about them.

use std::net::{IpAddr, SocketAddr};

use spa_proto::{Ack, Reason, SessionId, Status};
use spa_server::domain::grant::Grant;
use spa_server::engine::EventKind;

use crate::actors::Knock;
use crate::world::World;

impl World {
    /// What opened since the start: client, service, source, seconds.
    pub fn openings(&self) -> Vec<(String, String, IpAddr, u64)> {
        let one = |(_, g): &(SessionId, Grant)| {
            (g.client.to_string(), g.service.to_string(), g.source, g.ttl.as_secs())
        };
        self.opens.iter().map(one).collect()
    }

    pub fn has_opened(&self, knock: &Knock) -> bool {
        self.opens.iter().any(|(session, _)| *session == knock.id())
    }

    /// Kinds and reasons logged since the last call.
    pub fn logged(&mut self) -> Vec<(EventKind, Reason)> {
        let lasting = self.log.drain(..).filter(|event| event.kind != EventKind::Provisional);
        lasting.map(|event| (event.kind, event.reason)).collect()
    }

    /// Every answer sent since the last call opens under one of these knocks as stale.
    pub fn all_stale(&mut self, knocks: &[&Knock], reasons: &[Reason]) -> bool {
        self.acks.drain(..).all(|(_, bytes)| {
            knocks.iter().find_map(|knock| knock.session.open_ack(&bytes)).is_some_and(
                |(ack, _)| ack.status == Status::Stale && reasons.contains(&ack.reason),
            )
        })
    }

    /// Acks sent since the last call that are for this knock.
    pub fn answers(&mut self, knock: &Knock) -> Vec<(SocketAddr, Status, Reason)> {
        let open = |(to, bytes): (SocketAddr, Vec<u8>)| {
            let (ack, _): (Ack, _) = knock.session.open_ack(&bytes)?;
            assert_eq!(ack.observed, to);
            (!ack.provisional).then_some((to, ack.status, ack.reason))
        };
        self.acks.drain(..).filter_map(open).collect()
    }
}
