//! The table is changed, flushed and put back while somebody tries to get in without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use spa_server::domain::grant::{Grant, GrantId};
use spa_server::domain::ports::Protocol::Tcp;
use spa_server::firewall::nftables::print;
use spa_server::firewall::{Authenticated, Established, Firewall, Hide, Mode, Rules};

use crate::flood::Flood;
use crate::forward::{self, Site, behind, gateway, inside};
use crate::namespace::{bait, grant, ip, load, rules, sh};
use crate::net::{FAMILIES, Net};

/// Changes of each kind while the stranger tries.
const TURNS: usize = 40;
/// Least packets of the stranger between two changes.
const BETWEEN: u64 = 40;

/// Pairs of rules between which a reload goes to and fro, each hiding tcp/22.
fn reloads() -> Vec<(&'static str, [Rules; 2])> {
    let with = |change: fn(&mut Rules)| {
        let mut other = rules();
        change(&mut other);
        [rules(), other]
    };
    vec![
        ("the same", with(|_| ())),
        ("the bans' limit", with(|r| r.ban_limit = 2000)),
        ("a bound port", with(|r| r.bound = vec!["tcp/22".parse().unwrap()])),
        (
            "a bound port behind",
            with(|r| r.forward = vec![behind("tcp/443", Some("10.0.0.5"), Established::Drop)]),
        ),
        ("a port behind", with(|r| r.forward = vec![behind("tcp/443", None, Established::Keep)])),
        ("the mode", with(|r| r.mode = Mode::Standalone)),
        ("the look", with(|r| r.hide = Hide::Closed)),
        ("strictness", with(|r| r.authenticated = Authenticated::Strict)),
        ("interfaces", with(|r| r.interfaces = vec!["near1".into()])),
        ("the capture", with(|r| (r.knock_accept, r.knock_nflog) = (true, Some(8)))),
        ("baits", with(|r| r.baits = vec![bait("trap", "tcp/1-21,tcp/23-1000", 1)])),
        ("another port", with(|r| r.protected.push("tcp/23-9000".parse().unwrap()))),
        ("knock ports", with(|r| r.knock = vec!["43001".parse().unwrap()])),
    ]
}

#[test]
fn f13_no_change_of_the_table_lets_a_stranger_in() {
    let net = Net::new(&rules());
    let mut flood = Flood::start(&net.server, &net.client, 22, Duration::ZERO);
    let mut met: Vec<String> = Vec::new();
    let mut count = |what: &str, flood: &mut Flood, sent: u64| {
        let answers = flood.answers(&net.client);
        if answers > 0 {
            met.push(format!("{what}: {answers} of {}", flood.sent() - sent));
        }
    };
    // Others' grants are there meanwhile, narrow and wide.
    for (id, source) in [(1, "10.9.1.77"), (2, "fd09:1::7:77")] {
        let prefix = if source.contains(':') { 112 } else { 29 };
        let (narrow, wide) = (grant(id, source, "tcp/22", 600), grant(id + 2, source, "tcp/22", 9));
        net.with(move |f| {
            f.open(&narrow).unwrap();
            f.open(&Grant { prefix, ..wide }).unwrap();
        });
    }
    for (what, pair) in reloads() {
        let sent = flood.sent();
        for turn in 0..TURNS {
            net.install(&pair[turn % 2]);
            flood.pass(BETWEEN);
        }
        count(&format!("reload, {what}"), &mut flood, sent);
        let text = pair.each_ref().map(print);
        for turn in 0..TURNS / 4 {
            let text = text[turn % 2].clone();
            net.server.run(move || load(&text));
        }
        count(&format!("nft -f, {what}"), &mut flood, sent);
        net.install(&rules());
    }
    for (what, hand) in [
        ("nothing", "true"),
        ("a chain", "nft add chain inet spa other '{ type filter hook input priority 9; }'"),
        ("a set", "nft add set inet spa other '{ type ipv4_addr; }'"),
        ("a rule", "nft insert rule inet spa input tcp dport 99 drop"),
        ("a grant", "nft add element inet spa grant4 '{ 10.9.1.99 . tcp . 22 timeout 9s }'"),
        (
            "another size",
            "nft 'flush chain inet spa bait; delete set inet spa sequence4; add set inet spa \
             sequence4 { type ipv4_addr; size 9; flags timeout; }'",
        ),
        ("the policy", "nft 'chain inet spa input { policy drop; }'"),
    ] {
        let sent = flood.sent();
        for _ in 0..TURNS {
            net.server.run(move || sh(hand));
            net.with(|f| f.restore().unwrap());
            flood.pass(BETWEEN);
        }
        count(&format!("restore after {what}"), &mut flood, sent);
    }
    let sent = flood.sent();
    for turn in 0..TURNS {
        let source = if turn % 2 == 0 { "10.9.1.78" } else { "fd09:1::1:78" };
        let prefix = if turn % 2 == 0 { 30 } else { 112 };
        let given = Grant { prefix, ..grant(9, source, "tcp/22", 600) };
        net.with(move |f| {
            f.open(&given).unwrap();
            f.ban(ip("198.51.100.7"), Duration::from_secs(9)).unwrap();
            f.close(GrantId(9)).unwrap();
            f.unban(ip("198.51.100.7")).unwrap();
        });
    }
    count("grants and bans of others", &mut flood, sent);
    assert!(met.is_empty(), "first packets of a stranger that were answered: {met:#?}");
    assert!(flood.sent() > 10_000, "{} packets", flood.sent());
}

