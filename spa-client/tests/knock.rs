//! `spa-client open` against a server that the test plays itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fake;

use std::net::{TcpListener, UdpSocket};

use fake::{Fake, end, now_ms};
use spa_proto::{Op, Reason, Status, service_id};

#[test]
fn granted_over_either_family() {
    for (ip, family) in [("127.0.0.1", "IPv4"), ("::1", "IPv6")] {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let server = Fake::new(&[ip]).with_ssh(&listener);
        let client = server.start(&["open", "ssh@gate", "--ttl", "30m"]);
        let all = server.grant(1800);
        let ended = end(client);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert_eq!(ended.err, "");
        let (said, until) = ended.out.split_once(", until ").unwrap();
        assert_eq!(said, format!("ssh on gate is open for 30m ({ip}, {family})"));
        assert!(until.contains(':'));
        // Reachable was proved, not assumed.
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_ok());

        let body = server.open(&all[0]).1.body;
        assert_eq!((body.service, body.ttl_s, body.op), (service_id("ssh"), 1800, Op::Open));
        // Loopback is not public, so nothing is bound to it.
        assert!(body.flags.want_ack && body.bind_src.is_none());
        assert!(all.iter().all(|got| (336..=448).contains(&got.bytes.len())));
        assert!(all[1..].iter().all(|got| server.open(got).1.same_as(&server.open(&all[0]).1)));
        assert!(server.nothing_more());
    }
}

#[test]
fn both_families_and_two_services_in_json() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let server = Fake::new(&["127.0.0.1", "::1"]).with_ssh(&listener);
    let client = server.start(&["open", "ssh,vpn@gate", "--json"]);
    // Four sessions at once: sort them out by who sent them.
    let mut sessions: Vec<Vec<fake::Got>> = Vec::new();
    for _ in 0..12 {
        let got = server.next();
        match sessions.iter_mut().find(|session| session[0].from == got.from) {
            Some(session) => session.push(got),
            None => sessions.push(vec![got]),
        }
    }
    assert_eq!(sessions.iter().map(Vec::len).collect::<Vec<_>>(), [3; 4]);
    for session in &sessions {
        server.send(
            &session[0],
            &server.ack(&session[0], Status::Granted, Reason::None, 60, now_ms()),
        );
    }
    let ended = end(client);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let mut json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    for service in json["services"].as_array_mut().unwrap() {
        for family in service["families"].as_array_mut().unwrap() {
            assert!(
                family.as_object_mut().unwrap().remove("rtt-ms").unwrap().as_f64().unwrap() > 0.0
            );
        }
    }
    let families = |reachable: serde_json::Value| {
        serde_json::json!([
            {"address": "127.0.0.1", "observed": "127.0.0.1", "reachable": reachable,
                "reason": null},
            {"address": "::1", "observed": "::1", "reachable": reachable, "reason": null},
        ])
    };
    let wanted = serde_json::json!({"version": 1, "host": "gate", "services": [
        {"service": "ssh", "granted": true, "ttl": 60, "families": families(true.into()),
            "reason": null},
        {"service": "vpn", "granted": true, "ttl": 60,
            "families": families(serde_json::Value::Null), "reason": null},
    ]});
    assert_eq!(json, wanted);
}

#[test]
fn one_open_family_is_success_and_the_other_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1", "::1"]).with_ssh(&listener);
    let client = server.start(&["open", "ssh@gate"]);
    let first: Vec<fake::Got> = (0..6).map(|_| server.next()).collect();
    let v4 = first.iter().find(|got| got.to_ip.is_ipv4()).unwrap();
    server.send(v4, &server.ack(v4, Status::Granted, Reason::None, 60, now_ms()));
    let ended = end(client);
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.starts_with("ssh on gate is open for 1m (127.0.0.1, IPv4), until "));
    assert!(
        ended.err.contains("warning: ssh is not open over IPv6 (::1: no-answer)"),
        "{}",
        ended.err
    );
}

#[test]
fn restricted_to_one_family() {
    for (option, wanted) in [("-4", "127.0.0.1"), ("-6", "::1")] {
        let server = Fake::new(&["127.0.0.1", "::1"]);
        let client = server.start(&["open", "vpn@gate", option]);
        let all = server.grant(60);
        assert_eq!(all[0].to_ip.to_string(), wanted);
        assert_eq!(end(client).code, Some(0));
        assert!(server.nothing_more());
    }
}

