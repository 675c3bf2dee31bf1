//! `spa-client open` in a network of its own, where addresses and routes are what the test makes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod fake;

use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use fake::{Fake, Got, end, now_ms};
use nix::sched::{CloneFlags, unshare};
use spa_proto::{Ack, Reason, Status};

/// Runs the test on a thread in a fresh network namespace with documentation addresses and no route elsewhere.
/// The namespace ends with its last thread and socket.
fn in_own_network(test: fn()) {
    let body = move || {
        if unshare(CloneFlags::CLONE_NEWNET).is_err() {
            assert!(std::env::var_os("CI").is_none(), "network namespaces need root");
            eprintln!("not run: network namespaces need root");
            return;
        }
        for args in
            ["link set lo up", "addr add 192.0.2.1/32 dev lo", "addr add 2001:db8::1/128 dev lo nodad"]
        {
            assert!(Command::new("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
        }
        test();
    };
    thread::spawn(body).join().unwrap();
}

fn grant_seen_from(server: &Fake, observed: &str) -> Vec<Got> {
    let all = server.transmission();
    let observed: SocketAddr = observed.parse().unwrap();
    let ack = Ack { status: Status::Granted, reason: Reason::None, ttl_s: 60, server_ms: now_ms(), observed };
    server.send(&all[2], &server.open(&all[2]).0.seal_ack(&ack).unwrap());
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
            assert!(server.open(&all[0]).1.body.flags.bind_src);
            let ended = end(client);
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        }
    });
}

#[test]
fn another_observed_address_is_a_warning() {
    in_own_network(|| {
        let server = Fake::new(&["192.0.2.1"]);
        server.config("[host.gate]\nbind-src = \"never\"\n");
        let client = server.start(&["open", "vpn@gate"]);
        let all = grant_seen_from(&server, "203.0.113.9:1000");
        assert!(!server.open(&all[0]).1.body.flags.bind_src);
        let ended = end(client);
        assert_eq!(ended.code, Some(0));
        assert!(
            ended.err.starts_with("spa-client: warning: 192.0.2.1 saw 203.0.113.9, not 192.0.2.1: "),
            "{}",
            ended.err
        );
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
                    "spa-client: nothing was sent to {far}: Network is unreachable (os error 101); test it: ip route get {far}\n"
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