/// The same at a host behind this one.
#[test]
fn f13_no_change_of_the_table_lets_a_stranger_through() {
    let hidden = |established| behind("tcp/22", None, established);
    let base = gateway(Hide::Drop, vec![hidden(Established::Keep)]);
    let site = Site::new(&base);
    let inner = forward::FAMILIES.map(|[_, inner, ..]| inner);
    let mut flood = Flood::start_to(&site.router, &site.client, inner, 22, Duration::ZERO);
    let with = |change: &dyn Fn(&mut Rules)| {
        let mut other = base.clone();
        change(&mut other);
        other
    };
    let others = [
        ("the same", with(&|_| ())),
        ("a bound port", with(&|r| r.forward = vec![hidden(Established::Drop)])),
        ("another service", with(&|r| r.forward.push(behind("tcp/80", None, Established::Keep)))),
        (
            "our own NAT",
            with(&|r| r.forward.push(behind("tcp/2222", Some("10.9.2.2:80"), Established::Drop))),
        ),
        ("all interfaces", with(&|r| r.interfaces.clear())),
        ("the mode", with(&|r| r.mode = Mode::Standalone)),
        ("strictness", with(&|r| r.authenticated = Authenticated::Strict)),
        ("the bans' limit", with(&|r| r.ban_limit = 2000)),
    ];
    let mut met: Vec<String> = Vec::new();
    for (what, other) in others {
        let sent = flood.sent();
        for turn in 0..TURNS {
            site.install([&other, &base][turn % 2]);
            flood.pass(BETWEEN);
        }
        let answers = flood.answers(&site.client);
        if answers > 0 {
            met.push(format!("{what}: {answers} of {}", flood.sent() - sent));
        }
    }
    assert!(met.is_empty(), "first packets of a stranger that were answered: {met:#?}");
    site.wall.with(&site.router, |f| f.remove().unwrap());
    assert!(flood.answers(&site.client) > 0, "without the table they are answered");
}

