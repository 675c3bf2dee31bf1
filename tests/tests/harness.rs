//! The harness itself, on the real kernel: a tool that proves others right must be shown to tell
//! wrong from right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use spa_tests::capture::Sniffer;
use spa_tests::clock::Clock;
use spa_tests::daemon::{Daemon, Log, example};
use spa_tests::netns::{Host, lan, routed, sweep};
use spa_tests::probe::{EchoServer, TcpProbe, UdpEcho, UdpProbe, hold, tcp, tcp_from, udp};
use spa_tests::raw::{Forger, send_udp, udp_socket};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces, nft, wait_until};

const PATIENCE: Duration = Duration::from_secs(5);
/// How long a port that must stay silent is listened to.
const SILENCE: Duration = Duration::from_millis(300);

#[test]
fn probes_tell_open_from_refused_from_silent() {
    need_namespaces!();
    let net = lan();
    let (tcp_echo, udp_echo) = (EchoServer::start(&net.server, 0), UdpEcho::start(&net.server, 0));
    nft::load(
        &net.server,
        "table inet foreign { chain input { type filter hook input priority 0; tcp dport 9 drop; \
         udp dport 9 drop; }; }",
    );
    for family in Family::BOTH {
        let at = |port| net.server.at(family, port);
        assert_eq!(tcp(&net.client, at(tcp_echo.port()), PATIENCE), TcpProbe::Open, "{family}");
        assert_eq!(tcp(&net.client, at(1), PATIENCE), TcpProbe::Refused, "{family}");
        assert_eq!(tcp(&net.client, at(9), SILENCE), TcpProbe::Silent, "{family}");
        assert_eq!(udp(&net.client, at(udp_echo.port()), PATIENCE), UdpProbe::Answered, "{family}");
        assert_eq!(udp(&net.client, at(1), PATIENCE), UdpProbe::Refused, "{family}");
        assert_eq!(udp(&net.client, at(9), SILENCE), UdpProbe::Silent, "{family}");
        let source = net.client.at(family, 5555);
        assert_eq!(
            tcp_from(&net.client, source, at(tcp_echo.port()), PATIENCE),
            TcpProbe::Open,
            "{family}"
        );
    }
}

#[test]
fn a_router_stands_between_the_routed_hosts() {
    need_namespaces!();
    let net = routed();
    let echo = EchoServer::start(&net.server, 0);
    for family in Family::BOTH {
        assert_eq!(
            tcp(&net.client, net.server.at(family, echo.port()), PATIENCE),
            TcpProbe::Open,
            "{family}"
        );
    }
    nft::load(
        &net.router,
        "table inet foreign { \
         chain forward { type filter hook forward priority 0; policy drop; }; }",
    );
    for family in Family::BOTH {
        assert_eq!(
            tcp(&net.client, net.server.at(family, echo.port()), SILENCE),
            TcpProbe::Silent,
            "{family}"
        );
    }
}

#[test]
fn a_held_connection_is_seen_to_live_and_to_die() {
    need_namespaces!();
    let net = lan();
    let echo = EchoServer::start(&net.server, 0);
    for family in Family::BOTH {
        let mut held = hold(&net.client, net.server.at(family, echo.port()), PATIENCE);
        assert!(held.is_alive(PATIENCE), "{family}");
        nft::load(
            &net.server,
            "table inet foreign { \
             chain input { type filter hook input priority 0; policy drop; }; }",
        );
        assert!(!held.is_alive(SILENCE), "{family}");
        nft::load(&net.server, "delete table inet foreign");
    }
}

#[test]
fn forged_packets_arrive_with_the_forged_source() {
    need_namespaces!();
    let net = lan();
    let forger = Forger::new(&net.stranger);
    for family in Family::BOTH {
        let socket = udp_socket(&net.server, family, 0);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let target = net.server.at(family, socket.local_addr().unwrap().port());
        let forged = net.client.at(family, 4242);
        let mut buffer = [0; 64];
        forger.udp(forged, target, b"not from the client");
        let (length, source) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], source), (&b"not from the client"[..], forged));
        send_udp(&net.stranger, 4343, target, b"honest");
        let (length, source) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], source), (&b"honest"[..], net.stranger.at(family, 4343)));
    }
}

#[test]
fn a_forged_syn_is_answered_to_the_forged_source() {
    need_namespaces!();
    let net = lan();
    let sniffer = Sniffer::start(&net.client, Host::DEVICE);
    let forger = Forger::new(&net.stranger);
    for family in Family::BOTH {
        let (forged, target) = (net.client.at(family, 4242), net.server.at(family, 1));
        forger.syn(forged, target);
        let answered = wait_until(PATIENCE, || {
            sniffer
                .sent_by(target.ip())
                .iter()
                .any(|packet| packet.ends() == Some((target, forged)))
        });
        assert!(answered, "{family}: the reset did not come to the client");
    }
}

#[test]
fn the_sniffer_hears_an_answer_and_proves_silence() {
    need_namespaces!();
    let net = lan();
    for family in Family::BOTH {
        let sniffer = Sniffer::start(&net.client, Host::DEVICE);
        sniffer.assert_silent(&net.server, Host::DEVICE);
        let target: SocketAddr = net.server.at(family, 9);
        send_udp(&net.client, 0, target, b"anyone there?");
        // The kernel answers a closed port with an ICMP error before the sender's call returns.
        let result = catch_unwind(std::panic::AssertUnwindSafe(|| {
            sniffer.assert_silent(&net.server, Host::DEVICE)
        }));
        assert!(result.is_err(), "{family}: an ICMP error was not heard");
        assert_eq!(
            sniffer.sent_by(net.client.address(family))[0].udp_payload(),
            Some(&b"anyone there?"[..])
        );
    }
}

