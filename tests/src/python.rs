//! The second implementation, `tests/interop`: Python, and a script that answers line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};

use crate::daemon::profile_folder;
use crate::netns::Host;
use crate::process;

/// Succeeds where `requirements.txt` is fulfilled.
const NEEDED: &str = "from cryptography.hazmat.primitives.asymmetric import mlkem; \
    mlkem.MLKEM768PrivateKey.generate().public_key().public_bytes_raw()";

/// `tests/interop`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}

/// A python3 that has what `requirements.txt` asks for: the system's, or one in a virtual
/// environment below the target folder. None, with the reason on standard error, where it cannot be
/// had; in CI that is a failure.
pub fn python() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find).as_deref()
}

fn find() -> Option<PathBuf> {
    let works = |python: &Path| {
        let output = Command::new(python).args(["-c", NEEDED]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let system = PathBuf::from("python3");
    if works(&system) {
        return Some(system);
    }
    let folder = profile_folder().join("interop-venv");
    let lock = File::create(folder.with_extension("lock")).expect("a lock beside the programs");
    let _one_at_a_time = Flock::lock(lock, FlockArg::LockExclusive).expect("a lock");
    let inside = folder.join("bin/python3");
    if !works(&inside) {
        let requirements = self::folder().join("requirements.txt");
        let _made = Command::new(&system).args(["-m", "venv", "--clear"]).arg(&folder).status();
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        let _installed = Command::new(&inside).args(install).arg(requirements).status();
    }
    if works(&inside) {
        return Some(inside);
    }
    let why = "needs python3 with venv, and a package index that has `cryptography`";
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("NOT RUN, {why}");
    None
}

/// A script of `tests/interop` that does what it is told and answers, a line each. Killed on drop.
#[derive(Debug)]
pub struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts it in a host.
    pub fn start(python: &Path, host: &Host, name: &str, arguments: &[&str]) -> Script {
        let mut command = host.command(python);
        command.arg("-B").arg(folder().join(name)).args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Script { child, input, output }
    }

    /// What it answers to a line; panics when it has ended, whose reason is on standard error.
    pub fn ask(&mut self, line: &str) -> String {
        let mut answer = String::new();
        let sent = writeln!(self.input, "{line}");
        let read = self.output.read_line(&mut answer).expect("text");
        assert!(sent.is_ok() && read > 0, "the script ended before its answer to {line:?}");
        answer.trim_end().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a script of `tests/interop` to its end and returns what it printed.
pub fn run(python: &Path, name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(python);
    process::succeed(command.arg("-B").arg(folder().join(name)).args(arguments))
}
