//! What the host does to the server, at random.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use spa_proto::{Op, Status};
use spa_tests::daemon::Server;
use spa_tests::netns::{Host, Lan};
use spa_tests::temp::TempDir;
use spa_tests::{Family, nft, wait_until};

use super::oracle::{Harm, Oracle};
use super::users::User;
use super::{Dice, config};

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest rest between two disturbances, in milliseconds.
const REST: u64 = 900;
/// Disturbances before memory, files and threads are measured for the first time.
const WARM: u32 = 8;
/// Knocks in peace at the end, of different clients.
const IN_PEACE: usize = 20;
const HOUR: i64 = 3600;

/// What the processes hold.
#[derive(Clone, Copy, Debug)]
struct Size {
    memory_kib: u64,
    files: usize,
    threads: usize,
}

/// The server, and who disturbs it.
pub(crate) struct Chaos<'a> {
    server: Server,
    disk: &'a SmallDisk,
    net: &'a Lan,
    oracle: &'a Oracle,
    dice: Dice,
    count: u32,
    warm: Option<Size>,
}

/// A file system of its own for the state, which can be filled. It outlives each server, as a disk
/// does.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn mount() -> Self {
        let disk = SmallDisk(TempDir::new());
        let options = ["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"];
        assert!(Command::new("mount").args(options).arg(disk.0.path()).status().unwrap().success());
        disk
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

impl<'a> Chaos<'a> {
    pub(crate) fn start(
        mut server: Server,
        disk: &'a SmallDisk,
        net: &'a Lan,
        oracle: &'a Oracle,
        dice: Dice,
    ) -> Self {
        server.launch();
        server.wait_fence();
        Chaos { server, disk, net, oracle, dice, count: 0, warm: None }
    }

    /// Rests, does one thing, and lets the server recover.
    pub(crate) fn disturb(&mut self) {
        thread::sleep(Duration::from_millis(self.dice.below(REST)));
        let oracle = self.oracle;
        let name = match self.dice.below(10) {
            0 => {
                self.control(&["reload"]);
                "reload"
            }
            1 => oracle.disturb(Harm::Deaf, || self.change()),
            2 => oracle.disturb(Harm::Deaf, || self.crash()),
            3 => oracle.disturb(Harm::Deaf, || {
                assert!(self.server.stop().success());
                self.server.launch();
                "restart"
            }),
            4 => oracle.disturb(Harm::Bare, || self.flush()),
            5 => oracle.disturb(Harm::Deaf, || self.fill_disk()),
            6 => oracle.disturb(Harm::Deaf, || self.try_change()),
            7 => oracle.disturb(Harm::Deaf, || self.move_clock()),
            8 => oracle.disturb(Harm::Deaf, || self.cut_link()),
            _ => "nothing",
        };
        self.count += 1;
        assert_eq!(self.server.status()["version"], 1, "after {name}");
        self.assert_all_in_the_kernel_is_known(name);
        let size = self.measure();
        if self.count == WARM {
            self.warm = Some(size);
        }
    }

