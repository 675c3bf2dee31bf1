//! What a host does to a server that nobody planned for: crashes at every step, reloads without
//! end, flushed firewalls, full disks, interfaces that come and go, clocks that jump.

mod before_build;
mod bridge;
mod clock;
mod conntrack;
mod crash;
mod disk;
mod flushes;
mod interfaces;
mod many;
mod not_protected;
mod older;
mod reloads;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use spa_proto::{Request, Status};
use spa_tests::config::Config;
use spa_tests::daemon::Server;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::Host;
use spa_tests::nft::Element;
use spa_tests::probe::{TcpProbe, tcp};
use spa_tests::scene::{PATIENCE, SSH};
use spa_tests::{Family, nft};

/// How long one attempt of a stranger who never stops may take.
const GLANCE: Duration = Duration::from_millis(50);

/// A family's grants in the kernel.
fn grants(host: &Host, family: Family) -> Vec<Element> {
    nft::elements(host, "inet", "spa", &format!("grant{}", family.digit())).unwrap_or_default()
}

/// One knock for ssh, bound to its address; panics unless the server says that it is granted.
fn knock(knocker: &Knocker, sender: &Sender) {
    let bind_src = Some(sender.source());
    let session = knocker.session_with("ssh", |request| Request { bind_src, ..request });
    sender.all(&session);
    let ack = sender.ack(&session, PATIENCE);
    assert_eq!(
        ack.map(|ack| ack.status),
        Some(Status::Granted),
        "a knock from {}",
        sender.source()
    );
}

/// Knocks over both families by turns until told to stop; every knock must be granted. Returns how
/// many there were.
fn knocks(knocker: &Knocker, client: &Host, server: &Host, stop: &AtomicBool) -> u64 {
    let senders = Family::BOTH.map(|family| Sender::new(client, server, family));
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        knock(knocker, &senders[usize::from(count % 2 == 1)]);
        count += 1;
        // Ten a second are within what one client may.
        thread::sleep(Duration::from_millis(100));
    }
    count
}

/// What a stranger met.
struct Probes {
    tried: u64,
    open: u64,
    /// Time in which no attempt was met with silence.
    spent_open: Duration,
}

/// A stranger tries the ssh port over both families without a pause until told to stop.
fn probes(stranger: &Host, server: &Host, stop: &AtomicBool) -> Probes {
    let mut probes = Probes { tried: 0, open: 0, spent_open: Duration::ZERO };
    while !stop.load(Ordering::Relaxed) {
        for family in Family::BOTH {
            probes.tried += 1;
            let begun = Instant::now();
            if tcp(stranger, server.at(family, SSH), GLANCE) == TcpProbe::Open {
                probes.open += 1;
                probes.spent_open += begun.elapsed();
            }
        }
    }
    probes
}

/// A conversation with the control socket on one connection.
struct Control(BufReader<UnixStream>);

impl Control {
    fn new(server: &Server) -> Control {
        let stream = UnixStream::connect(server.folder().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Control(BufReader::new(stream))
    }

    fn ask(&mut self, command: &str) -> Value {
        self.tell(&format!("\"command\":\"{command}\""))
    }

    /// The same with more words than the command's name.
    fn tell(&mut self, fields: &str) -> Value {
        writeln!(self.0.get_mut(), "{{\"version\":1,{fields}}}").unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

/// Bytes of real memory that a process holds.
fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
