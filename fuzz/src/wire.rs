//! What comes from the wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use spa_proto::{
    Ack, Answer, Body, ClientSecret, Confirm, Context, Op, PairKeys, Psk, Reason, Request,
    ServerSecret, ServerSession, Session, SessionParts, Status, TagKey, epoch_of,
};
use spa_server::capture::headers::{Checksum, RefusedPacket, parse_packet};

const PORTS: [u16; 3] = [40001, 40002, 40003];
const NOW_MS: u64 = 1_795_435_205_000;

/// Frame headers, beside a reader of our own that knows RFC 791, 8200 and 768 and nothing else.
pub(crate) fn headers(data: &[u8]) {
    let Some((how, packet)) = data.split_first() else { return };
    let checksum =
        [Checksum::Verify, Checksum::VerifyOrPartial, Checksum::Trusted][usize::from(how % 3)];
    let datagram = match parse_packet(packet, checksum, 7) {
        Ok(datagram) => datagram,
        Err(
            why @ (RefusedPacket::NotIp
            | RefusedPacket::Malformed
            | RefusedPacket::NotUdp
            | RefusedPacket::Fragment),
        ) => {
            assert!(read_ip(packet).is_none(), "{why}, and a whole UDP datagram is in it");
            return;
        }
        Err(_) => return,
    };
    let (source, destination, udp) = read_ip(packet).expect("no whole UDP datagram in it");
    assert_eq!((datagram.source.ip(), datagram.destination.ip()), (source, destination));
    let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    assert_eq!((datagram.source.port(), datagram.destination.port()), (word(0), word(2)));
    assert_eq!(datagram.payload, &udp[8..usize::from(word(4))]);
    for address in [source, destination] {
        assert!(!address.is_unspecified() && !address.is_multicast(), "{address}");
    }
}

/// Addresses and what follows the IP headers; `None` where there is less than they say.
fn read_ip(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let word =
        |at: usize| Some(usize::from(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?])));
    let (source, destination, body): (IpAddr, IpAddr, _) = match packet.first()? >> 4 {
        4 => {
            let octets = |at: usize| {
                packet.get(at..at + 4)?.try_into().ok().map(|b: [u8; 4]| Ipv4Addr::from(b))
            };
            let header = usize::from(packet[0] & 15) * 4;
            (header >= 20 && *packet.get(9)? == 17 && word(6)? & 0x3fff == 0).then_some(())?;
            (octets(12)?.into(), octets(16)?.into(), packet.get(header..word(2)?)?)
        }
        6 => {
            let octets = |at: usize| {
                packet.get(at..at + 16)?.try_into().ok().map(|b: [u8; 16]| Ipv6Addr::from(b))
            };
            let mut body = packet.get(40..40 + word(4)?)?;
            let mut next = *packet.get(6)?;
            while next != 17 {
                let length = match next {
                    0 | 43 | 60 => (usize::from(*body.get(1)?) + 1) * 8,
                    // RFC 6946: all of it in one.
                    44 if *body.get(2)? == 0 && *body.get(3)? & 0xf9 == 0 => 8,
                    _ => return None,
                };
                next = body[0];
                body = body.get(length..)?;
            }
            (octets(8)?.into(), octets(24)?.into(), body)
        }
        _ => return None,
    };
    let length = usize::from(u16::from_be_bytes([*body.get(4)?, *body.get(5)?]));
    (length >= 8).then_some(())?;
    Some((source, destination, body.get(..length)?))
}

/// A pair of client and server, and a session of theirs.
struct Pair {
    keys: ServerSession,
    pair: PairKeys,
    session: Session,
}

fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let server = ServerSecret::from_bytes([77; 32]);
        let client = ClientSecret::from_bytes([1; 32]);
        let psk = Psk::from_bytes([101; 32]);
        let (server_public, public) = (server.public(), client.public());
        let context = Context::new(&server_public, &public);
        let pair = PairKeys::of_client(&psk, &client, &server_public, &context).unwrap();
        let (tag, hedge) = (TagKey::derive(&psk, &context), client.hedge_key());
        let parts = SessionParts {
            server: &server_public,
            context: &context,
            tag: &tag,
            pair: &pair,
            signer: &client,
            hedge: &hedge,
        };
        let request = Request {
            service: 7,
            ttl_s: 60,
            op: Op::Open,
            want_ack: true,
            bind_src: None,
            for_addr: None,
            all: false,
            ports: &PORTS,
            padding: &[],
        };
        let session =
            spa_proto::danger::session_with_ephemeral(&parts, &request, NOW_MS, [9; 32]).unwrap();
        let ephemeral = pair.ephemeral(&session.packets()[0].1).unwrap();
        let keys = ServerSession::agree(&server, &pair, &context, &ephemeral).unwrap();
        Pair { keys, pair, session }
    })
}

