//! Recorded knocks, sent again: whatever has happened to the server since, they open nothing, and a stranger who sends
//! them gets no answer.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use spa_proto::Status;
use spa_tests::capture::Sniffer;
use spa_tests::clock::Clock;
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

    /// Each family is knocked at twice: by the real client, whose session is bound to its address, and by hand with an
    /// unbound one, which nothing but the record of spent sessions can tell from a fresh one.
    fn of(capture: &str) -> Tape {
        let net = lan();
        // The longest window: the age of a recorded knock must not be what refuses it.
        let config =
            config(TTL).set("server.window-past", "\"5m\"").set("capture.mode", &format!("\"{capture}\""));
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
                let (Some(ends), Some(payload)) = (packet.ends(), packet.udp_payload()) else { continue };
                if PORTS.contains(&ends.1.port()) {
                    self.recorded.push((ends.0, ends.1, payload.to_vec()));
                }
            }
        }
        let more = self.recorded.len() - before;
        assert!(more >= 2 * PORTS.len(), "only {more} packets were recorded");
    }

    /// Sends everything again, in the client's name and from the stranger's own address; returns how many packets.
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

    /// Replays, waits until the server has looked at every packet, and checks that nothing came of it.
    fn replay_in_vain(&self, when: &str) {
        let server = &self.scene.server;
        let told = |mark: usize| {
            let lines = server.log().lines().split_off(mark);
            let opened = |line: &&String| line.contains("event=granted") || line.contains("event=renewed");
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
        ears.assert_silent(&self.net.server, Host::DEVICE);
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
        let sets = ["grant", "all", "live"].map(|set| Family::BOTH.map(|f| format!("{set}{}", f.digit())));
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

    /// Waits until the server, whose clock was set, no longer or again knows the tags of the recorded packets.
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
        self.scene.server.folder().join("state/spa.redb")
    }
}

#[test]
fn at_once_and_after_the_ttl() {
    need_namespaces!();
    for capture in ["ring", "nflog", "udp"] {
        let tape = Tape::of(capture);
        tape.replay_in_vain(&format!("{capture}: at once"));
        for family in Family::BOTH {
            let source = format!("source={} ", tape.net.stranger.address(family));
            let lines = tape.scene.server.log().lines();
            let told = lines.iter().filter(|l| l.contains("event=replay") && l.contains(&source));
            assert_eq!(
                told.count(),
                2,
                "{capture}, {family}: one line for each session, not for each packet"
            );
        }
        tape.closed();
        tape.replay_in_vain(&format!("{capture}: after the ttl"));
        tape.the_client_opens();
    }
}

#[test]
fn after_a_clean_restart() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.scene.server.restart();
    tape.replay_in_vain("with the grants still live");
    tape.closed();
    tape.scene.server.restart();
    tape.replay_in_vain("after two restarts");
    // A clean stop costs nobody anything.
    assert_eq!(tape.scene.server.status()["fence-left-s"], 0.0);
    tape.the_client_opens();
    tape.replay_in_vain("after a new knock");
}

#[test]
fn after_kill_9() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.scene.server.wait_log(&["event=unclean-stop"]);
    tape.replay_in_vain("before the fence");
    tape.closed();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after another one");
    tape.the_client_opens();
    tape.replay_in_vain("behind the fence");
}

#[test]
fn without_the_store() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.scene.server.stop();
    fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
    tape.scene.server.launch();
    tape.scene.server.wait_log(&["event=new-store"]);
    tape.replay_in_vain("before the fence");
    // The new store has seen no knock yet: that it knows nothing must outlive a crash and a clean stop.
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after a crash of the new store");
    tape.scene.server.restart();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after a clean stop and another crash");
    tape.closed();
    tape.the_client_opens();
    tape.replay_in_vain("behind the fence");

    fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
    tape.replay_in_vain("removed under the server");
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("removed under the server, which is killed then");
    tape.the_client_opens();
    tape.replay_in_vain("behind the second fence");
}

#[test]
fn with_a_corrupt_store() {
    need_namespaces!();
    let mut tape = Tape::new();
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let noise = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 0x5a).collect::<Vec<u8>>();
    type Damage<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let damages: [Damage<'_>; 4] = [
        ("empty", &|_| Vec::new()),
        ("half of it", &half),
        ("noise", &noise),
        ("a text", &|_| b"no database\n".to_vec()),
    ];
    for (name, damage) in damages {
        let status = tape.scene.server.stop();
        assert!(status.success(), "{name}: {status}");
        fs::write(tape.store(), damage(&fs::read(tape.store()).unwrap())).unwrap();
        let mark = tape.scene.server.log().mark();
        tape.scene.server.launch();
        tape.scene.server.log().wait_since(mark, &["event=store-unreadable", "corrupt-"]);
        tape.replay_in_vain(&format!("{name}: before the fence"));
        tape.scene.server.wait_fence();
        tape.replay_in_vain(&format!("{name}: behind the fence"));
        tape.the_client_opens();
    }
}

