//! Listener, its writing thread and broker are killed at every system call of a knock: at every
//! arrow of its way.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use spa_proto::{Ack, Request, Session};
use spa_tests::knocker::now_ms;
use spa_tests::netns::{Lan, lan};
use spa_tests::raw::Forger;
use spa_tests::scene::{Scene, config};
use spa_tests::{need_namespaces, trace, wait_until};

use super::*;

const TTL: u64 = 60;

#[derive(Clone, Copy, Debug)]
enum Victim {
    /// Parses, decides, answers.
    Listener,
    /// The listener's thread that makes knocks durable.
    Store,
    /// Changes the firewall.
    Broker,
}

/// A server whose store is clean and old, so that a start refuses nobody and each knock has to be
/// made durable. One write covers every knock up to the next ten seconds, also those behind a
/// restart: so before each knock the store is that one.
struct Site {
    scene: Scene,
    knocker: Knocker,
    sender: Sender,
    family: Family,
    victim: Victim,
    /// Knocks so far: every second one is bound to its source, and opens for the ttl at once.
    knocks: usize,
    net: Lan,
}

impl Site {
    fn new(victim: Victim, family: Family) -> Site {
        let net = lan();
        // The age of a recorded knock must not be what refuses it.
        let config = config(60)
            .set("server.window-past", "\"5m\"")
            // The shortest fence: an old store is put back before each crash.
            .set("server.window-future", "\"0s\"");
        let mut scene = Scene::aged(&net.server, &net.client, &config, &["ssh"]);
        assert!(scene.server.stop().success());
        copy(&scene.server.folder().join("state"), &scene.server.folder().join("clean"));
        scene.server.launch();
        let knocker = Knocker::of(&scene.client);
        let sender = Sender::new(&net.client, &net.server, family);
        Site { scene, knocker, sender, family, victim, knocks: 0, net }
    }