#[test]
fn lost_packets_are_sent_again_with_the_same_bytes_then_as_a_new_session() {
    let server = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["open", "vpn@gate", "-v"]);
    let first = server.transmission();
    for _ in 0..3 {
        let again = server.transmission();
        assert_eq!(again[0].from, first[0].from);
        for (one, other) in first.iter().zip(&again) {
            assert_eq!(one.bytes, other.bytes);
        }
    }
    let fresh = server.grant(60);
    for (one, other) in first.iter().zip(&fresh) {
        assert_ne!(one.bytes[16..48], other.bytes[16..48], "a new session has a new ephemeral key");
    }
    assert!(server.open(&fresh[0]).1.body.ts_ms > server.open(&first[0]).1.body.ts_ms + 2_000);
    let ended = end(client);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("no TCP port to test"));
}

#[test]
fn a_wrong_clock_is_told_with_its_size() {
    for (ahead, reason, wanted) in [
        (600_500, Reason::Past, "this machine's clock is 10m1s behind that of gate"),
        (-90_000, Reason::Future, "this machine's clock is 1m30s ahead of that of gate"),
        (7_200_000, Reason::Floor, "this machine's clock is 2h behind that of gate"),
    ] {
        let server = Fake::new(&["127.0.0.1"]);
        let client = server.start(&["open", "vpn@gate"]);
        // Once more by the server's clock, and then it is told.
        for _ in 0..if reason == Reason::Floor { 1 } else { 2 } {
            let all = server.transmission();
            let theirs = now_ms().checked_add_signed(ahead).unwrap();
            server.send(&all[2], &server.ack(&all[2], Status::Stale, reason, 0, theirs));
        }
        let ended = end(client);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
        // Up to a second may pass between the two clocks' readings on a busy machine.
        let close = |shown: &str| ended.err.contains(shown);
        assert!(
            close(wanted) || close(&wanted.replace("30s", "31s").replace("10m1s", "10m")),
            "{}",
            ended.err
        );
        assert!(ended.err.contains("timedatectl"));
    }
}

#[test]
fn a_fence_is_waited_for() {
    let server = Fake::new(&["::1"]);
    // The wait does not count: the timeout is shorter than it.
    let client = server.start(&["open", "vpn@gate", "--timeout", "1s"]);
    let first = server.answer(Status::Stale, Reason::Fence, 2);
    let second = server.grant(60);
    let waited = server.open(&second[0]).1.body.ts_ms - server.open(&first[0]).1.body.ts_ms;
    assert!((2_000..8_000).contains(&waited), "{waited}");
    let ended = end(client);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.err,
        "spa-client: gate has restarted and will accept knocks again in 2 s; waiting\n"
    );
}

#[test]
fn a_floor_is_waited_for() {
    let server = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["open", "vpn@gate", "--timeout", "1s"]);
    let first = server.answer(Status::Stale, Reason::Floor, 2);
    let second = server.grant(60);
    let waited = server.open(&second[0]).1.body.ts_ms - server.open(&first[0]).1.body.ts_ms;
    assert!((2_000..8_000).contains(&waited), "{waited}");
    let ended = end(client);
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("accepted later knocks of this client"), "{}", ended.err);

    // Too long to wait, and one wait in all.
    let client = server.start(&["open", "vpn@gate"]);
    server.answer(Status::Stale, Reason::Floor, 300);
    let ended = end(client);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("accepts no new ones for another 5m"), "{}", ended.err);
    let client = server.start(&["open", "vpn@gate", "--timeout", "1s"]);
    server.answer(Status::Stale, Reason::Floor, 1);
    server.answer(Status::Stale, Reason::Fence, 60);
    assert_eq!(end(client).code, Some(1));
}

