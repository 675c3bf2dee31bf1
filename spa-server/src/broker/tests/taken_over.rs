//! The listener is compromised.

use super::*;
use crate::domain::grant::{ADMIN_NAME, Scope};
use crate::ipc::channel::MAX_MESSAGE_BYTES;

#[test]
fn grants_beyond_the_configuration() {
    let mut pair = Pair::new(CONFIG);
    pair.refused(opening(|asked| asked.service = "all".into()));
    pair.refused(opening(|asked| asked.service = "".into()));
    pair.refused(opening(|asked| asked.ttl = Duration::from_millis(60_001)));
    pair.refused(opening(|asked| asked.ttl = HOUR * 24 * 36_500));
    pair.refused(opening(|asked| asked.ttl = Duration::ZERO));
    for prefix in [0, 8, 15, 33, 255] {
        pair.refused(opening(|asked| asked.prefix = prefix));
    }
    for prefix in [0, 31, 129] {
        pair.refused(opening(|asked| (asked.source, asked.prefix) = (ip("2001:db8::7"), prefix)));
    }
    for source in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:192.0.2.7"] {
        pair.refused(opening(|asked| {
            asked.source = ip(source);
            asked.prefix = if asked.source.is_ipv4() { 32 } else { 128 };
        }));
    }
    for name in ["", "two words", "new\nline", "\u{1F600}", &"x".repeat(65)] {
        pair.refused(opening(|asked| asked.client = name.into()));
    }
}

#[test]
fn b2_grants_beyond_the_clients_stanza() {
    let mut pair = Pair::new(&format!("{CONFIG}[[service]]\nname = \"web\"\nports = [\"tcp/80\"]"));
    pair.refused(opening(|asked| asked.client = "nobody".into()));
    pair.refused(opening(|asked| asked.client = "gone".into()));
    pair.refused(opening(|asked| asked.service = "web".into()));
    for prefix in [16, 24, 31] {
        pair.refused(opening(|asked| asked.prefix = prefix));
    }
    pair.refused(opening(|asked| {
        (asked.source, asked.prefix) = (ip("2001:db8::7"), 64);
    }));
    let bound = |change: fn(&mut GrantRequest)| {
        opening(|asked| {
            (asked.client, asked.ttl) = ("bound".into(), Duration::from_secs(30));
            change(asked);
        })
    };
    pair.refused(bound(|asked| asked.source = ip("198.51.100.7")));
    pair.refused(bound(|asked| asked.ttl = Duration::from_secs(31)));
    pair.refused(bound(|asked| asked.prefix = 23));
    // For an address that nobody has confirmed: one, and for a moment.
    pair.refused(opening(|asked| asked.provisional = true));
    pair.refused(bound(|asked| {
        (asked.prefix, asked.provisional, asked.ttl) = (24, true, Duration::from_secs(10));
    }));
    assert_eq!(pair.ask(&bound(|asked| asked.prefix = 24)), Reply::Done);
}

#[test]
fn b2_an_administrators_grants_are_for_one_address() {
    let mut pair = Pair::new(CONFIG);
    for (source, prefixes) in [("192.0.2.7", [16, 24, 31]), ("2001:db8::7", [32, 64, 127])] {
        for prefix in prefixes {
            pair.refused(opening(|asked| {
                (asked.client, asked.source, asked.prefix) =
                    (ADMIN_NAME.into(), ip(source), prefix);
            }));
        }
    }
    pair.refused(opening(|asked| {
        (asked.client, asked.provisional, asked.ttl) =
            (ADMIN_NAME.into(), true, Duration::from_secs(10));
    }));
}

/// Grants that are opened of so many that are asked for, each for an address of its own; `close`: each
/// is closed before the next one.
fn count_opened(pair: &mut Pair, client: &str, asked: u32, close: bool) -> usize {
    let one = |id: &u32| {
        let source = std::net::Ipv4Addr::from(0x0A00_0000 + id).into();
        let id = GrantId(u64::from(*id));
        let opened = pair.ask(&opening(|asked| {
            (asked.id, asked.client, asked.source) = (id, client.into(), source);
        }));
        if close {
            assert_eq!(pair.ask(&Request::Close(id)), Reply::Closed(None));
        }
        opened == Reply::Done
    };
    (1..=asked).filter(one).count()
}

#[test]
fn b2_number_and_rate_of_grants_are_limited() {
    let mut pair = Pair::new(CONFIG);
    // By its stanza it has three at a time.
    assert_eq!(count_opened(&mut pair, "laptop", 100, false), 3);
    // As many as on 0.1 in a minute; here they take a moment, in which a token or two may come.
    let opened = count_opened(&mut pair, ADMIN_NAME, 17_664, false);
    assert!((2048..2200).contains(&opened), "{opened}");
    // One after the other as well.
    let began = std::time::Instant::now();
    let opened = count_opened(&mut Pair::new(CONFIG), "laptop", 17_664, true) as u128;
    let most = 512 + began.elapsed().as_millis() / 25 + 1;
    assert!((512..=most).contains(&opened), "{opened} of {most}");
}

