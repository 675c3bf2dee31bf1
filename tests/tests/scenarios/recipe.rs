//! The port knocking recipe of the MikroTik documentation, as `pkg/examples/recipe.toml` has it.
//!
//! Only the paths are changed, and the time for which a new server refuses knocks. Long times are
//! read from the kernel.

use std::path::Path;
use std::time::Duration;

use spa_tests::bans::{ban_of, bans, stranger};
use spa_tests::config::Config;
use spa_tests::daemon::{Client, Server};
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::nft::{self, Element};
use spa_tests::probe::{EchoServer, TcpProbe, UdpEcho, UdpProbe, hold, ping, tcp, udp};
use spa_tests::raw::Forger;
use spa_tests::scene::{PATIENCE, SILENCE, both};
use spa_tests::{Family, need_namespaces, wait_until};

/// "a secured address may reach everything": ports of which the recipe says nothing, and soft
/// baits.
const PLAIN: u16 = 80;
const SOFT: [u16; 7] = [21, 22, 23, 8291, 10_000, 33_333, 60_000];
const HARD: u16 = 666;

/// The example as it is, with these replacements.
fn recipe(changes: &[(&str, &str)]) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples/recipe.toml");
    let mut text = std::fs::read_to_string(path).expect("the example");
    let here = "[server]\nkey = \"{dir}/server.key\"\nclients = \"{dir}/clients.toml\"\nstate = \
        \"{dir}/state\"\n\
                control = \"{dir}/control.sock\"\nhosts = [\"192.0.2.1\"]\nwindow-future = \
                    \"1s\"\n";
    for (from, to) in [("[server]\n", here)].iter().chain(changes) {
        assert!(text.contains(from), "the example has no {from:?}");
        text = text.replacen(from, to, 1);
    }
    Config::literal(&text)
}

struct Scene {
    server: Server,
    client: Client,
    net: Lan,
}

/// A server with the recipe, and a client who may become secured.
fn scene(changes: &[(&str, &str)]) -> Scene {
    let net = lan();
    let mut server = Server::prepare(&net.server, &recipe(changes));
    let client = Client::enrolled(&net.client, &server, "laptop", &["secured"]);
    server.launch();
    server.wait_fence();
    Scene { server, client, net }
}

impl Scene {
    fn at(&self, family: Family, port: u16) -> std::net::SocketAddr {
        self.net.server.at(family, port)
    }

    /// Touches a bait from the host's own address.
    fn touch(&self, from: &Host, family: Family, port: u16) {
        let source = from.at(family, 50_000);
        Forger::new(from).syn(source, self.at(family, port));
    }

    fn secured(&self, family: Family) -> Vec<Element> {
        nft::elements(&self.net.server, "inet", "spa", &format!("all{}", family.digit())).unwrap()
    }

    fn ban(&self, host: &Host, family: Family) -> Option<Element> {
        ban_of(&self.net.server, host.address(family))
    }

    fn wait_ban(&self, host: &Host, family: Family, seconds: u64) {
        let banned = wait_until(PATIENCE, || {
            self.ban(host, family).is_some_and(|ban| ban.timeout == Some(seconds))
        });
        assert!(
            banned,
            "{host:?} is not banned over {family}: {:?}",
            bans(&self.net.server, family)
        );
    }
}

fn lasts(element: &Element, seconds: u64) -> bool {
    element.timeout == Some(seconds) && element.expires.is_some_and(|left| left + 20 >= seconds)
}

#[test]
fn three_stages_secure_an_address_for_thirty_minutes() {
    need_namespaces!();
    let scene = scene(&[]);
    let _tcp: Vec<_> = [PLAIN]
        .iter()
        .chain(&SOFT)
        .map(|port| EchoServer::start(&scene.net.server, *port))
        .collect();
    let _udp = UdpEcho::start(&scene.net.server, 5353);
    let knocker = Knocker::of(&scene.client);
    assert_eq!(knocker.ports(), [888, 555, 222]);
    both(|family| {
        let client = &scene.net.client;
        let seen = |port| tcp(client, scene.at(family, port), SILENCE);
        assert_eq!(seen(PLAIN), TcpProbe::Silent, "{family}");
        let sender = Sender::new(client, &scene.net.server, family);
        let session = knocker.session("secured");
        for stage in 0..3 {
            assert_eq!(scene.secured(family), [], "{family}: open before stage {stage}");
            sender.stage(&session, stage);
        }
        let told = knocker.lasting_ack(&sender, &session, PATIENCE);
        assert!(told.is_some_and(|ack| ack.ttl_s == 30 * 60), "{family}: {told:?}");
        let secured = scene.secured(family);
        assert_eq!(secured.len(), 1, "{family}: {secured:?}");
        assert_eq!(secured[0].key, [client.address(family).to_string()], "{family}");
        assert!(lasts(&secured[0], 30 * 60), "{family}: {secured:?}");

        for port in [PLAIN].into_iter().chain(SOFT) {
            assert_eq!(
                tcp(client, scene.at(family, port), PATIENCE),
                TcpProbe::Open,
                "{family} {port}"
            );
        }
        // Nothing listens there: the host's own words reach a secured address, from the hard bait
        // as well.
        for port in [1, 12_345, HARD] {
            assert_eq!(
                tcp(client, scene.at(family, port), PATIENCE),
                TcpProbe::Refused,
                "{family} {port}"
            );
        }
        assert_eq!(udp(client, scene.at(family, 5353), PATIENCE), UdpProbe::Answered, "{family}");
        assert!(ping(client, scene.net.server.address(family), PATIENCE), "{family}");
        assert_eq!(scene.ban(client, family), None, "{family}");

        let stranger = &scene.net.stranger;
        assert_eq!(tcp(stranger, scene.at(family, PLAIN), SILENCE), TcpProbe::Silent, "{family}");
        assert_eq!(udp(stranger, scene.at(family, 5353), SILENCE), UdpProbe::Silent, "{family}");
        assert!(!ping(stranger, scene.net.server.address(family), SILENCE), "{family}");
    });
}