    fn thread(&mut self) -> u32 {
        let daemon = self.scene.server.daemon();
        let listener = daemon.listener();
        let name =
            |tid: &u32| fs::read_to_string(format!("/proc/{listener}/task/{tid}/comm")).unwrap();
        match self.victim {
            Victim::Broker => daemon.pid(),
            Victim::Listener => listener,
            Victim::Store => {
                let tasks = fs::read_dir(format!("/proc/{listener}/task")).unwrap();
                let mut tasks =
                    tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap());
                tasks.find(|tid| name(tid).trim() == "store").expect("a thread that writes")
            }
        }
    }

    /// Knocks, and kills before the call of this number. Returns the knock, its ack if one came,
    /// how many calls there were, and when it was made.
    fn knock(&mut self, at: Option<u64>) -> (Session, Option<Ack>, u64, u64) {
        let thread = self.thread();
        let made = now_ms();
        self.knocks += 1;
        let bind_src = self.knocks.is_multiple_of(2).then(|| self.sender.source());
        let session = self.knocker.session_with("ssh", |request| Request { bind_src, ..request });
        let over = AtomicBool::new(false);
        let (sender, over, sent) = (&self.sender, &over, &session);
        let (ack, calls) = thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let tracer =
                scope.spawn(move || trace::calls(thread, at, over, move || tell.send(()).unwrap()));
            told.recv().unwrap();
            sender.all(sent);
            let mut ack = None;
            let end = || tracer.is_finished();
            let answered = wait_until(PATIENCE, || {
                ack = sender.ack(sent, GLANCE);
                ack.is_some() || end()
            });
            over.store(true, Ordering::Relaxed);
            assert!(answered, "neither an ack nor a crash");
            let calls = tracer.join().unwrap();
            (ack.or_else(|| sender.ack(sent, GLANCE)), calls)
        });
        (session, ack, calls, made)
    }

    /// Crashes there; false when the knock was over before.
    fn crash(&mut self, at: u64, last: bool) -> bool {
        let what = format!("{:?}, {}, call {at}", self.victim, self.family);
        let host = &self.net.server.clone();
        let mark = self.scene.server.log().mark();
        let (session, ack, calls, made) = self.knock(Some(at));
        if calls < at {
            self.anew(&what);
            return false;
        }
        let _ended = self.scene.server.take().wait();
        // Closed, or closing by the kernel's own timer.
        let left = grants(host, self.family);
        assert!(left.len() <= 1 && left.iter().all(|g| g.expires <= Some(TTL)), "{what}: {left:?}");
        if ack.is_some_and(|ack| ack.status == Status::Granted) {
            assert_eq!(left.len(), 1, "{what}: the client was told that it is open");
        }
        let stranger = || tcp(&self.net.stranger, host.at(self.family, SSH), GLANCE);
        assert_eq!(stranger(), TcpProbe::Silent, "{what}");

        self.scene.server.launch();
        // Behind what was durable nothing was accepted, so that such a packet is only a late one.
        // It may open once.
        let told = self.scene.server.log().wait_since(mark, &["event=unclean-stop"]);
        let durable = told.split("refused-until=").nth(1).and_then(|rest| rest.split(' ').next());
        let durable: u64 = durable.unwrap().parse().unwrap_or_else(|_| panic!("{told}"));
        if made > durable {
            assert!(left.is_empty() && ack.is_none(), "{what}: opened by what was not durable");
            self.sender.all(&session);
            let _late = wait_until(GLANCE * 10, || !grants(host, self.family).is_empty());
            if !grants(host, self.family).is_empty() {
                let bound = self.knocks.is_multiple_of(2);
                let event = if bound { "event=granted" } else { "event=provisional" };
                self.scene.server.log().wait_since(mark, &[event, "client=laptop"]);
            }
        }
        let mark = self.scene.server.log().mark();
        self.replay_in_vain(&session, mark, &what);
        assert_eq!(stranger(), TcpProbe::Silent, "{what}, after the start");
        if last {
            self.scene.server.wait_fence();
            self.replay_in_vain(&session, mark, &format!("{what}, behind the fence"));
            self.scene.client.must_open("ssh", self.family, &[]);
            assert!(self.scene.is_open(self.family, SSH), "{what}");
            return true;
        }
        assert_eq!(Control::new(&self.scene.server).ask("status")["ok"], true, "{what}");
        self.anew(&what);
        true
    }

    /// Nothing is open, and the store is the clean one again.
    fn anew(&mut self, what: &str) {
        assert!(self.scene.server.control(&["close", "--all"]).status.success(), "{what}");
        assert!(self.scene.server.stop().success(), "{what}");
        let state = self.scene.server.folder().join("state");
        fs::remove_dir_all(&state).unwrap();
        copy(&self.scene.server.folder().join("clean"), &state);
        self.scene.server.launch();
        // Put back, it is trusted no more.
        self.scene.server.wait_fence();
    }

    /// Sends the recorded packets again, in the client's name and in a stranger's.
    fn replay_in_vain(&self, session: &Session, mark: usize, what: &str) {
        let seen = || self.scene.server.status()["packets"]["all"].as_u64().unwrap();
        let (host, before) = (&self.net.server, seen());
        let elements = grants(host, self.family);
        let forger = Forger::new(&self.net.stranger);
        let client = (self.net.client.address(self.family), 9).into();
        let stranger = Sender::new(&self.net.stranger, host, self.family);
        for (port, packet) in session.packets() {
            forger.udp(client, host.at(self.family, *port), packet);
            stranger.send(*port, packet);
        }
        let sent = 2 * session.packets().len() as u64;
        assert!(
            wait_until(PATIENCE, || seen() >= before + sent),
            "{what}: the replay was not looked at"
        );
        let after = grants(host, self.family);
        for element in &after {
            let old = elements.iter().find(|old| old.key == element.key);
            let old = old.unwrap_or_else(|| panic!("{what}: the replay opened {element:?}"));
            assert!(old.expires >= element.expires, "{what}: the replay renewed {element:?}");
        }
        let lines = self.scene.server.log().lines().split_off(mark);
        let opened = |line: &&String| {
            ["granted", "renewed", "provisional"]
                .iter()
                .any(|event| line.contains(&format!("event={event} ")))
        };
        assert_eq!(lines.iter().find(opened), None, "{what}");
    }
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success(), "cp {} {}", from.display(), to.display());
}

/// Knocks in a row that take fewer calls than the one to be ended at, until the knock is over.
const MISSES: u32 = 3;

/// Every so many calls, over each family at others.
fn every_arrow(victim: Victim, step: usize) {
    thread::scope(|scope| {
        for (family, offset) in Family::BOTH.into_iter().zip([1, 1 + step as u64 / 2]) {
            scope.spawn(move || {
                let mut site = Site::new(victim, family);
                let (_, ack, calls, _) = site.knock(None);
                assert_eq!(ack.map(|ack| ack.status), Some(Status::Granted), "{victim:?} {family}");
                site.anew("the first knock");
                // How many calls a knock takes is not always the same: over when it has taken fewer
                // some times in a row.
                let (mut missed, mut points) = (0, 0);
                for at in (offset..).step_by(step) {
                    let hit = site.crash(at, false);
                    points += u32::from(hit);
                    missed = if hit { 0 } else { missed + 1 };
                    if missed == MISSES {
                        break;
                    }
                }
                assert!(points > 1, "{victim:?} {family}: {points}, {calls} calls");
                // Somewhere in the middle, and now as long as it takes until knocks count again.
                let hit = (2..=calls / 2).rev().step_by(3).any(|at| site.crash(at, true));
                assert!(hit, "{victim:?} {family}");
                eprintln!("{victim:?}, {family}: killed at {points} of {calls} calls");
            });
        }
    });
}

#[test]
fn the_listener_is_killed_at_every_arrow() {
    need_namespaces!();
    every_arrow(Victim::Listener, 2);
}

#[test]
fn the_listener_is_killed_while_it_writes() {
    need_namespaces!();
    every_arrow(Victim::Store, 4);
}

#[test]
fn the_broker_is_killed_at_every_arrow() {
    need_namespaces!();
    every_arrow(Victim::Broker, 2);
}