#[test]
fn what_a_grant_opens_is_not_the_listeners_to_say() {
    let mut pair = Pair::new(CONFIG);
    assert_eq!(pair.ask(&open()), Reply::Done);
    let Reply::Grants(ListPage { rows, more: false }) = pair.ask(&Request::Grants) else {
        panic!("no list")
    };
    assert_eq!(rows[0].grant.scope, Scope::Ports(["tcp/22".parse().unwrap()].into()));
    assert_eq!(rows[0].grant.ttl, Duration::from_secs(60));
}

#[test]
fn knock_ports_that_no_stage_has() {
    let mut pair = Pair::new(CONFIG);
    let install = |config, knock: &[(u16, u16)]| {
        let knock = knock.iter().map(|&(first, last)| PortRange { first, last }).collect();
        Request::Install { config, knock }
    };
    for knock in [
        &[(22, 22)][..],
        &[(7001, 7002)],
        &[(1, 65_535)],
        &[(7002, 7001)],
        &[(0, 0)],
        &[],
        &[(7001, 7001), (7002, 7002), (7001, 7001)],
    ] {
        pair.refused(install(1, knock));
    }
    for number in [0, 2, u64::MAX] {
        pair.refused(install(number, &[(7001, 7001)]));
    }
    let mut hopping = Pair::new(CONFIG);
    let text = CONFIG.replace(
        "ports = [7001, 7002]",
        "hop = \"20000-29999\"\nstages = 3\nhop-exclude = [25000]",
    );
    let number = hopping.propose(config(&text));
    hopping.refused(install(number, &[(19_999, 19_999)]));
    hopping.refused(install(number, &[(25_000, 25_000)]));
    hopping
        .refused(install(number, &(20_000..20_025).map(|port| (port, port)).collect::<Vec<_>>()));
    let most: Vec<_> = (20_000..20_024).map(|port| (port, port)).collect();
    assert_eq!(hopping.ask(&install(number, &most)), Reply::Done);
}

#[test]
fn bans_and_marks_without_an_end() {
    let mut pair = Pair::new(CONFIG);
    let century = HOUR * 24 * 36_525;
    let source = ip("192.0.2.7");
    pair.refused(Request::Ban { source, time: century });
    pair.refused(Request::Ban { source, time: Duration::MAX });
    pair.refused(Request::Ban { source, time: Duration::ZERO });
    pair.refused(Request::Ban { source: ip("0.0.0.0"), time: HOUR });
    // The bait bans for 90 s.
    pair.refused(Request::NoteBan { source, time: Duration::from_secs(91) });
    pair.refused(Request::NoteBan { source: ip("ff02::1"), time: Duration::from_secs(90) });
    pair.refused(Request::InSequence { source, ttl: Duration::from_secs(21) });
    // Capture `udp` alone has bound sockets.
    pair.refused(Request::Bind { port: 7001, six: false });
    let mut udp = Pair::new(&format!("[capture]\nmode = \"udp\"\n{CONFIG}"));
    udp.refused(Request::Bind { port: 22, six: false });
    udp.refused(Request::Bind { port: 0, six: true });
}

#[test]
fn what_is_no_message_ends_it() {
    let garbage: [&[u8]; 5] = [
        &[0xff],
        &[200; 100],
        &[1, 0],
        &[4, 0],
        &[0, 1, 253, 255, 255, 255, 255, 255, 255, 255, 255],
    ];
    for bytes in garbage {
        let error = Pair::new(CONFIG).raw(bytes);
        assert!(matches!(error, ChannelError::Garbage(_)), "{bytes:?}: {error}");
    }
    let long = vec![1; MAX_MESSAGE_BYTES + 1];
    assert!(matches!(Pair::new(CONFIG).raw(&long), ChannelError::Garbage(_)));
    // A text that claims to be longer than everything makes no room for itself.
    let mut claim = vec![1, 1, 253];
    claim.extend(u64::MAX.to_le_bytes());
    assert!(matches!(Pair::new(CONFIG).raw(&claim), ChannelError::Garbage(_)));
}

#[test]
fn bytes_at_random_are_never_carried_out() {
    // xorshift64: any bytes will do, the same ones each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut pair = Pair::new(CONFIG);
    for _ in 0..20_000 {
        let length = 1 + next() as usize % 64;
        let mut bytes: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        bytes[0] %= 16;
        use std::os::fd::{AsFd, AsRawFd};
        let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
        nix::sys::socket::send(pair.listener.as_fd().as_raw_fd(), &bytes, flags).unwrap();
        if pair.handler.serve_request(&pair.broker).is_ok() {
            while pair.listener.receive_now::<Reply>().is_ok() {}
        }
        assert_eq!(
            pair.ask(&Request::Grants),
            Reply::Grants(ListPage { rows: Vec::new(), more: false }),
            "{bytes:?}"
        );
    }
}

#[test]
fn files_that_it_sends_are_closed() {
    use std::io::Read as _;
    use std::os::fd::AsFd;
    let mut pair = Pair::new(CONFIG);
    let (mut read, write) = std::os::unix::net::UnixStream::pair().unwrap();
    pair.listener.send(&Request::Bans, &[write.as_fd(); 3]).unwrap();
    drop(write);
    pair.handler.serve_request(&pair.broker).unwrap();
    // Its end is gone everywhere: reading comes to the end instead of waiting.
    read.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(read.read(&mut [0; 1]).unwrap(), 0);
}