/// Answers from the end of a flush until a table is back that has this many grants: the fewest of
/// some flushes, since a busy machine adds to each what has nothing to do with the grants.
fn window(grants: u32) -> u64 {
    const PAUSE: Duration = Duration::from_micros(100);
    const FLUSHES: usize = 4;
    let net = Net::new(&rules());
    net.with(move |f| {
        for number in 0..grants {
            let [_, a, b, c] = number.to_be_bytes();
            let source = if number % 2 == 0 {
                format!("172.{}.{b}.{c}", 16 + a)
            } else {
                format!("2001:db8::{number:x}")
            };
            f.open(&grant(number.into(), &source, "tcp/22,udp/5000-5001", 900)).unwrap();
        }
    });
    let mut flood = Flood::start(&net.server, &net.client, 22, PAUSE);
    assert_eq!(flood.answers(&net.client), 0);
    let windows = (0..FLUSHES).map(|_| {
        // The kernel's own part, to forget so many elements, is not ours.
        net.with(|_| sh("nft flush ruleset"));
        flood.answers(&net.client);
        net.with(|f| f.restore().unwrap());
        let answers = flood.answers(&net.client);
        let live = net.with(|f| f.grants().unwrap().len());
        assert_eq!(live, usize::try_from(grants).unwrap(), "they are back");
        answers
    });
    windows.min().unwrap()
}

#[test]
fn f5_the_window_of_a_flush_does_not_grow_with_the_grants() {
    let (few, many) = (window(2), window(10_000));
    // Two packets each 100 µs: 1000 are 50 ms. When the elements came before the rules, it took
    // 474 ms (9480 answers) with 10 000 grants.
    assert!(many < few + 1000, "{few} answers with 2 grants, {many} with 10000");
}

#[test]
fn f15_knocks_during_flushes_open() {
    let net = Net::new(&rules());
    let stop = Arc::new(AtomicBool::new(false));
    let (over, flushes) = (stop.clone(), Arc::new(AtomicU32::new(0)));
    let count = flushes.clone();
    let server = &net.server;
    let opened = std::thread::scope(|scope| {
        let tid = server.tid();
        scope.spawn(move || {
            let mut nft = std::process::Command::new("nsenter")
                .args([&format!("--net=/proc/{tid}/ns/net"), "nft", "-i"])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let mut words = nft.stdin.take().unwrap();
            while !over.load(Ordering::Relaxed) {
                use std::io::Write;
                writeln!(words, "flush ruleset").unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(words);
            nft.wait().unwrap();
        });
        let start = Instant::now();
        let mut opened = 0u64;
        let mut failed = Vec::new();
        while start.elapsed() < Duration::from_secs(4) {
            let source = FAMILIES[usize::try_from(opened % 2).unwrap()].1;
            let given = grant(opened % 50, source, "tcp/22,udp/5000", 60);
            let done = net.with(move |f| f.open(&given));
            opened += 1;
            failed.extend(done.err().map(|error| error.to_string()));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(
            failed.is_empty(),
            "{} of {opened} failed in {} flushes: {}",
            failed.len(),
            flushes.load(Ordering::Relaxed),
            failed[0]
        );
        opened
    });
    assert!(opened > 20, "{opened}");
}

/// Without the chain that translates them, packets of a connection to an inner host would reach
/// this host itself, which resets them.
#[test]
fn f14_connections_to_inner_hosts_outlive_a_flush() {
    for [router, inner, client, _] in forward::FAMILIES {
        let end = if inner.contains(':') { format!("[{inner}]:22") } else { format!("{inner}:22") };
        let forward = vec![behind("tcp/2222", Some(&end), Established::Keep)];
        let site = Site::new(&gateway(Hide::Drop, forward));
        site.open(inside(1, client, "tcp/2222", 600));
        let mut flows: Vec<_> = (0..15).map(|_| site.reach(Tcp, client, router, 2222)).collect();
        for _ in 0..3 {
            site.router.run(|| sh("nft flush ruleset"));
            // Traffic of each while the table is away.
            let alive = flows.iter_mut().map(|flow| flow.alive()).filter(|alive| *alive).count();
            site.wall.with(&site.router, |f| f.restore().unwrap());
            assert_eq!(alive, 15, "{inner}: without the table");
            assert!(flows.iter_mut().all(|flow| flow.alive()), "{inner}: put back");
        }
        site.wall.with(&site.router, |f| f.remove().unwrap());
        assert_eq!(site.router.run(|| sh("nft list ruleset")), "");
    }
}
