//! A soak: fifty clients knock, renew, close and repeat old knocks, while the host does to the
//! server what hosts do. An oracle of its own, by real connections and by `nft`, says what must be
//! reachable and what must not.
//!
//! `SPA_SOAK_SECONDS` is how long (default 20; `make soak`: 1200), `SPA_SOAK_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chaos;
mod oracle;
mod users;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use spa_tests::config::Config;
use spa_tests::daemon::Server;
use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::probe::EchoServer;

use chaos::{Chaos, SmallDisk};
use oracle::Oracle;
use users::{User, run_user};

/// Services, each with one port, and what becomes of its flows.
const SERVICES: [(&str, u16, &str); 3] =
    [("ssh", 22, "keep"), ("web", 80, "drop"), ("mail", 25, "keep")];
/// Longest time of a grant, in seconds.
const TTL: u32 = 8;
const CLIENTS: usize = 50;
/// Clients act on this many threads, each client always on the same one.
const THREADS: usize = 4;
/// How long it goes on unless `SPA_SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 20;

/// Configuration of the server; reloads change the limit of bans, what a stranger sees and the
/// mode.
fn config(disk: &SmallDisk, ban_limit: u32, hide: &str, mode: &str) -> Config {
    SERVICES.iter().fold(
        Config::default()
            .set("server.state", &format!("{:?}", disk.state()))
            .set("server.window-future", "\"1s\"")
            .set("ban.limit", &ban_limit.to_string())
            .set("firewall.hide", &format!("\"{hide}\""))
            .set("firewall.mode", &format!("\"{mode}\"")),
        |config, (name, port, established)| {
            config.service(
                name,
                &format!(
                    "ports = [\"tcp/{port}\"]\nttl = \"{TTL}s\"\nestablished = \"{established}\""
                ),
            )
        },
    )
}

/// xorshift64: the same numbers for the same seed.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64, stream: u64) -> Dice {
        Dice((seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1)
    }

    /// A number below this one.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn nobody_gets_in_without_a_grant_and_a_grant_lets_in() {
    need_namespaces!();
    let seconds = number("SPA_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed = number("SPA_SOAK_SEED").unwrap_or_else(|| std::process::id().into());
    println!("SPA_SOAK_SEED={seed} SPA_SOAK_SECONDS={seconds}");
    let net = lan();
    let disk = SmallDisk::mount();
    let server = Server::prepare(&net.server, &config(&disk, 1000, "drop", "guard")).with_clock();
    let _doors = SERVICES.map(|(_, port, _)| EchoServer::start(&net.server, port));
    let users: Vec<User> = (0..CLIENTS).map(|at| User::new(&net, &server, at)).collect();
    let oracle = Oracle::new(CLIENTS);
    let mut chaos = Chaos::start(server, &disk, &net, &oracle, Dice::new(seed, 99));
    let over = AtomicBool::new(false);
    let done = thread::scope(|scope| {
        let (oracle, over, net) = (&oracle, &over, &net);
        let mut threads = Vec::new();
        for (at, users) in users.chunks(CLIENTS.div_ceil(THREADS)).enumerate() {
            let mut dice = Dice::new(seed, at as u64);
            threads.push(scope.spawn(move || {
                let mut turns = 0;
                while !over.load(Ordering::Relaxed) {
                    run_user(dice.clone().pick(users), oracle, net, &mut dice);
                    turns += 1;
                }
                turns
            }));
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        let chaos = catch_unwind(AssertUnwindSafe(|| {
            while Instant::now() < end && !threads.iter().any(thread::ScopedJoinHandle::is_finished)
            {
                chaos.disturb();
            }
        }));
        over.store(true, Ordering::Relaxed);
        let turns = threads.into_iter().map(|thread| match thread.join() {
            Ok(turns) => turns,
            Err(panic) => resume_unwind(panic),
        });
        let turns: u64 = turns.sum();
        chaos.unwrap_or_else(|panic| resume_unwind(panic));
        turns
    });
    println!("{done} turns of clients; {}", oracle.summary());
    chaos.assert_bounded(done);
    // In peace: what the server counts, what it has recorded and what clients were told agree.
    let told = chaos.count_in_peace(&users);
    println!("in peace: {told} grants told, counted and recorded");
    oracle.assert_seen(done);
}