#[test]
fn the_client_program_secures_its_address() {
    need_namespaces!();
    let scene = scene(&[]);
    let _ssh = EchoServer::start(&scene.net.server, 22);
    both(|family| {
        scene.client.must_open("secured", family, &[]);
        assert!(lasts(&scene.secured(family)[0], 30 * 60), "{family}");
        assert_eq!(
            tcp(&scene.net.client, scene.at(family, 22), PATIENCE),
            TcpProbe::Open,
            "{family}"
        );
    });
}

#[test]
fn a_stage_after_its_timeout_opens_nothing() {
    need_namespaces!();
    let scene = scene(&[("timeout = \"30s\"", "timeout = \"1s\"")]);
    let knocker = Knocker::of(&scene.client);
    both(|family| {
        let sender = Sender::new(&scene.net.client, &scene.net.server, family);
        let source = format!("source={} ", sender.source());
        for before in [1, 2] {
            let mark = scene.server.log().mark();
            let session = knocker.session("secured");
            (0..before).for_each(|stage| sender.stage(&session, stage));
            scene.server.log().wait_since(mark, &["event=timed-out", &source]);
            (before..3).for_each(|stage| sender.stage(&session, stage));
            knocker.settle(&scene.server, &sender);
            assert_eq!(scene.secured(family), [], "{family}: {before} stages in time");
        }
    });
}

#[test]
fn the_hard_bait_bans_for_a_thousand_minutes_and_the_soft_ones_for_one() {
    need_namespaces!();
    let scene = scene(&[]);
    both(|family| {
        let forger = Forger::new(&scene.net.stranger);
        let touch = |number: u16, port: u16| {
            forger.syn((stranger(family, number), 40_000).into(), scene.at(family, port));
        };
        // Neighbours of the baits, the knock ports and a port of no meaning: no baits, all of them
        // sent first.
        let harmless = [20, 24, 222, 555, 665, 667, 888, 8290, 8292, 9999, 60_001, PLAIN];
        for (number, port) in (100..).zip(harmless) {
            touch(number, port);
        }
        touch(0, HARD);
        for (number, port) in (1..).zip(SOFT) {
            touch(number, port);
        }
        let all = wait_until(PATIENCE, || bans(&scene.net.server, family).len() > SOFT.len());
        assert!(all, "{family}: {:?}", bans(&scene.net.server, family));
        assert!(
            lasts(&ban_of(&scene.net.server, stranger(family, 0)).unwrap(), 1000 * 60),
            "{family}"
        );
        for number in (1..).take(SOFT.len()) {
            let ban = ban_of(&scene.net.server, stranger(family, number)).unwrap();
            assert!(lasts(&ban, 60), "{family}: {ban:?}");
        }
        assert_eq!(bans(&scene.net.server, family).len(), 1 + SOFT.len(), "{family}");
        let source = format!("source={} ", stranger(family, 0));
        scene.server.wait_log(&[
            "event=banned",
            &source,
            "bait=hard",
            "port=tcp/666",
            "time=60000s",
        ]);
        let source = format!("source={} ", stranger(family, 2));
        scene.server.wait_log(&["event=banned", &source, "bait=soft", "port=tcp/22", "time=60s"]);
    });
}