/// A stage packet with bytes changed: `offset, value` pairs. It opens unchanged, and in no other
/// form.
pub(crate) fn packet(data: &[u8]) {
    let pair = pair();
    let (port, right) = &pair.session.packets()[0];
    let mut bytes = right.clone();
    for change in data.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= change[2],
            None if change[2] == 0 => bytes.truncate(at % right.len()),
            None => bytes.push(change[2]),
        }
    }
    // Tag, mac and mask are not looked at here.
    let opened = pair.keys.open(&bytes, epoch_of(NOW_MS), 0, *port);
    assert_eq!(opened.is_ok(), bytes.get(48..) == right.get(48..), "{opened:?}");
    let opened = pair.keys.open(data, epoch_of(NOW_MS), 0, *port);
    assert_eq!(opened.is_ok(), data.get(48..) == right.get(48..), "{opened:?}");
}

/// Body and extension: one form for each meaning.
pub(crate) fn body(data: &[u8]) {
    let Some((body, ext)) = data.split_at_checked(16) else {
        return assert!(Body::decode(data, &[]).is_err());
    };
    let Ok(read) = Body::decode(body, ext) else { return };
    assert_eq!(read.encode(), body);
    let parts = [
        (read.bind_src.is_some(), 16),
        (read.for_addr.is_some(), 16),
        (read.op.new_keys().is_some(), 160),
        (read.op.new_keys().is_some_and(|new| new.kind == spa_proto::KeyKind::SecurityKey), 5),
        (read.flags.security_key, 5),
    ];
    let length: usize = parts.iter().filter(|(there, _)| *there).map(|(_, bytes)| bytes).sum();
    assert_eq!(ext.len(), length, "{read:?}");
    for address in [read.bind_src, read.for_addr].into_iter().flatten() {
        assert!(!address.is_unspecified() && !address.is_multicast(), "{address}");
        assert_eq!(address, address.to_canonical());
    }
}

/// An answer with bytes changed, as a packet is.
pub(crate) fn ack(data: &[u8]) {
    let pair = pair();
    let told = Ack {
        status: Status::Granted,
        reason: Reason::None,
        ttl_s: 60,
        server_ms: NOW_MS,
        observed: ([192, 0, 2, 1], 4444).into(),
        number: data.first().copied().unwrap_or(0) % 9,
        provisional: false,
        rekey_wanted: false,
    };
    let right = pair.keys.seal_ack(&told, None);
    let mut bytes = right.clone();
    for change in data.get(1..).unwrap_or_default().chunks_exact(2) {
        match bytes.get_mut(usize::from(change[0])) {
            Some(byte) => *byte ^= change[1],
            None => bytes.push(change[1]),
        }
    }
    match pair.session.open_answer(&bytes) {
        Some(Answer { ack, .. }) => assert!(ack == told && bytes == right),
        None => assert!(bytes != right),
    }
    // A fuzzer that sees comparisons finds the right bytes: those only.
    if let Some(Answer { ack, keys, .. }) = pair.session.open_answer(data) {
        assert_eq!(pair.keys.seal_ack(&ack, keys.as_ref()), data);
    }
}

/// A CONFIRM with bytes changed.
pub(crate) fn confirm(data: &[u8]) {
    let pair = pair();
    let told = Confirm {
        number: data.first().copied().unwrap_or(0) % 8 + 1,
        address: Ipv4Addr::new(192, 0, 2, 1).into(),
    };
    let right = pair.session.make_confirm(&pair.pair, &told, 0);
    let mut bytes = right.clone();
    for change in data.get(1..).unwrap_or_default().chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= change[2],
            None => bytes.push(change[2]),
        }
    }
    match pair.keys.open_confirm(&bytes) {
        Some(confirm) => assert!(confirm == told && bytes.get(48..) == right.get(48..)),
        None => assert!(bytes.get(48..) != right.get(48..)),
    }
    if let Some(confirm) = pair.keys.open_confirm(data) {
        let sealed = pair.session.make_confirm(&pair.pair, &confirm, data.len() - right.len());
        assert_eq!(sealed.get(48..), data.get(48..));
    }
}
