//! The listener is ours.

use super::*;
use crate::domain::grant::{Grant, Scope, alone};
use crate::firewall::Firewall as _;
use crate::ipc::client::BrokerClient;

/// Runs `work` against a broker that serves until the other end is gone.
fn with_remote(text: &str, work: impl FnOnce(&mut BrokerClient)) {
    let Pair { mut handler, broker, listener } = Pair::new(text);
    let serving = std::thread::spawn(move || {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        loop {
            poll(&mut [PollFd::new(broker.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
            match handler.serve_request(&broker) {
                Ok(()) => {}
                Err(ChannelError::Gone) => return,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let mut remote = BrokerClient::new(listener, "observe").unwrap();
    work(&mut remote);
    drop(remote);
    serving.join().unwrap();
}

#[test]
fn a_firewall_over_the_sockets() {
    with_remote(CONFIG, |remote| {
        let source = ip("2001:db8::7");
        let grant = Grant {
            id: GrantId(42),
            client: "laptop".into(),
            service: "ssh".into(),
            source,
            prefix: alone(source),
            scope: Scope::Ports(["tcp/22".parse().unwrap()].into()),
            ttl: Duration::from_secs(60),
            provisional: false,
        };
        remote.open(&grant).unwrap();
        let live = remote.grants().unwrap();
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].grant, grant);
        assert!(live[0].left <= grant.ttl && live[0].left > grant.ttl - Duration::from_secs(10));
        remote.close(grant.id).unwrap();
        assert!(remote.grants().unwrap().is_empty());
        remote.in_sequence(source, Duration::from_secs(20)).unwrap();
        assert!(remote.obstacles().unwrap().is_empty());
        let error = remote.open(&Grant { ttl: HOUR, ..grant }).unwrap_err().to_string();
        assert!(error.contains("the broker refuses") && error.contains("max-ttl 60 s"), "{error}");
        assert!(remote.remove().is_err());
    });
}

#[test]
fn lists_longer_than_a_message() {
    with_remote(CONFIG, |remote| {
        let sources: Vec<IpAddr> =
            (0..3000u32).map(|i| std::net::Ipv4Addr::from(0xC000_0200 + i).into()).collect();
        for source in &sources {
            remote.ban(*source, HOUR).unwrap();
        }
        let bans = remote.bans().unwrap();
        assert_eq!(bans.iter().map(|ban| ban.network.addr()).collect::<Vec<_>>(), sources);
        for (id, source) in (1..).zip(&sources[..400]) {
            remote
                .open(&Grant {
                    id: GrantId(id),
                    client: "x".repeat(64).into(),
                    service: "ssh".into(),
                    source: *source,
                    prefix: 32,
                    scope: Scope::All,
                    ttl: Duration::from_secs(60),
                    provisional: false,
                })
                .unwrap();
        }
        assert_eq!(remote.grants().unwrap().len(), 400);
    });
}

#[test]
fn the_largest_grants_fit_their_part_of_a_list() {
    // 256 ports, each on its own, and the longest names.
    let ports: Vec<String> = (0..256).map(|i| format!("\"udp/{}\"", 65_535 - 2 * i)).collect();
    let service = "s".repeat(24);
    let text = CONFIG
        .replace("\"ssh\"", &format!("\"{service}\""))
        .replace("\"tcp/22\"", &ports.join(", "));
    with_remote(&text, |remote| {
        for id in 1..=60 {
            let source = IpAddr::from(std::net::Ipv6Addr::from(u128::MAX >> 3 ^ u128::from(id)));
            remote
                .open(&Grant {
                    id: GrantId(u64::MAX - id),
                    client: "x".repeat(64).into(),
                    service: service.as_str().into(),
                    source,
                    prefix: 128,
                    scope: Scope::All,
                    ttl: Duration::from_secs(60),
                    provisional: false,
                })
                .unwrap();
        }
        let grants = remote.grants().unwrap();
        assert_eq!(grants.len(), 60);
        assert!(
            grants
                .iter()
                .all(|live| matches!(&live.grant.scope, Scope::Ports(ports) if ports.len() == 256))
        );
    });
}

#[test]
fn a_reload_goes_forth_and_back_until_it_is_over() {
    let mut pair = Pair::new(CONFIG);
    let knock = vec![PortRange::one(7001), PortRange::one(7002)];
    let other = config(&CONFIG.replace("\"60s\"", "\"40s\""));
    let second = pair.propose(other.clone());
    // Not in force before its rules are asked for.
    assert_eq!(pair.ask(&open()), Reply::Done);
    assert_eq!(pair.ask(&Request::Install { config: second, knock: knock.clone() }), Reply::Done);
    // The capture could not follow: back, and forth again.
    assert_eq!(pair.ask(&Request::Install { config: 1, knock: knock.clone() }), Reply::Done);
    assert_eq!(pair.ask(&open()), Reply::Done);
    let third = pair.propose(other);
    assert!(third > second);
    assert_eq!(pair.ask(&Request::Install { config: third, knock: knock.clone() }), Reply::Done);
    assert!(
        matches!(pair.ask(&open()), Reply::Failed(RequestError::Refused(_))),
        "ttl 60 s is too long now"
    );
    // Once it has gone on there is no way back to what was allowed before.
    let back = pair.ask(&Request::Install { config: 1, knock });
    assert!(matches!(back, Reply::Failed(RequestError::Refused(_))), "{back:?}");
}

#[test]
fn sockets_for_capture_udp() {
    let port = std::net::UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let text = format!("[capture]\nmode = \"udp\"\n{CONFIG}")
        .replace("[7001, 7002]", &format!("[7001, 7002, {port}]"));
    with_remote(&text, |remote| {
        let mut bind = remote.make_binder();
        let socket = bind((port, false)).unwrap().unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket().unwrap().port(), port);
        let taken = bind((port, false)).unwrap_err().to_string();
        assert!(taken.contains("another program uses it"), "{taken}");
    });
}
