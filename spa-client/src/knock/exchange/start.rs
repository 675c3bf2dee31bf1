//! A session is made: whose it is, what it asks, and where it leaves from.

use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use spa_keys::UnixMillis;
use spa_proto::{Op, Request, Session, service_id};

use super::super::icmp::ask_for_errors;
use super::super::live_session::LiveSession;
use super::super::random::random_padding;
use super::Knock;
use crate::address::find_source_address;

impl Knock<'_> {
    /// Starts a session with a fresh time stamp, from the address that the kernel chooses now.
    pub(crate) fn start_session(&mut self) -> io::Result<LiveSession> {
        let local = find_source_address(self.target)?;
        // Bound to one address: all stages must come from the same one, also when routes change in
        // between.
        let socket = UdpSocket::bind(local)?;
        ask_for_errors(&socket);
        self.local = Some(local.ip());
        self.bound = !self.asks_how_seen && self.plan.seen.binds(local.ip(), self.target.ip());
        let offset_ms = self.clock_offset_ms.unwrap_or(0);
        let now_ms = UnixMillis::now().as_millis();
        let now_ms = now_ms.saturating_add_signed(offset_ms.saturating_neg());
        let keys = self.plan.session_keys_at(self.turn);
        let keys = keys.ok_or_else(|| io::Error::other("there is no server key"))?;
        let ports = keys.line.sequence.ports_at(now_ms);
        let padding: [usize; 8] = std::array::from_fn(|_| random_padding());
        let new = self.plan.successor().filter(|_| self.op.new_keys().is_some());
        let request = Request {
            service: if new.is_some() { 0 } else { service_id(self.service) },
            ttl_s: if self.op == Op::Close || new.is_some() { 0 } else { self.plan.ttl_s },
            op: self.op,
            want_ack: self.plan.line.ack,
            bind_src: self.bound.then_some(local.ip()),
            for_addr: self.for_addr,
            // Where we are unknown to ourselves, everything of ours is closed.
            all: self.op == Op::Close && self.for_addr.is_none() && !self.bound,
            ports: &ports,
            padding: &padding,
        };
        let parts = self.plan.session_parts(&keys);
        let begun = Instant::now();
        let session = match new {
            None => Session::new(&parts, &request, now_ms),
            Some(identity) => {
                let new = self.plan.new_keys(identity);
                if self.kem {
                    Session::with_kem(&parts, &request, &new, now_ms)
                } else {
                    Session::with_new_keys(&parts, &request, &new, now_ms)
                }
            }
        };
        let session = session.map_err(io::Error::other)?;
        self.excused += begun.elapsed();
        self.deadline += begun.elapsed();
        self.plan.log_verbose(|| {
            format!(
                "{}: knocking at {} from {}, ports {ports:?}",
                self.service,
                self.target.ip(),
                local.ip()
            )
        });
        Ok(LiveSession { session, keys, socket, target: self.target, confirms: 0 })
    }
}
