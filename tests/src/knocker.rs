//! Knocks made by hand, from the key and the enrolment line that the real programs have made.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use spa_keys::{Folder, HostLine, Identity, PassphraseSource};
use spa_proto::{
    ACK_LEN, Ack, Confirm, Context, HedgeKey, Op, PairKeys, Request, Session, SessionParts, TagKey,
    service_id,
};

use crate::Family;
use crate::daemon::{Client, Server};
use crate::netns::Host;
use crate::raw::{retry, udp_socket_at};

/// A service that no server has: asking for it leaves a line in the log and changes nothing.
const NO_SERVICE: &str = "no-such-service";

/// An enrolled client's secrets, to make packets that its program would not make.
pub struct Knocker {
    identity: Identity,
    line: HostLine,
    context: Context,
    tag: TagKey,
    pair: PairKeys,
    hedge: HedgeKey,
}

impl Knocker {
    /// Reads what `spa keygen` and `spa host add` have written for the host `server`.
    pub fn of(client: &Client) -> Knocker {
        let folder = Folder::at(client.folder());
        let identity =
            Identity::read(&folder.identity(), PassphraseSource::Nobody).expect("the client's key");
        let line = folder.read_host("server").expect("the client's enrolment");
        let context = Context::new(&line.server, &identity.public());
        let tag = TagKey::derive(&line.psk, &context);
        let hedge = identity.secret().hedge_key();
        let pair = PairKeys::of_client(&line.psk, identity.secret(), &line.server, &context)
            .expect("a usable server key");
        Knocker { identity, line, context, tag, pair, hedge }
    }

    /// The client's name at the server.
    pub fn name(&self) -> &str {
        &self.line.name
    }

    /// The ports of the stages now.
    pub fn ports(&self) -> Vec<u16> {
        self.line.sequence.ports_at(now_ms())
    }

    /// What the packets of this pair are made from; signed with what the file alone can sign with,
    /// as a thief of the disk would.
    pub fn parts(&self) -> SessionParts<'_> {
        SessionParts {
            server: &self.line.server,
            context: &self.context,
            tag: &self.tag,
            pair: &self.pair,
            signer: self.identity.secret(),
            hedge: &self.hedge,
        }
    }

    /// A fresh knock for a service: ack wanted, the server's ttl, bound to no source, no padding.
    pub fn session(&self, service: &str) -> Session {
        self.session_with(service, |request| request)
    }

    /// The same with changes: `knocker.session_with("ssh", |request| Request { want_ack: false,
    /// ..request })`.
    pub fn session_with(
        &self,
        service: &str,
        change: impl for<'a> FnOnce(Request<'a>) -> Request<'a>,
    ) -> Session {
        let ports = self.ports();
        let request = Request {
            service: service_id(service),
            ttl_s: 0,
            op: Op::Open,
            want_ack: true,
            bind_src: None,
            for_addr: None,
            all: false,
            ports: &ports,
            padding: &[],
        };
        Session::new(&self.parts(), &change(request), now_ms()).expect("a session")
    }

    /// The CONFIRM with this number for an address, and the port it goes to.
    pub fn confirm(&self, session: &Session, number: u8, address: IpAddr) -> (u16, Vec<u8>) {
        let (port, _) = session.packets().last().expect("a last stage");
        (*port, session.make_confirm(&self.pair, &Confirm { number, address }, 0))
    }

    /// The answer to a knock that lasts: a provisional grant is confirmed for the address that the
    /// server has told.
    pub fn lasting_ack(
        &self,
        sender: &Sender,
        session: &Session,
        patience: Duration,
    ) -> Option<Ack> {
        let ack = sender.ack(session, patience)?;
        if !ack.provisional {
            return Some(ack);
        }
        let (port, packet) = self.confirm(session, 1, ack.observed.ip());
        sender.send(port, &packet);
        loop {
            let ack = sender.ack(session, patience)?;
            if ack.number == 1 {
                return Some(ack);
            }
        }
    }

    /// Returns when the server has handled all that this sender's host has sent to it before, to
    /// the last line in its log.
    ///
    /// It knocks for a service that does not exist, without wanting an ack, and waits for the line
    /// in the log. That is a proof only where the capture keeps the order of packets to
    /// different ports: `ring` and `nflog`.
    pub fn settle(&self, server: &Server, sender: &Sender) {
        let client = format!("client={} ", self.name());
        let source = format!("source={} ", sender.source());
        // A refusal is decided at once, while a grant that came before it still waits for the
        // firewall. Once the first refusal is in the log the second cannot overtake
        // anything.
        for _ in 0..2 {
            let mark = server.log().mark();
            let session =
                self.session_with(NO_SERVICE, |request| Request { want_ack: false, ..request });
            sender.all(&session);
            server.log().wait_since(mark, &["event=denied", "reason=service", &client, &source]);
        }
    }
}

/// A UDP socket that sends stage packets to one server.
#[derive(Debug)]
pub struct Sender {
    socket: UdpSocket,
    source: IpAddr,
    server: IpAddr,
}

impl Sender {
    /// From the host's own address.
    pub fn new(host: &Host, server: &Host, family: Family) -> Sender {
        Sender::from(host, host.address(family), server)
    }

    /// From another address of the host.
    pub fn from(host: &Host, source: IpAddr, server: &Host) -> Sender {
        let socket = udp_socket_at(host, SocketAddr::new(source, 0));
        Sender { socket, source, server: server.address(Family::of(source)) }
    }

    /// Where the packets come from.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Any bytes to a port of the server.
    pub fn send(&self, port: u16, payload: &[u8]) {
        let target = SocketAddr::new(self.server, port);
        retry(|| self.socket.send_to(payload, target)).unwrap_or_else(|error| {
            panic!("cannot send {} bytes to {target}: {error}", payload.len())
        });
    }

    /// One stage to its port.
    pub fn stage(&self, session: &Session, stage: usize) {
        let (port, packet) = &session.packets()[stage];
        self.send(*port, packet);
    }

    /// These stages in this order, back to back.
    pub fn stages(&self, session: &Session, order: &[usize]) {
        order.iter().for_each(|stage| self.stage(session, *stage));
    }

    /// All stages in order, back to back.
    pub fn all(&self, session: &Session) {
        session.packets().iter().for_each(|(port, packet)| self.send(*port, packet));
    }

    /// The session's ack, if it comes in time; other datagrams are passed over.
    pub fn ack(&self, session: &Session, patience: Duration) -> Option<Ack> {
        let deadline = Instant::now() + patience;
        let mut buffer = [0; ACK_LEN + 1];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            if let Ok(length) = self.socket.recv(&mut buffer)
                && let Some((ack, _)) = session.open_ack(&buffer[..length])
            {
                return Some(ack);
            }
        }
    }
}

/// The wall clock in unix milliseconds.
pub fn now_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    u64::try_from(now.as_millis()).expect("a clock before the year 500 million")
}
