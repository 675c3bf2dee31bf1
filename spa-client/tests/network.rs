//! `spa-client open` in a network of its own, where addresses and routes are what the test makes
//! them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fake;

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use fake::{Fake, Got, end, now_ms};
use nix::sched::{CloneFlags, unshare};
use spa_proto::{Ack, Op, Reason, Status};

/// Runs the test on a thread in a fresh network namespace with documentation addresses and no route
/// elsewhere. The namespace ends with its last thread and socket.
fn in_own_network(test: fn()) {
    let body = move || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            assert!(std::env::var_os("CI").is_none(), "network namespaces need root");
            eprintln!("not run: network namespaces need root");
            return;
        }
        for args in [
            "link set lo up",
            "addr add 192.0.2.1/32 dev lo",
            "addr add 2001:db8::1/128 dev lo nodad",
        ] {
            assert!(
                Command::new("ip").args(args.split(' ')).status().unwrap().success(),
                "ip {args}"
            );
        }
        test();
    };
    thread::spawn(body).join().unwrap();
}

fn grant_seen_from(server: &Fake, observed: &str) -> Vec<Got> {
    let all = server.transmission();
    let observed: SocketAddr = observed.parse().unwrap();
    let ack = Ack {
        status: Status::Granted,
        reason: Reason::None,
        ttl_s: 60,
        server_ms: now_ms(),
        observed,
        number: 0,
        provisional: false,
        rekey_wanted: false,
    };
    server.send(&all[2], &server.open(&all[2]).0.seal_ack(&ack, None));
    all
}

#[test]
fn a_public_source_is_bound_without_being_asked() {
    in_own_network(|| {
        for ip in ["192.0.2.1", "2001:db8::1"] {
            let server = Fake::new(&[ip]);
            let client = server.start(&["open", "vpn@gate"]);
            // `Fake::open` verifies the signature for the observed source.
            let all = server.grant(60);
            assert!(server.open(&all[0]).1.body.bind_src.is_some());
            let ended = end(client);
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        }
    });
}

/// Answers a knock as a server that saw this source, and then a close.
fn relayed(server: &Fake, observed: &str) {
    let opened = grant_seen_from(server, observed);
    assert_eq!(server.open(&opened[0]).1.body.op, Op::Open);
    let closed = grant_seen_from(server, observed);
    let body = server.open(&closed[0]).1.body;
    assert_eq!(
        (body.op, body.ttl_s, body.service),
        (Op::Close, 0, server.open(&opened[0]).1.body.service)
    );
}

#[test]
fn a_grant_for_another_address_than_ours_is_closed() {
    in_own_network(|| {
        let server = Fake::new(&["192.0.2.1"]);
        server.config("[host.gate]\nbind-src = \"never\"\n");
        let client = server.start(&["open", "vpn@gate", "--json"]);
        relayed(&server, "203.0.113.9:1000");
        let ended = end(client);
        assert_eq!(ended.code, Some(1));
        assert!(
            ended.err.starts_with(
                "spa-client: vpn on gate was opened for 203.0.113.9, not for 192.0.2.1: a relay"
            ),
            "{}",
            ended.err
        );
        assert!(ended.err.contains("it was closed again"), "{}", ended.err);
        assert!(ended.out.contains(r#""granted":false,"ttl":null"#), "{}", ended.out);
        assert!(ended.out.contains(r#""reason":"relayed""#), "{}", ended.out);
    });
}

#[test]
fn the_user_says_under_which_address_we_appear() {
    in_own_network(|| {
        let server = Fake::new(&["192.0.2.1"]);
        let settings = "[host.gate]\nbind-src = \"never\"\nexpect-address = [\"203.0.113.0/24\"]\n";
        server.config(settings);
        // A translator of our own that keeps public addresses inside.
        let client = server.start(&["open", "vpn@gate"]);
        grant_seen_from(&server, "203.0.113.9:1000");
        let ended = end(client);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        // The command line goes before the settings.
        let client = server.start(&["open", "vpn@gate", "--expect-address", "203.0.113.10"]);
        relayed(&server, "203.0.113.9:1000");
        assert_eq!(end(client).code, Some(1));
    });
}

#[test]
fn without_a_route_nothing_is_sent() {
    in_own_network(|| {
        for (ip, far) in [("192.0.2.1", "198.51.100.1"), ("2001:db8::1", "2001:db8:1::1")] {
            let mut server = Fake::new(&[ip]);
            server.line.hosts = vec![far.into()];
            server.enrol();
            for ack in [true, false] {
                server.line.ack = ack;
                server.enrol();
                let ended = end(server.start(&["open", "vpn@gate", "--json"]));
                assert_eq!(ended.code, Some(4), "{}", ended.err);
                let wanted = format!(
                    "spa-client: nothing was sent to {far}: Network is unreachable (os error 101); \
                     test it: ip route get {far}\n"
                );
                assert_eq!(ended.err, wanted);
                assert!(ended.out.contains("\"reason\":\"not-sent\""));
            }
        }
    });
}

#[test]
fn a_family_without_a_route_is_no_warning() {
    in_own_network(|| {
        let mut server = Fake::new(&["192.0.2.1"]);
        server.line.hosts.push("2001:db8:1::1".into());
        server.enrol();
        let client = server.start(&["open", "vpn@gate"]);
        server.grant(60);
        let ended = end(client);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert!(ended.out.contains("(192.0.2.1, IPv4)"));
    });
}

fn nft(rules: &str) -> String {
    let output = Command::new("nft").arg(rules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Drops and counts connections to a port, as a firewall in front of the service does.
fn close_port(listener: &TcpListener) {
    let port = listener.local_addr().unwrap().port();
    nft(&format!(
        "add table inet t; add chain inet t i {{ type filter hook input priority 0; }}; \
         add rule inet t i tcp dport {port} counter drop"
    ));
}

/// Returns when at least so many packets were dropped.
fn dropped(at_least: u32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let listed = nft("list chain inet t i");
        let count = listed
            .split("counter packets ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        if count.is_some_and(|count: u32| count >= at_least) {
            return;
        }
    }
    panic!("fewer than {at_least} connections were tried");
}

#[test]
fn the_service_is_waited_for_until_it_takes_connections() {
    in_own_network(|| {
        for (ip, ack) in [
            ("192.0.2.1", true),
            ("2001:db8::1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            let listener = TcpListener::bind((ip, 0)).unwrap();
            let mut server = Fake::new(&[ip]).with_ssh(&listener);
            server.line.ack = ack;
            server.enrol();
            close_port(&listener);
            let client = server.start(&["open", "ssh@gate"]);
            if ack {
                server.grant(60);
            } else {
                server.transmission();
            }
            dropped(2);
            nft("delete table inet t");
            let ended = end(client);
            assert_eq!(ended.code, Some(0), "{ip} {ack}: {}", ended.err);
            assert!(ended.out.starts_with("ssh on gate is open"), "{}", ended.out);
        }
    });
}

#[test]
fn granted_but_behind_another_firewall() {
    in_own_network(|| {
        for ip in ["192.0.2.1", "2001:db8::1"] {
            let listener = TcpListener::bind((ip, 0)).unwrap();
            let server = Fake::new(&[ip]).with_ssh(&listener);
            close_port(&listener);
            let client = server.start(&["open", "ssh@gate", "--timeout", "1s"]);
            server.grant(60);
            let ended = end(client);
            assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
            assert!(
                ended.err.contains("another firewall stands before the service"),
                "{}",
                ended.err
            );
            nft("delete table inet t");
        }
    });
}
