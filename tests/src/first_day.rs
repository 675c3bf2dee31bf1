//! What docs/first-day.md shows, done line by line on two new machines with the real OpenSSH
//! between them.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::Family;
use crate::daemon::{Daemon, Log};
use crate::machine::{Installed, Machine};
use crate::netns::{Lan, lan};
use crate::probe::{TcpProbe, tcp};
use crate::scene::{PATIENCE, SILENCE};
use crate::sshd::Sshd;
use crate::temp::TempDir;

const DOCUMENT: &str = include_str!("../../docs/first-day.md");
/// What stands in the document for the line that the server prints.
const PLACEHOLDER: &str = "SPA-INVITATION-1…";
/// The server's name in the document.
const NAME: &str = "gate.example.org";

/// The lines that a user pastes, in order, as the document has them.
pub fn lines() -> Vec<&'static str> {
    let (_, section) = DOCUMENT.split_once("## Four lines\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```").skip(1).step_by(2);
    // The first line of each says who types it.
    blocks.flat_map(|block| block.lines().skip(1)).collect()
}

/// What the first line ends with, and what stands there on a host without systemd; both from the
/// document.
fn starts() -> (&'static str, &'static str) {
    let (_, rest) = DOCUMENT.split_once("Without systemd, write `").expect("the other end");
    let (without, rest) = rest.split_once("` in place of `").expect("the other end");
    (rest.split('`').next().unwrap_or_default(), without)
}

/// Two new machines, a real sshd on one of them, and a stranger.
#[derive(Debug)]
pub struct FirstDay {
    lines: Vec<&'static str>,
    /// The server's machine.
    pub server: Machine,
    /// The client's machine.
    pub client: Machine,
    /// All hosts.
    pub net: Lan,
    folder: TempDir,
    log: Log,
    daemon: Option<Daemon>,
    _sshd: Sshd,
}

impl FirstDay {
    /// Nothing of ours is configured; the server has its name in these families.
    pub fn new(installed: &Installed, families: &[Family]) -> FirstDay {
        let lines = lines();
        assert_eq!(lines.len(), 4, "{lines:?}");
        let net = lan();
        let hosts: String = families
            .iter()
            .map(|family| format!("{} {NAME}\n", net.server.address(*family)))
            .collect();
        let (server, client) = (
            Machine::new(&net.server, installed, &hosts),
            Machine::new(&net.client, installed, &hosts),
        );
        let sshd = Sshd::start(&net.server, 22);
        // What every user of ssh has: a key that the server knows, and the server's own key.
        let (ours, theirs) = (client.home().join(".ssh"), sshd.folder());
        fs::create_dir(&ours).expect("~/.ssh");
        fs::copy(theirs.join("user"), ours.join("id_ed25519")).expect("the user's key");
        fs::set_permissions(ours.join("id_ed25519"), Permissions::from_mode(0o600))
            .expect("its mode");
        let key = fs::read_to_string(theirs.join("host.pub")).expect("the host's key");
        fs::write(ours.join("known_hosts"), format!("{NAME} {key}")).expect("known hosts");
        FirstDay {
            lines,
            server,
            client,
            net,
            folder: TempDir::new(),
            log: Log::default(),
            daemon: None,
            _sshd: sshd,
        }
    }

    /// The server's line: until it serves.
    pub fn start(&mut self) -> Duration {
        let begun = Instant::now();
        let (with, without) = starts();
        assert!(self.lines[0].ends_with(with), "{}", self.lines[0]);
        let line = self.lines[0].replace(with, without);
        self.daemon =
            Some(Daemon::start(&mut self.server.shell(&line), self.folder.path(), &self.log));
        begun.elapsed()
    }

    /// Ends the server.
    pub fn stop(&mut self) {
        self.daemon.take().expect("running").end(Signal::SIGTERM);
    }

    /// The client's two lines, at a terminal: the second is pasted when the first asks for it.
    pub fn join(&self) -> (Duration, String) {
        assert_eq!(self.lines[2], PLACEHOLDER);
        let invitation = self.log.wait(&["SPA-INVITATION-1"]);
        let begun = Instant::now();
        let words: Vec<String> =
            self.client.words(self.lines[1]).iter().map(|word| quoted(word)).collect();
        let mut terminal = Command::new("script");
        terminal
            .args(["-qec", &words.join(" "), "/dev/null"])
            .env("TERM", "dumb")
            .env_remove("XDG_CONFIG_HOME");
        let mut child = terminal
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of bsdutils");
        let mut input = child.stdin.take().expect("piped");
        writeln!(input, "{invitation}").expect("paste");
        let mut said = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        drop(input);
        let status = child.wait().expect("wait");
        assert!(status.success(), "{status}:\n{said}\n{}", self.log.lines().join("\n"));
        (begun.elapsed(), said)
    }

    /// The last line; returns both ends of the connection as sshd tells them.
    pub fn ssh(&self) -> (Duration, String) {
        let begun = Instant::now();
        let mut ssh = self.client.shell(self.lines[3]);
        let mut child = ssh
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ssh");
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(b"echo ends $SSH_CONNECTION\n")
            .expect("to the shell");
        let output = child.wait_with_output().expect("wait");
        let time = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let ends = said.lines().find_map(|line| line.strip_prefix("ends "));
        let ends =
            ends.unwrap_or_else(|| panic!("no shell: {output:?}\n{}", self.log.lines().join("\n")));
        (time, ends.to_owned())
    }

    /// What somebody without a key sees of the ssh port.
    pub fn seen_by_a_stranger(&self, family: Family) -> TcpProbe {
        tcp(&self.net.stranger, self.net.server.at(family, 22), SILENCE)
    }

    /// What the client's machine sees of it, without knocking.
    pub fn seen_by_the_client(&self, family: Family) -> TcpProbe {
        tcp(&self.net.client, self.net.server.at(family, 22), PATIENCE)
    }

    /// The lines of the document.
    pub fn lines(&self) -> &[&'static str] {
        &self.lines
    }
}

/// One word of a shell's line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