#[test]
fn a_deaf_sniffer_is_found_out() {
    need_namespaces!();
    let net = lan();
    let sniffer = Sniffer::start(&net.client, Host::DEVICE);
    net.switch.ip(&["link set p0 nomaster"]);
    let result = catch_unwind(std::panic::AssertUnwindSafe(|| {
        sniffer.assert_silent(&net.server, Host::DEVICE)
    }));
    assert!(result.is_err(), "a sniffer behind a cut wire passed for one that heard nothing");
}

#[test]
fn elements_show_their_remaining_time_and_disappear() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    assert!(!nft::table_exists(host, "inet", "foreign"));
    assert_eq!(nft::elements(host, "inet", "foreign", "grant4"), None);
    nft::load(
        host,
        "table inet foreign {
            set grant4 { type ipv4_addr . inet_proto . inet_service; flags timeout; }
            set grant6 { type ipv6_addr . inet_proto . inet_service; flags timeout; }
            set nets { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 10.0.0.1-10.0.0.9 } }
        }
        add element inet foreign grant4 { 198.51.100.10 . tcp . 22 timeout 100s }
        add element inet foreign grant6 { 2001:db8:c::10 . tcp . 22 timeout 1s }",
    );
    assert!(nft::table_exists(host, "inet", "foreign"));
    let grants = nft::elements(host, "inet", "foreign", "grant4").unwrap();
    assert_eq!(grants[0].key, ["198.51.100.10", "tcp", "22"]);
    assert_eq!(grants[0].timeout, Some(100));
    assert!(grants[0].expires.is_some_and(|left| (90..=100).contains(&left)), "{grants:?}");
    let nets = nft::elements(host, "inet", "foreign", "nets").unwrap();
    assert_eq!(
        nets.iter().map(|net| net.key[0].as_str()).collect::<Vec<_>>(),
        ["10.0.0.1-10.0.0.9", "192.0.2.0/24"]
    );
    assert!(wait_until(PATIENCE, || nft::elements(host, "inet", "foreign", "grant6")
        .is_some_and(|set| set.is_empty())));
}

#[test]
fn namespaces_go_with_their_net_and_take_their_processes_along() {
    need_namespaces!();
    let net = lan();
    let name = net.server.namespace().to_owned();
    let mut child = net.server.command("sleep").arg("1000").spawn().unwrap();
    let inside = || {
        let pids = Command::new("ip").args(["netns", "pids", &name]).output().unwrap();
        String::from_utf8_lossy(&pids.stdout).contains(&child.id().to_string())
    };
    assert!(wait_until(PATIENCE, inside));
    drop(net);
    assert!(!child.wait().unwrap().success());
    assert!(!std::path::Path::new("/run/netns").join(&name).exists());
}

#[test]
fn what_a_killed_run_left_behind_is_swept() {
    need_namespaces!();
    // The namespace of a process that has ended and been waited for, with a process inside.
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let name = format!("spat-{}-0-left", dead.id());
    assert!(Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
    let mut child =
        Command::new("ip").args(["netns", "exec", &name, "sleep", "1000"]).spawn().unwrap();
    let inside =
        || !Command::new("ip").args(["netns", "pids", &name]).output().unwrap().stdout.is_empty();
    assert!(wait_until(PATIENCE, inside));
    sweep();
    assert!(!child.wait().unwrap().success());
    assert!(!std::path::Path::new("/run/netns").join(&name).exists());
}

#[test]
fn a_daemon_is_ready_logs_and_ends() {
    let folder = TempDir::new();
    let log = Log::default();
    let mut daemon = Daemon::start(&mut Command::new(example("wall_clock")), folder.path(), &log);
    assert!(daemon.is_running());
    let mark = log.mark();
    log.wait_since(mark, &["wall=", "monotonic="]);
    assert!(!daemon.end(Signal::SIGTERM).success());
}

#[test]
fn a_daemon_that_ends_early_is_reported_with_its_words() {
    let folder = TempDir::new();
    let panic = catch_unwind(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo bad configuration >&2; exit 78"]);
        Daemon::start(&mut command, folder.path(), &Log::default())
    })
    .unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("78"), "{message}");
}

#[test]
fn a_clock_is_moved_under_a_running_program() {
    let folder = TempDir::new();
    let clock = Clock::new(folder.path());
    let log = Log::default();
    let mut command = Command::new(example("wall_clock"));
    clock.apply(&mut command);
    let daemon = Daemon::start(&mut command, folder.path(), &log);
    // How far its wall clock is from ours, in whole seconds.
    let skew = |line: &str| {
        let theirs: i64 =
            line.split_once("wall=").unwrap().1.split(' ').next().unwrap().parse().unwrap();
        let ours = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        (theirs - ours) as f64 / 1000.0
    };
    for offset in [0, -3600, 7200, 0] {
        clock.set_offset(offset);
        let moved = wait_until(PATIENCE, || {
            let mark = log.mark();
            (skew(&log.wait_since(mark, &["wall="])) - offset as f64).abs() < 2.0
        });
        assert!(moved, "the clock did not move to {offset}: {:?}", log.lines().last());
    }
    let monotonic: Vec<u64> =
        log.lines().iter().map(|line| line.rsplit_once('=').unwrap().1.parse().unwrap()).collect();
    assert!(
        monotonic.is_sorted() && monotonic.last() < Some(&60_000),
        "the monotonic clock moved: {monotonic:?}"
    );
    daemon.end(Signal::SIGKILL);
}
