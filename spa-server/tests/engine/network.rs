//! What clients send into a world, and what they hear.

use std::net::{IpAddr, SocketAddr};

use spa_proto::{Ack, HopPlan, SessionId};
use spa_server::domain::datagram::Datagram;
use spa_server::engine::Ports;

use crate::actors::{Ask, Knock, addr, is_a_clients};
use crate::world::World;

impl World {
    /// The ports that a client with this clock would knock at.
    pub fn ports(&self, ts_ms: u64) -> Vec<u16> {
        match self.settings.sequence.ports() {
            Ports::Fixed(ports) => ports.clone(),
            Ports::Hop(plan, key) => plan.ports(key, HopPlan::epoch_of(ts_ms)),
        }
    }

    pub fn knock(&mut self, client: usize, ask: &Ask) -> Knock {
        self.knock_at(client, ask, self.now.unix_ms)
    }

    pub fn knock_at(&mut self, client: usize, ask: &Ask, ts_ms: u64) -> Knock {
        let knock = self.actors[client].knock(ask, &self.ports(ts_ms), ts_ms);
        self.know(&knock);
        knock
    }

    pub fn know(&mut self, knock: &Knock) {
        self.made.push(knock.clone());
    }

    /// One stage arrives, with all that it sets off.
    pub fn stage(&mut self, knock: &Knock, stage: usize, source: SocketAddr) {
        let (port, bytes) = knock.packet(stage);
        self.came.entry((knock.id(), source.ip())).or_default().insert(stage);
        self.datagram(bytes, source, port);
    }

    /// All stages arrive in order.
    pub fn whole(&mut self, knock: &Knock, source: SocketAddr) {
        for stage in 0..knock.stages() {
            self.stage(knock, stage, source);
        }
    }

    /// The client's CONFIRM of its own address arrives from there.
    pub fn confirm(&mut self, knock: &Knock, number: u8, source: SocketAddr) {
        self.confirm_from(knock, number, source.ip(), source);
    }

    /// A CONFIRM of an address arrives from a source.
    pub fn confirm_from(&mut self, knock: &Knock, number: u8, address: IpAddr, source: SocketAddr) {
        let (port, bytes) = knock.confirm(number, address);
        if source.ip() == address {
            self.confirmed.insert((knock.id(), address));
        }
        self.numbers.insert(knock.id(), number);
        self.datagram(&bytes, source, port);
    }

    /// Each session's client confirms the first address that it is told. Whoever copies its packets
    /// from elsewhere cannot.
    pub fn confirm_what_is_heard(&mut self) {
        while let Some((to, bytes)) = self.heard.pop_front() {
            if !self.confirms || !is_a_clients(to.ip()) {
                continue;
            }
            let told = self.made.iter().rev().find_map(|knock| {
                let (ack, _) = knock.session.open_ack(&bytes)?;
                (ack.provisional && !self.numbers.contains_key(&knock.id())).then(|| knock.clone())
            });
            if let Some(knock) = told {
                self.confirm(&knock, 1, to);
            }
        }
    }

    /// The knock of a session.
    pub fn made_knock(&self, session: SessionId) -> Knock {
        self.made.iter().rev().find(|knock| knock.id() == session).unwrap().clone()
    }

    /// The answers that a source has had to a knock, oldest first.
    pub fn acks_to(&self, knock: &Knock, source: SocketAddr) -> Vec<Ack> {
        let to_it = self.acks.iter().filter(|(to, _)| *to == source);
        to_it.filter_map(|(_, bytes)| Some(knock.session.open_ack(bytes)?.0)).collect()
    }

    /// Makes and delivers a knock; returns it for replays.
    pub fn go(&mut self, client: usize, ask: &Ask, source: SocketAddr) -> Knock {
        let knock = self.knock(client, ask);
        self.whole(&knock, source);
        knock
    }

    pub fn datagram(&mut self, bytes: &[u8], source: SocketAddr, port: u16) {
        let ip = if source.is_ipv4() { "203.0.113.1:0" } else { "[2001:db8:ffff::1]:0" };
        let mut destination = addr(ip);
        destination.set_port(port);
        self.engine.handle(self.now, Datagram { source, destination, payload: bytes, link: None });
        self.pump();
    }
}