#[test]
fn the_servers_clock_is_taken_once() {
    for (ahead, reason) in [(45_000_i64, Reason::Past), (-45_000, Reason::Future)] {
        let server = Fake::new(&["::1"]);
        let client = server.start(&["open", "vpn@gate"]);
        let first = server.transmission();
        let theirs = || now_ms().checked_add_signed(ahead).unwrap();
        let stale = |got: &fake::Got| server.ack(got, Status::Stale, reason, 0, theirs());
        server.send(&first[2], &stale(&first[2]));
        let second = server.transmission();
        let off = server.open(&second[0]).1.body.ts_ms.abs_diff(theirs());
        assert!(off < 5_000, "{off}");
        // Busy changes nothing about it, and is no second time.
        let busy = server.ack(&second[2], Status::Busy, Reason::Firewall, 0, theirs());
        server.send(&second[2], &busy);
        let third = server.grant(60);
        let off = server.open(&third[0]).1.body.ts_ms.abs_diff(theirs());
        assert!(off < 5_000, "{off}");
        let ended = end(client);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert_eq!(ended.err.matches("warning: this machine's clock is 4").count(), 1);
        // The correction is not kept.
        let client = server.start(&["open", "vpn@gate"]);
        let next = server.grant(60);
        let off = server.open(&next[0]).1.body.ts_ms.abs_diff(now_ms());
        assert!(off < 5_000, "{off}");
        assert_eq!(end(client).code, Some(0));
    }
}

#[test]
fn l5_a_server_behind_its_fence_for_ever_does_not_extend_the_timeout() {
    let server = Fake::new(&["127.0.0.1"]);
    let begun = std::time::Instant::now();
    let client = server.start(&["open", "vpn@gate", "--timeout", "1s"]);
    server.answer(Status::Stale, Reason::Fence, 2);
    server.answer(Status::Stale, Reason::Fence, 60);
    let ended = end(client);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let lasted = begun.elapsed();
    assert!(lasted < std::time::Duration::from_secs(20), "{lasted:?}");
}

#[test]
fn l7_a_grant_for_no_time_is_no_answer() {
    let server = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["open", "vpn@gate", "--timeout", "1s"]);
    server.answer(Status::Granted, Reason::None, 0);
    let ended = end(client);
    assert_ne!(ended.code, Some(0), "{}", ended.out);
    assert!(!ended.err.contains("granted"), "{}", ended.err);
}

#[test]
fn a_far_fence_is_told() {
    let server = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["open", "vpn@gate"]);
    server.answer(Status::Stale, Reason::Fence, 300);
    let ended = end(client);
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.err,
        "spa-client: gate has restarted and accepts no knocks for another 5m; try again then\n"
    );
}

#[test]
fn a_busy_server_is_asked_again_with_a_new_session() {
    let server = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["open", "vpn@gate"]);
    let first = server.answer(Status::Busy, Reason::Firewall, 0);
    let second = server.grant(60);
    assert_ne!(first[0].bytes, second[0].bytes);
    assert_eq!(end(client).code, Some(0));

    let client = server.start(&["open", "vpn@gate", "--timeout", "1s"]);
    server.answer(Status::Busy, Reason::Store, 0);
    let ended = end(client);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("gate cannot open vpn now (store)"), "{}", ended.err);
}

#[test]
fn denials_say_why() {
    let cases = [
        (Reason::Service, "`alice` may not open it, or it does not exist"),
        (Reason::Expired, "the access of `alice` has expired"),
        (Reason::Hours, "is not allowed in at this hour"),
        (Reason::From, "is not allowed in from 127.0.0.1"),
        (Reason::Ttl, "ask for less with --ttl"),
        (Reason::MaxGrants, "has as many open grants as it is allowed"),
        (Reason::Banned, "is banned"),
        (Reason::ForAddr, "may not open for another address"),
    ];
    let server = Fake::new(&["127.0.0.1"]);
    for (reason, wanted) in cases {
        let client = server.start(&["open", "vpn@gate", "--json"]);
        server.answer(Status::Denied, reason, 0);
        let ended = end(client);
        assert_eq!(ended.code, Some(1));
        assert!(
            ended.err.starts_with("spa-client: gate denies vpn: ") && ended.err.contains(wanted),
            "{}",
            ended.err
        );
        let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(json["services"][0]["reason"], reason.word());
        assert_eq!(json["services"][0]["granted"], false);
    }
}

