//! Recorded knocks, sent again: whatever has happened to the server since, they open nothing, and a
//! stranger who sends them gets at most the sealed answer to a last stage.

mod clock;
mod lost;
mod restart;
mod restored;
mod second_server;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use spa_proto::{ACK_LEN, Status};
use spa_tests::capture::Sniffer;
use spa_tests::clock::Clock;
use spa_tests::daemon::{Client, binary};
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::nft::Element;
use spa_tests::probe::TcpProbe;
use spa_tests::raw::Forger;
use spa_tests::scene::{PATIENCE, SSH, Scene, both, config};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces, nft, wait_until};

const TTL: u32 = 2;
const HOUR: i64 = 3600;
/// Ports of the stages in the harness's configuration.
const PORTS: [u16; 3] = [40001, 40002, 40003];

/// One stage packet as it went by.
type Recorded = (SocketAddr, SocketAddr, Vec<u8>);

/// A server that has let its client in, and somebody who has recorded how.
struct Tape {
    scene: Scene,
    net: Lan,
    recorded: Vec<Recorded>,
}

impl Tape {
    /// Everything with the harness's configuration, under a clock that can be set.
    fn new() -> Tape {
        Tape::of("ring")
    }

    /// Each family is knocked at twice: by the real client, whose session is bound to its address,
    /// and by hand with an unbound one, which nothing but the record of spent sessions can tell
    /// from a fresh one.
    fn of(capture: &str) -> Tape {
        let net = lan();
        // The longest window: the age of a recorded knock must not be what refuses it.
        let config = config(TTL)
            .set("server.window-past", "\"5m\"")
            .set("capture.mode", &format!("\"{capture}\""));
        let scene = Scene::aged(&net.server, &net.client, &config, &["ssh"]);
        let mut tape = Tape { scene, net, recorded: Vec::new() };
        tape.record();
        tape
    }

    /// Knocks and adds what passes on the wire.
    fn record(&mut self) {
        let wire = Sniffer::start(&self.net.server, Host::DEVICE);
        let knocker = Knocker::of(&self.scene.client);
        both(|family| {
            self.scene.client.must_open("ssh", family, &[]);
            let sender = Sender::new(&self.net.client, &self.net.server, family);
            let session = knocker.session("ssh");
            sender.all(&session);
            let ack = sender.ack(&session, PATIENCE);
            assert_eq!(ack.map(|ack| ack.status), Some(Status::Granted), "{family}");
        });
        wire.catch_up(&self.net.client, Host::DEVICE);
        self.keep(&wire);
    }

    /// Keeps the stage packets that were seen.
    fn keep(&mut self, wire: &Sniffer) {
        let before = self.recorded.len();
        for family in Family::BOTH {
            for packet in wire.sent_by(self.net.client.address(family)) {
                let (Some(ends), Some(payload)) = (packet.ends(), packet.udp_payload()) else {
                    continue;
                };
                if PORTS.contains(&ends.1.port()) {
                    self.recorded.push((ends.0, ends.1, payload.to_vec()));
                }
            }
        }
        let more = self.recorded.len() - before;
        assert!(more >= 2 * PORTS.len(), "only {more} packets were recorded");
    }

    /// Sends everything again, in the client's name and from the stranger's own address; returns
    /// how many packets.
    fn replay(&self) -> u64 {
        let forger = Forger::new(&self.net.stranger);
        let strangers = Family::BOTH.map(|f| Sender::new(&self.net.stranger, &self.net.server, f));
        for (source, target, payload) in &self.recorded {
            forger.udp(*source, *target, payload);
        }
        for (source, target, payload) in &self.recorded {
            let stranger = strangers.iter().find(|s| s.source().is_ipv4() == source.is_ipv4());
            stranger.expect("a sender for the family").send(target.port(), payload);
        }
        2 * self.recorded.len() as u64
    }

    /// Replays, waits until the server has looked at every packet, and checks that nothing came of
    /// it.
    fn replay_in_vain(&self, when: &str) {
        let server = &self.scene.server;
        let told = |mark: usize| {
            let lines = server.log().lines().split_off(mark);
            let opened =
                |line: &&String| line.contains("event=granted") || line.contains("event=renewed");
            lines.iter().filter(opened).cloned().collect::<Vec<_>>()
        };
        let (mark, before) = (server.log().mark(), self.elements());
        let ears = Sniffer::start(&self.net.stranger, Host::DEVICE);
        let (seen, sent) = (self.seen(), self.replay());
        let all = wait_until(PATIENCE, || self.seen() >= seen + sent);
        assert!(all, "{when}: the server has seen {} of {sent} packets", self.seen() - seen);

        assert_eq!(told(mark), Vec::<String>::new(), "{when}");
        let after = self.elements();
        for (set, element) in &after {
            let old = before.iter().find(|(name, old)| name == set && old.key == element.key);
            let Some((_, old)) = old else { panic!("{when}: {set} has got {element:?}") };
            assert!(old.expires >= element.expires, "{when}: {set}: {old:?} became {element:?}");
        }
        ears.catch_up(&self.net.server, Host::DEVICE);
        for family in Family::BOTH {
            for packet in ears.sent_by(self.net.server.address(family)) {
                let answer = packet.udp_payload().is_some_and(|bytes| bytes.len() == ACK_LEN);
                assert!(answer, "{when}: {packet:?}");
            }
        }
        both(|family| {
            let stranger = self.scene.seen(&self.net.stranger, family, SSH);
            assert_eq!(stranger, TcpProbe::Silent, "{when}, {family}");
            if before.is_empty() {
                assert!(self.scene.is_hidden(family, SSH), "{when}, {family}");
            }
        });
    }

    /// The elements of every set that lets somebody in.
    fn elements(&self) -> Vec<(String, Element)> {
        let sets =
            ["grant", "all", "live"].map(|set| Family::BOTH.map(|f| format!("{set}{}", f.digit())));
        let of = |set: String| {
            let elements = nft::elements(&self.net.server, "inet", "spa", &set);
            let elements = elements.unwrap_or_else(|| panic!("there is no set {set}"));
            elements.into_iter().map(move |element| (set.clone(), element))
        };
        sets.into_iter().flatten().flat_map(of).collect()
    }

    fn closed(&self) {
        assert!(wait_until(PATIENCE, || self.elements().is_empty()), "never closes");
    }

    fn seen(&self) -> u64 {
        self.scene.server.status()["packets"]["all"].as_u64().unwrap()
    }

    fn strangers(&self) -> u64 {
        self.scene.server.status()["packets"]["strangers"].as_u64().unwrap()
    }

    /// Waits until the server, whose clock was set, no longer or again knows the tags of the
    /// recorded packets.
    fn tags_known(&self, known: bool) {
        let forger = Forger::new(&self.net.stranger);
        let (source, target, payload) = &self.recorded[0];
        let right = wait_until(PATIENCE, || {
            let (all, strangers) = (self.seen(), self.strangers());
            forger.udp(*source, *target, payload);
            assert!(wait_until(PATIENCE, || self.seen() > all));
            (self.strangers() == strangers) == known
        });
        assert!(right, "the tag tables do not follow the clock");
    }

    /// The client itself gets in, over both families, and the door closes behind it.
    fn the_client_opens(&self) {
        both(|family| {
            self.scene.client.must_open("ssh", family, &[]);
            assert!(self.scene.is_open(family, SSH), "{family}");
        });
        self.closed();
    }

    fn store(&self) -> PathBuf {
        self.scene.server.folder().join("state/spa.store")
    }
}