#[test]
fn with_the_clock_set_back_under_the_server() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.closed();
    tape.scene.server.set_clock_offset(-HOUR);
    tape.replay_in_vain("at once");
    tape.tags_known(false);
    tape.replay_in_vain("an hour ago");

    // A client whose clock agrees is let in, and what it sent is as worthless afterwards.
    let folder = TempDir::new();
    let clock = Clock::new(folder.path());
    clock.set_offset(-HOUR);
    let wire = Sniffer::start(&tape.net.server, Host::DEVICE);
    both(|family| {
        let mut command: Command = tape.scene.client.command("spa-client");
        command.args(["open", "ssh@server", family.switch()]);
        clock.apply(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{family}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(tape.scene.is_open(family, SSH), "{family}");
    });
    wire.catch_up(&tape.net.client, Host::DEVICE);
    tape.keep(&wire);
    tape.closed();
    tape.replay_in_vain("with the new knocks");

    tape.scene.server.set_clock_offset(0);
    tape.tags_known(true);
    tape.replay_in_vain("when the clock is right again");
    tape.the_client_opens();
}

/// What has left the window is forgotten one by one; that the client's older knocks were is not.
#[test]
fn with_the_clock_ahead_and_back_again() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.closed();
    assert!(tape.scene.server.stop().success());
    tape.scene.server.set_clock_offset(HOUR);
    tape.scene.server.launch();
    // Some rounds of housekeeping: the sessions are an hour old and go.
    assert!(wait_until(PATIENCE, || tape.scene.server.status()["up-s"].as_u64() >= Some(3)));
    tape.replay_in_vain("an hour later");
    tape.scene.server.set_clock_offset(0);
    tape.tags_known(true);
    tape.replay_in_vain("when the clock is set back");
    tape.scene.server.wait_log(&["event=replay", "reason=floor"]);
    tape.the_client_opens();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after a crash");
}

#[test]
fn with_the_clock_set_back_across_restarts() {
    need_namespaces!();
    for (crash, again) in [(false, true), (true, true), (true, false)] {
        let when = |when: &str| format!("crash {crash}, again {again}: {when}");
        let mut tape = Tape::new();
        tape.closed();
        if crash {
            tape.scene.server.kill9();
        } else {
            assert!(tape.scene.server.stop().success());
        }
        tape.scene.server.set_clock_offset(-HOUR);
        tape.scene.server.launch();
        tape.replay_in_vain(&when("an hour ago"));
        // The clock is set right between two runs, or under this one.
        tape.scene.server.set_clock_offset(0);
        if again {
            tape.scene.server.restart();
        } else {
            tape.tags_known(true);
        }
        tape.replay_in_vain(&when("now"));
        tape.the_client_opens();
        tape.replay_in_vain(&when("behind the fence"));
    }
}

/// A machine without a clock of its own and with a volatile disk: it starts in the past, knows nothing, and learns the
/// time afterwards.
#[test]
fn without_the_store_and_with_a_clock_that_is_set_later() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.closed();
    assert!(tape.scene.server.stop().success());
    fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
    tape.scene.server.set_clock_offset(-HOUR);
    tape.scene.server.launch();
    tape.replay_in_vain("an hour ago");
    tape.scene.server.wait_fence();
    tape.scene.server.set_clock_offset(0);
    tape.tags_known(true);
    tape.replay_in_vain("when the clock was set");
    tape.the_client_opens();
    tape.replay_in_vain("after a new knock");
}

/// The same, and it stops before anybody has knocked at the right time.
#[test]
fn without_the_store_and_stopped_when_the_clock_was_set() {
    need_namespaces!();
    for crash in [false, true] {
        let mut tape = Tape::new();
        tape.closed();
        assert!(tape.scene.server.stop().success());
        fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
        tape.scene.server.set_clock_offset(-HOUR);
        tape.scene.server.launch();
        tape.scene.server.set_clock_offset(0);
        tape.tags_known(true);
        if crash {
            tape.scene.server.kill9();
        } else {
            assert!(tape.scene.server.stop().success());
        }
        tape.scene.server.launch();
        tape.replay_in_vain(&format!("crash {crash}"));
        tape.the_client_opens();
        tape.replay_in_vain(&format!("crash {crash}: behind the fence"));
    }
}