#[test]
fn foreign_acks_are_ignored() {
    let server = Fake::new(&["127.0.0.1"]);
    let other = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["open", "vpn@gate"]);
    let all = server.transmission();
    let last = &all[2];
    // The right bytes from the wrong address.
    let elsewhere = UdpSocket::bind("127.0.0.2:0").unwrap();
    elsewhere
        .send_to(&server.ack(last, Status::Denied, Reason::Hours, 0, now_ms()), last.from)
        .unwrap();
    // From the right address: noise, a cut ack, a flipped bit, another session's ack, our own
    // packet.
    let good = server.ack(last, Status::Granted, Reason::None, 120, now_ms());
    let foreign = {
        let client = other.start(&["open", "vpn@gate", "--timeout", "1s"]);
        let all = other.transmission();
        let ack = other.ack(&all[2], Status::Denied, Reason::Hours, 0, now_ms());
        other.send(&all[2], &ack);
        assert_eq!(end(client).code, Some(1));
        ack
    };
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    for bytes in [&[0; 60][..], &good[..59], &flipped, &foreign, &last.bytes, &[]] {
        server.send(last, bytes);
    }
    server.send(last, &good);
    let ended = end(client);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.starts_with("vpn on gate is open for 2m "));
}

#[test]
fn bound_to_the_source_when_the_settings_say_so() {
    let server = Fake::new(&["127.0.0.1"]);
    server.config("[host.gate]\nbind-src = \"always\"\n");
    let client = server.start(&["open", "vpn@gate"]);
    // `Fake::open` verifies the signature for the observed source.
    let all = server.grant(60);
    assert!(server.open(&all[0]).1.body.bind_src.is_some());
    assert_eq!(end(client).code, Some(0));
}

#[test]
fn bound_to_the_one_address_that_is_expected() {
    for (expected, is_bound) in
        [("127.0.0.1", true), ("127.0.0.0/8", false), ("192.0.2.7", false), ("::1", false)]
    {
        let server = Fake::new(&["127.0.0.1"]);
        server.config(&format!("[host.gate]\nexpect-address = [\"{expected}\"]\n"));
        let client = server.start(&["open", "vpn@gate", "--timeout", "1s"]);
        let all = server.transmission();
        assert_eq!(server.open(&all[0]).1.body.bind_src.is_some(), is_bound, "{expected}");
        server.send(&all[2], &server.ack(&all[2], Status::Granted, Reason::None, 60, now_ms()));
        end(client);
    }
}

#[test]
fn no_answer_names_the_likeliest_causes() {
    let server = Fake::new(&["127.0.0.1", "::1"]);
    let ended = end(server.start(&["open", "vpn@gate", "--timeout", "1s"]));
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(
        ended.err.starts_with("spa-client: no answer: vpn on gate (127.0.0.1, ::1) after 1s\n"),
        "{}",
        ended.err
    );
    for part in [
        "the clock",
        "timedatectl",
        "is not enrolled",
        "spa-server client list",
        "UDP is blocked",
        "tcpdump",
    ] {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    let numbered = ended.err.lines().filter(|line| line.starts_with("  "));
    assert_eq!(numbered.count(), 3, "{}", ended.err);
    assert!(ended.err.ends_with("More: spa-client doctor gate --knock\n"), "{}", ended.err);
}

#[test]
fn granted_but_nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let client = server.start(&["open", "ssh@gate"]);
    server.grant(60);
    let ended = end(client);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(
        ended.err.contains(&format!("connections to port {port} of 127.0.0.1 are refused")),
        "{}",
        ended.err
    );
}

#[test]
fn a_server_that_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    server.line.ack = false;
    server.enrol();
    let client = server.start(&["open", "ssh@gate"]);
    let all = server.transmission();
    assert!(!server.open(&all[0]).1.body.flags.want_ack);
    let ended = end(client);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(
        ended.out,
        "ssh on gate is open (127.0.0.1, IPv4); this server does not tell for how long\n"
    );

    let ended = end(server.start(&["open", "vpn@gate"]));
    server.transmission();
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.out,
        "asked gate for vpn (127.0.0.1, IPv4); it never answers, and there is no TCP port to test\n"
    );

    drop(listener);
    let ended = end(server.start(&["open", "ssh@gate", "--timeout", "3s"]));
    let first = server.transmission();
    assert_eq!(
        first[0].bytes,
        server.transmission()[0].bytes,
        "repeated while nothing is reachable"
    );
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.err.contains("no connection, and this server never answers knocks"),
        "{}",
        ended.err
    );
}
