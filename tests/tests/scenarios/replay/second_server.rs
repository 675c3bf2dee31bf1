//! Two servers with one key and the same clients.

use std::time::{Duration, Instant};

use spa_tests::config::Config;
use spa_tests::daemon::Server;
use spa_tests::probe::{EchoServer, hold, tcp};

use super::*;

/// How long nothing comes where nothing may.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a provisional grant lasts.
const PROVISIONAL: Duration = Duration::from_secs(10);

/// Another server with the key and the clients of the first.
fn copy_of(host: &Host, first: &Server, config: &Config) -> Server {
    let copy = Server::prepare(host, config);
    for file in ["server.key", "clients.toml"] {
        fs::copy(first.folder().join(file), copy.folder().join(file)).unwrap();
    }
    copy
}

#[test]
fn p9_a_second_server_of_the_same_key_is_noticed() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(TTL), &["ssh"]);
    let watching = config(TTL).set("firewall.backend", "\"observe\"");
    let mut other = copy_of(&net.server, &scene.server, &watching);
    assert!(scene.server.status()["second-servers"].is_null());
    other.launch();
    for server in [&scene.server, &other] {
        server.wait_log(&["level=error", "event=second-server ", "same key"]);
        assert_eq!(server.status()["second-servers"], 1);
        let said = String::from_utf8(server.control(&["status"]).stdout).unwrap();
        assert!(said.contains("another spa-server with the same key"), "{said}");
        let checked = server.control(&["check", "--live"]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(said.contains("another spa-server with the same key"), "{said}");
        assert_eq!(checked.status.code(), Some(78), "{said}");
    }
    // The end of either is noticed by the other.
    assert!(other.stop().success());
    scene.server.wait_log(&["event=second-server-ended"]);
    assert!(wait_until(PATIENCE, || scene.server.status()["second-servers"].is_null()));
    other.launch();
    assert!(wait_until(PATIENCE, || scene.server.status()["second-servers"] == 1));
    assert!(scene.server.stop().success());
    assert!(wait_until(PATIENCE, || other.status()["second-servers"].is_null()));
    // A server that is restarted does not meet itself, and neither does one of another key.
    let mark = other.log().mark();
    other.restart();
    let stranger = Server::start(&net.server, &watching);
    assert!(other.status()["second-servers"].is_null());
    assert!(stranger.status()["second-servers"].is_null());
    let lines = other.log().lines().split_off(mark);
    assert!(!lines.iter().any(|line| line.contains("event=second-server ")), "{lines:?}");
}

/// Of three servers any two know of each other, also when the one that was there first is gone.
#[test]
fn p9_two_are_left_of_three() {
    need_namespaces!();
    let net = lan();
    let watching = config(TTL).set("firewall.backend", "\"observe\"");
    let mut scene = Scene::new(&net.server, &net.client, &watching, &["ssh"]);
    let mut others = [1, 2].map(|_| copy_of(&net.server, &scene.server, &watching));
    others.iter_mut().for_each(Server::launch);
    let knows = |server: &Server, number: u64| {
        let count = || server.status()["second-servers"].as_u64().unwrap_or(0);
        assert!(wait_until(PATIENCE, || count() == number), "{} of {number}", count());
    };
    others.iter().chain([&scene.server]).for_each(|server| knows(server, 2));
    assert!(scene.server.stop().success());
    others.iter().for_each(|server| knows(server, 1));
    // Whoever takes the place of the first finds both.
    scene.server.launch();
    knows(&scene.server, 2);
    others.iter().for_each(|server| knows(server, 2));
    others.iter_mut().for_each(Server::kill9);
    knows(&scene.server, 0);
}

/// P9: what one server let in is sent again to a second one on another host, from elsewhere and in
/// the client's name. A bound knock opens there for the client's own address; an unbound one for
/// whoever sends it, for ten seconds at most, and what he connected meanwhile ends with it.
#[test]
fn p9_a_replay_at_a_second_server_opens_little() {
    need_namespaces!();
    let mut net = lan();
    let host = net.add_host("second", 2);
    let config = config(60);
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let mut second = copy_of(&host, &scene.server, &config);
    second.launch();
    let _ssh = EchoServer::start(&host, SSH);
    second.wait_fence();

    let knocker = Knocker::of(&scene.client);
    for family in Family::BOTH {
        let wire = Sniffer::start(&net.server, Host::DEVICE);
        scene.client.must_open("ssh", family, &[]);
        wire.catch_up(&net.client, Host::DEVICE);
        let source = net.client.address(family);
        let bound: Vec<(u16, Vec<u8>)> = wire
            .sent_by(source)
            .iter()
            .filter_map(|packet| Some((packet.ends()?.1.port(), packet.udp_payload()?.to_vec())))
            .filter(|(port, _)| PORTS.contains(port))
            .collect();
        let thief = Sender::from(&net.stranger, net.stranger.address(family), &host);
        let grants = || {
            let set = format!("grant{}", family.digit());
            nft::elements(&host, "inet", "spa", &set).unwrap_or_default()
        };
        // Bound: nothing for the thief, the client's own address for what comes in its name.
        bound.iter().for_each(|(port, payload)| thief.send(*port, payload));
        assert_eq!(tcp(&net.stranger, host.at(family, SSH), SILENCE), TcpProbe::Silent, "{family}");
        assert!(grants().is_empty(), "{family}: {:?}", grants());
        let forger = Forger::new(&net.stranger);
        for (port, payload) in &bound {
            forger.udp((source, 4444).into(), host.at(family, *port), payload);
        }
        assert!(
            wait_until(PATIENCE, || !grants().is_empty()),
            "{family}: the second server is deaf"
        );
        let keys = grants();
        assert!(
            keys.iter().all(|one| one.key.concat().contains(&source.to_string())),
            "{family}: {keys:?}"
        );
        assert_eq!(tcp(&net.stranger, host.at(family, SSH), SILENCE), TcpProbe::Silent, "{family}");
        second.control(&["close", "--all"]);

        // Unbound, used at the first server and confirmed there.
        let session = knocker.session("ssh");
        let sender = Sender::new(&net.client, &net.server, family);
        sender.all(&session);
        assert_eq!(sender.ack(&session, PATIENCE).map(|ack| ack.status), Some(Status::Granted));
        let (port, confirm) = knocker.confirm(&session, 1, source);
        sender.send(port, &confirm);
        let begun = Instant::now();
        thief.all(&session);
        thief.send(port, &confirm);
        let mut connection = hold(&net.stranger, host.at(family, SSH), PATIENCE);
        let gone = wait_until(PATIENCE, || {
            thief.all(&session);
            thief.send(port, &confirm);
            grants().is_empty()
        });
        assert!(gone, "{family}: {:?}", grants());
        let took = begun.elapsed();
        assert!(took <= PROVISIONAL + Duration::from_secs(2), "{family}: {took:?}");
        assert!(!connection.is_alive(SILENCE), "{family}");
        assert_eq!(tcp(&net.stranger, host.at(family, SSH), SILENCE), TcpProbe::Silent, "{family}");
    }
}
