//! Network namespaces for tests: a thread is enough, since sockets and children that it makes
//! live in the thread's namespace. It ends with the thread; nothing is left to clean up.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod net;

use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use spa_server::domain::grant::{Grant, GrantId, Scope};
use spa_server::firewall::nftables::Nftables;
use spa_server::firewall::{Bait, Firewall, LiveGrant, Rules};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread that lives in it.
pub struct Host {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    tid: i32,
}

impl Host {
    pub fn new() -> Self {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
                .expect("this test needs root: a network namespace of its own");
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            inbox.into_iter().for_each(|job| job());
        });
        let tid = told.recv().expect("the namespace's thread did not start; is this root?");
        let host = Self { jobs: Some(jobs), thread: Some(thread), tid };
        host.run(|| {
            sh("ip link set lo up");
            // Refusals are counted here, and the kernel sends few per second to one peer.
            sh("echo 0 > /proc/sys/net/ipv4/icmp_ratelimit; echo 0 > \
                /proc/sys/net/ipv6/icmp/ratelimit");
        });
        host
    }

    /// The thread that lives in it.
    pub fn tid(&self) -> i32 {
        self.tid
    }

    /// Runs in the namespace.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            let _ = tell.send(result);
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        match told.recv().unwrap() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// A cable between the two: `near` here, `far` there, 10.9.`net`.1 and fd09:`net`::1 here, .2
    /// and ::2 there.
    pub fn cable(&self, other: &Host, net: u8) {
        let tid = other.tid;
        self.run(move || {
            sh(&format!("ip link add near{net} type veth peer name far{net} netns {tid}"))
        });
        for (host, side, name) in [(self, 1, "near"), (other, 2, "far")] {
            host.run(move || {
                sh(&format!("ip addr add 10.9.{net}.{side}/24 dev {name}{net}"));
                sh(&format!("ip -6 addr add fd09:{net}::{side}/64 dev {name}{net} nodad"));
                sh(&format!("ip link set {name}{net} up"));
            });
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs in a namespace of its own.
pub fn alone<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    Host::new().run(job)
}

/// Runs a command line and returns what it says; panics when it fails.
pub fn sh(line: &str) -> String {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Loads a ruleset text.
pub fn load(text: &str) {
    use std::io::Write;
    let mut child =
        Command::new("nft").args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "nft refused:\n{text}");
}

/// Our table as nft sees it, one object a line, without handles and running numbers.
pub fn listing() -> Vec<String> {
    let mut value: serde_json::Value =
        serde_json::from_str(&sh("nft -j list table inet spa")).unwrap();
    strip(&mut value);
    value["nftables"].as_array().unwrap().iter().map(ToString::to_string).collect()
}

/// Panics at the first line that differs.
pub fn same(left: &[String], right: &[String], about: &str) {
    for (l, r) in left.iter().zip(right) {
        assert_eq!(l, r, "{about}");
    }
    assert_eq!(left.len(), right.len(), "{about}");
}

fn strip(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for key in ["handle", "metainfo", "expires"] {
                map.remove(key);
            }
            for key in ["packets", "bytes"] {
                if let Some(number) = map.get_mut(key) {
                    *number = 0.into();
                }
            }
            map.values_mut().for_each(strip);
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(strip),
        _ => (),
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A grant of alice's; `ports` as in the configuration, `all` for everything.
pub fn grant(id: u64, source: &str, ports: &str, ttl: u64) -> Grant {
    let scope = if ports == "all" {
        Scope::All
    } else {
        Scope::Ports(ports.split(',').map(|p| p.parse().unwrap()).collect())
    };
    Grant {
        id: GrantId(id),
        client: "alice".into(),
        service: "ssh".into(),
        source: ip(source),
        prefix: spa_server::domain::grant::alone(ip(source)),
        scope,
        ttl: Duration::from_secs(ttl),
    }
}

pub fn bait(name: &str, ports: &str, ban: u64) -> Bait {
    Bait {
        name: name.into(),
        ports: ports.split(',').map(|p| p.parse().unwrap()).collect(),
        ban: Duration::from_secs(ban),
        unless_secured: false,
        unless_in_sequence: false,
    }
}

/// ssh and a service on UDP protected, three knock ports.
pub fn rules() -> Rules {
    Rules {
        protected: vec!["tcp/22".parse().unwrap(), "udp/5000-5010".parse().unwrap()],
        knock: vec!["41001".parse().unwrap(), "42002-42003".parse().unwrap()],
        bait_nflog: 7,
        ban_limit: 1000,
        ..Rules::default()
    }
}

pub fn installed(rules: &Rules) -> Nftables {
    let mut firewall = Nftables::new().unwrap();
    firewall.install(rules).unwrap();
    firewall
}

/// Elements of a set as `nft -j` lists them: value, timeout, expires, comment.
pub fn elements(set: &str) -> Vec<(String, u64, u64, String)> {
    let text = sh(&format!("nft -j list set inet spa {set}"));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = value["nftables"][1]["set"]["elem"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|e| {
            let e = &e["elem"];
            let comment = e["comment"].as_str().unwrap_or_default().to_owned();
            (
                e["val"].to_string(),
                e["timeout"].as_u64().unwrap(),
                e["expires"].as_u64().unwrap(),
                comment,
            )
        })
        .collect()
}

pub fn ids(grants: &[LiveGrant]) -> Vec<u64> {
    grants.iter().map(|g| g.grant.id.0).collect()
}

pub fn about(left: Duration, seconds: u64) -> bool {
    left <= Duration::from_secs(seconds)
        && left + Duration::from_secs(2) > Duration::from_secs(seconds)
}