#[test]
fn banned_is_dropped_at_the_top() {
    need_namespaces!();
    let scene = scene(&[]);
    let _plain = EchoServer::start(&scene.net.server, PLAIN);
    // One after the other: the counter of the drops is shared.
    for family in Family::BOTH {
        let client = &scene.net.client;
        scene.client.must_open("secured", family, &["--ttl", "2s"]);
        let mut held = hold(client, scene.at(family, PLAIN), PATIENCE);
        let gone = || {
            let live =
                nft::elements(&scene.net.server, "inet", "spa", &format!("live{}", family.digit()));
            scene.secured(family).is_empty() && live.unwrap().is_empty()
        };
        assert!(wait_until(PATIENCE, gone), "{family}");
        assert!(held.is_alive(PATIENCE), "{family}: a connection outlives its grant");

        scene.touch(client, family, HARD);
        scene.wait_ban(client, family, 60_000);
        assert!(!held.is_alive(SILENCE), "{family}: a banned address kept its connection");
        let dropped = || nft::counted(&scene.net.server, "inet", "spa", "shut_out");
        for (what, send) in [
            (
                "echo",
                &(|| _ = ping(client, scene.net.server.address(family), SILENCE)) as &dyn Fn(),
            ),
            ("udp", &|| _ = udp(client, scene.at(family, 9), SILENCE)),
            ("tcp", &|| _ = tcp(client, scene.at(family, PLAIN), SILENCE)),
        ] {
            let before = dropped();
            send();
            assert!(dropped() > before, "{family}: {what} was not dropped by the ban");
        }
    }
}

#[test]
fn the_ban_comes_before_every_other_decision() {
    need_namespaces!();
    let scene = scene(&[]);
    let rules = nft::json(&scene.net.server, &["list", "chain", "inet", "spa", "input"]).unwrap();
    let hook = rules.iter().map(|item| &item["chain"]).find(|chain| chain.is_object()).unwrap();
    assert_eq!((hook["hook"].as_str(), hook["prio"].as_i64()), (Some("input"), Some(-5)));
    let rules: Vec<String> = rules
        .iter()
        .filter(|item| item["rule"].is_object())
        .map(|item| item["rule"]["expr"].to_string())
        .collect();
    let first = rules.iter().position(|rule| rule.contains("@ban4")).expect("a rule for bans");
    assert!(rules[first].contains("shut_out") && rules[first + 1].contains("@ban6"), "{rules:#?}");
    // What may come before lets no stranger in: loopback, IPv6's neighbour discovery, which is its
    // ARP, and that knocks are dropped when they have been heard.
    let harmless = |rule: &String| {
        rule.contains("\"lo\"")
            || rule.contains("nd-neighbor-solicit")
            || (rule.contains("@knock") && rule.contains("{\"drop\":null}"))
    };
    assert!(rules[..first].iter().all(harmless), "{rules:#?}");
}

#[test]
fn a_real_knock_lifts_a_ban_unless_strict() {
    need_namespaces!();
    let strict = [("# authenticated = \"strict\"", "authenticated = \"strict\"")];
    for (changes, pardoned) in [(&[][..], true), (&strict[..], false)] {
        let scene = scene(changes);
        both(|family| {
            scene.touch(&scene.net.client, family, 22);
            scene.wait_ban(&scene.net.client, family, 60);
            let opened = scene.client.open("secured", family, &["--timeout", "3s"]);
            assert_eq!(opened.status.success(), pardoned, "{family}: {opened:?}");
            assert_eq!(scene.ban(&scene.net.client, family).is_none(), pardoned, "{family}");
            assert_eq!(scene.secured(family).len(), usize::from(pardoned), "{family}");
            if !pardoned {
                let source = format!("source={} ", scene.net.client.address(family));
                scene.server.wait_log(&["event=denied", &source, "reason=banned"]);
            }
        });
    }
}

#[test]
fn a_source_in_a_sequence_is_spared_where_the_bait_says_so() {
    need_namespaces!();
    let spare = [("unless = [\"secured\"]", "unless = [\"secured\", \"sequence\"]")];
    for (changes, spared) in [(&[][..], false), (&spare[..], true)] {
        let scene = scene(changes);
        let knocker = Knocker::of(&scene.client);
        both(|family| {
            let (client, server) = (&scene.net.client, &scene.net.server);
            let sender = Sender::new(client, server, family);
            let session = knocker.session("secured");
            sender.stage(&session, 0);
            let marked = || {
                let set =
                    nft::elements(server, "inet", "spa", &format!("sequence{}", family.digit()));
                set.unwrap().iter().any(|mark| mark.key == [client.address(family).to_string()])
            };
            if spared {
                assert!(wait_until(PATIENCE, marked), "{family}: the source is not marked");
            }
            scene.touch(client, family, 22);
            // A second packet behind the first: when it has run out, the bait has decided.
            assert_eq!(
                tcp(client, scene.at(family, PLAIN), Duration::from_millis(50)),
                TcpProbe::Silent
            );
            assert_eq!(scene.ban(client, family).is_none(), spared, "{family}");
            if spared {
                // The hard bait has no such exception.
                scene.touch(client, family, HARD);
                scene.wait_ban(client, family, 60_000);
            }
            sender.stages(&session, &[1, 2]);
            assert!(
                sender.ack(&session, PATIENCE).is_some(),
                "{family}: the sequence went on all the same"
            );
            assert_eq!(scene.secured(family).len(), 1, "{family}");
        });
    }
}