    fn control(&self, arguments: &[&str]) -> String {
        let output = self.server.control(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn another_config(&mut self) -> spa_tests::config::Config {
        let hide = *self.dice.pick(&["drop", "closed"]);
        let mode = *self.dice.pick(&["guard", "standalone"]);
        config(self.disk, 500 + self.dice.below(500) as u32, hide, mode)
    }

    fn change(&mut self) -> &'static str {
        let config = self.another_config();
        self.server.configure(&config);
        self.control(&["reload"]);
        "reload of another configuration"
    }

    fn crash(&mut self) -> &'static str {
        let daemon = self.server.daemon();
        let victim = *self.dice.pick(&[daemon.pid(), daemon.listener()]);
        kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL).unwrap();
        let _ended = self.server.take().wait();
        self.server.launch();
        self.server.wait_fence();
        "kill"
    }

    fn flush(&mut self) -> &'static str {
        nft::load(&self.net.server, "flush ruleset");
        let back = || nft::table_exists(&self.net.server, "inet", "spa");
        assert!(wait_until(PATIENCE, back), "the table does not come back");
        // The elements follow the rules.
        assert_eq!(self.server.status()["version"], 1);
        "flush"
    }

    fn fill_disk(&mut self) -> &'static str {
        let mut ballast = File::create(self.disk.ballast()).unwrap();
        let full = io::copy(&mut io::repeat(0), &mut ballast).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        thread::sleep(Duration::from_millis(self.dice.below(REST)));
        fs::remove_file(self.disk.ballast()).unwrap();
        "full disk"
    }

    fn try_change(&mut self) -> &'static str {
        let config = self.another_config();
        self.server.configure(&config);
        self.control(&["try", "--for", "60s"]);
        if self.dice.below(2) == 0 {
            self.control(&["confirm"]);
        } else {
            self.control(&["try", "--cancel"]);
        }
        "trial"
    }

    fn move_clock(&mut self) -> &'static str {
        let hour = *self.dice.pick(&[HOUR, -HOUR]);
        self.server.set_clock_offset(hour);
        thread::sleep(Duration::from_millis(self.dice.below(REST)));
        self.server.set_clock_offset(0);
        self.server.wait_fence();
        "clock"
    }

    fn cut_link(&mut self) -> &'static str {
        let device = Host::DEVICE;
        self.net.server.ip(&[&format!("link set {device} down")]);
        self.net.server.ip(&[&format!("link set {device} up")]);
        let [v4, v6] = Family::BOTH.map(|family| self.net.server.address(family));
        self.net.server.ip(&[
            &format!("address replace {v4}/24 dev {device}"),
            &format!("-6 address replace {v6}/64 dev {device} nodad"),
            &format!("route replace default dev {device}"),
            &format!("-6 route replace default dev {device}"),
        ]);
        for other in [&self.net.client, &self.net.stranger] {
            other.ip(&[&format!("neigh flush dev {device}")]);
        }
        let status = self.server.status()["packets"]["all"].clone();
        assert!(status.is_number(), "{status}");
        "link"
    }

    /// No element of the kernel's is there that no client has asked for.
    fn assert_all_in_the_kernel_is_known(&self, after: &str) {
        let known = self.control(&["grants", "--json"]);
        let known: Value = serde_json::from_str(&known).unwrap();
        let sources: Vec<&str> = known["grants"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|g| g["source"].as_str())
            .collect();
        for family in Family::BOTH {
            let set = format!("grant{}", family.digit());
            for element in nft::elements(&self.net.server, "inet", "spa", &set).unwrap_or_default()
            {
                // Opened between the two looks: younger than they are apart.
                let young = element
                    .timeout
                    .zip(element.expires)
                    .is_some_and(|(all, left)| all.saturating_sub(left) <= 1);
                assert!(
                    young || sources.contains(&element.key[0].as_str()),
                    "after {after}: {element:?} is none of {sources:?}"
                );
            }
        }
    }

    fn measure(&mut self) -> Size {
        let daemon = self.server.daemon();
        let mut size = Size { memory_kib: 0, files: 0, threads: 0 };
        for pid in [daemon.pid(), daemon.listener()] {
            let proc = Path::new("/proc").join(pid.to_string());
            let status = fs::read_to_string(proc.join("status")).unwrap();
            let number = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
            };
            size.memory_kib += number("VmRSS:");
            size.threads += number("Threads:") as usize;
            size.files += fs::read_dir(proc.join("fd")).unwrap().count();
        }
        size
    }

    /// Memory, files, threads and log have not grown with time.
    pub(crate) fn assert_bounded(&mut self, turns: u64) {
        let lines = self.server.log().lines().len() as u64;
        let end = self.measure();
        println!("{} disturbances, {lines} lines of log, {:?} to {end:?}", self.count, self.warm);
        // A start says some ten lines, each turn of a client a handful.
        assert!(lines < 8 * turns + 60 * u64::from(self.count), "{lines} lines for {turns} turns");
        if let Some(warm) = self.warm {
            assert!(end.memory_kib < 2 * warm.memory_kib, "{warm:?}, then {end:?}");
            assert!(end.files <= warm.files + 8, "{warm:?}, then {end:?}");
            // Reloads leave threads behind that end after ten seconds without work.
            assert!(end.threads <= 40, "{warm:?}, then {end:?}");
        }
    }

    /// Undisturbed knocks: told to the client, counted in the figures, and in the audit record, the
    /// same number of times.
    pub(crate) fn count_in_peace(&mut self, users: &[User]) -> u64 {
        self.server.wait_fence();
        self.control(&["close", "--all"]);
        let counted = |server: &Server| server.status()["knocks"]["granted"].as_u64().unwrap();
        let recorded = |chaos: &Self| {
            let text = chaos.control(&["audit", "--json", "--limit", "0"]);
            let all: Value = serde_json::from_str(&text).unwrap();
            all["entries"].as_array().unwrap_or_else(|| panic!("{all}")).len() as u64
        };
        let (before, written) = (counted(&self.server), recorded(self));
        let begun = Instant::now();
        let told = users.iter().take(IN_PEACE).filter(|user| {
            let service = user.services()[0];
            let (ack, _) = user.ask(service, Op::Open, true);
            ack.is_some_and(|ack| ack.status == Status::Granted)
        });
        let told = told.count() as u64;
        assert_eq!(told, IN_PEACE as u64, "in {:?}", begun.elapsed());
        assert_eq!(counted(&self.server) - before, told);
        let agree = || recorded(self) - written == told;
        assert!(wait_until(PATIENCE, agree), "{} of {told} recorded", recorded(self) - written);
        told
    }
}
