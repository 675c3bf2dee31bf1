//! An attacker's hour: each attack goes on for a while, and a second client behind an address
//! translator knocks once a second all the while and is let in every time.
//!
//! `SPA_ATTACK_SECONDS` is how long each attack lasts (default 3); `make attack` runs an optimised
//! build for longer, and `make bench` as well. It prints how much longer a knock takes than without
//! an attack.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use spa_tests::daemon::Client;
use spa_tests::knocker::Knocker;
use spa_tests::netns::{Routed, routed};
use spa_tests::probe::{TcpProbe, tcp};
use spa_tests::scene::{SILENCE, SSH, Scene, config};
use spa_tests::tap::translate;
use spa_tests::{Family, need_namespaces, wait_until};

/// Between two knocks of the second client.
const EVERY: Duration = Duration::from_secs(1);
/// A flood that is always tried, in packets per second.
const MODEST: u64 = 1000;
/// More than this no attack sends, in packets per second.
const MOST: u64 = 100_000;
/// Seconds of an attack unless `SPA_ATTACK_SECONDS` says otherwise.
const SECONDS: u64 = 3;
/// A bait of the server.
const BAIT: u16 = 23;

/// What the attacker attacks.
struct Site {
    scene: Scene,
    /// The client that is to be held up.
    phone: Client,
    /// The keys of another client, which the attacker has.
    stolen: Knocker,
    net: Routed,
    /// Attackers end when this is set.
    over: AtomicBool,
    /// Packets that they have sent.
    sent: AtomicU64,
}

impl Site {
    fn new() -> Site {
        let net = routed();
        translate(&net);
        let config = config(60)
            .service("cut", "ports = [\"tcp/25\"]\nttl = \"60s\"\nestablished = \"drop\"")
            .bait("trap", &format!("ports = [\"tcp/{BAIT}\"]\nban = \"1m\""));
        let all = ["ssh", "web", "cut"];
        let (scene, mut more) = Scene::crowd(&net.server, &net.client, &config, &all, &["phone"]);
        scene.server.wait_fence();
        let stolen = Knocker::of(&scene.client);
        let phone = more.remove(0);
        let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        Site { scene, phone, stolen, net, over, sent }
    }

    /// Sends at this many packets per second, in bursts of what is due, until the attack is over.
    fn flood(&self, rate: u64, mut send: impl FnMut(u64)) {
        const SLICE: Duration = Duration::from_millis(1);
        let begun = Instant::now();
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
            // What was missed while the processor was elsewhere is not made up for at once.
            number = number.max(due.saturating_sub(rate / 10));
            while number < due {
                send(number);
                number += 1;
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(SLICE);
        }
    }

    /// Lets the attacker work while the second client knocks. Returns how long the knocks took.
    fn hold_out(&self, attack: &(dyn Fn(&Site) + Sync), seconds: u64) -> Vec<Duration> {
        self.over.store(false, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        thread::scope(|scope| {
            scope.spawn(|| attack(self));
            let knocks = catch_unwind(AssertUnwindSafe(|| {
                let begun = Instant::now();
                let mut times = Vec::new();
                for number in 0..u32::try_from(seconds).unwrap() {
                    thread::sleep((EVERY * number).saturating_sub(begun.elapsed()));
                    times.push(self.knock(Family::BOTH[usize::from(number % 2 == 1)]));
                }
                times
            }));
            self.over.store(true, Ordering::Relaxed);
            knocks.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// The second client opens what was closed, and reaches it.
    fn knock(&self, family: Family) -> Duration {
        let _closed = self.scene.server.control(&["close", "--client", "phone"]);
        let begun = Instant::now();
        self.phone.must_open("ssh", family, &[]);
        begun.elapsed()
    }

    /// What nobody has opened for the attacker is shut for him.
    fn assert_hidden(&self, attack: &str) {
        // A door that a copy was let in by lasts ten seconds at most.
        for family in Family::BOTH {
            let shut = || {
                let target = self.net.server.at(family, SSH);
                tcp(&self.net.stranger, target, SILENCE) == TcpProbe::Silent
            };
            assert!(wait_until(Duration::from_secs(15), shut), "{attack}, {family}");
        }
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[test]
fn a_second_client_is_let_in_under_every_attack() {
    need_namespaces!();
    let seconds = std::env::var("SPA_ATTACK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let site = Site::new();
    let quiet = median(&site.hold_out(&|_| (), seconds.max(6)));
    let capacity = attacks::measure_capacity(&site);
    let half = (capacity / 2).clamp(MODEST, MOST);
    println!("{capacity} packets per second are read; half of that is {half}");
    println!("| attack | packets per second | let in | median ms | times quiet |");
    println!("|---|---|---|---|---|\n| none | 0 | | {:.1} | 1.00 |", millis(quiet));
    for (name, attack) in attacks::all(half) {
        let begun = Instant::now();
        let times = site.hold_out(&*attack, seconds);
        let rate = site.sent.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        let (count, median) = (times.len(), median(&times));
        let ratio = median.as_secs_f64() / quiet.as_secs_f64();
        let ms = millis(median);
        println!("| {name} | {rate:.0} | {count} of {seconds} | {ms:.1} | {ratio:.2} |");
        site.assert_hidden(name);
    }
}
