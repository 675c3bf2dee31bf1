use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// How long a daemon may take to say that it is ready, to log what a test waits for, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The lines that a daemon has written, kept across restarts.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("lines").clone()
    }

    /// How many lines there are; a starting point for [`Log::wait_since`].
    pub fn mark(&self) -> usize {
        self.lines.lock().expect("lines").len()
    }

    /// Waits for a line that contains all these words, anywhere in the log; returns it. Panics with
    /// the log when none comes.
    pub fn wait(&self, words: &[&str]) -> String {
        self.wait_since(0, words)
    }

    /// The same among the lines after a mark.
    pub fn wait_since(&self, mark: usize, words: &[&str]) -> String {
        let found = wait_for(PATIENCE, || {
            let lines = self.lines.lock().expect("lines");
            lines[mark..].iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        });
        found.unwrap_or_else(|| {
            panic!("no line with {words:?} in the log:\n{}", self.lines()[mark..].join("\n"))
        })
    }

    fn collect(&self, stream: impl Read + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                lines.lock().expect("lines").push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
}

/// A running program that tells over `NOTIFY_SOCKET` when it is ready. Killed on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Log,
}

impl Daemon {
    /// Starts it and waits for `READY=1` (sd_notify(3)); panics with its output when it ends before
    /// or takes too long.
    pub fn start(command: &mut Command, folder: &Path, log: &Log) -> Daemon {
        let path = folder.join("notify");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("bind the notify socket");
        // The program may run as another user.
        let everyone = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&path, everyone).expect("open the notify socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let mut child = command
            .env("NOTIFY_SOCKET", &path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        log.collect(child.stderr.take().expect("piped"));
        log.collect(child.stdout.take().expect("piped"));
        let mut daemon = Daemon { child, log: log.clone() };
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or(0);
            if buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return daemon;
            }
            if let Some(status) = daemon.child.try_wait().expect("wait") {
                panic!(
                    "{command:?} ended with {status} before it was ready:\n{}",
                    log.lines().join("\n")
                );
            }
            assert!(
                Instant::now() < deadline,
                "{command:?} is not ready:\n{}",
                log.lines().join("\n")
            );
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process id of its listener, the child that reads packets.
    pub fn listener(&self) -> u32 {
        let children = format!("/proc/{pid}/task/{pid}/children", pid = self.pid());
        let children = std::fs::read_to_string(children).expect("the children of a running server");
        children.trim().parse().unwrap_or_else(|_| panic!("one child, not {children:?}"))
    }

    /// What it has written.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).unwrap_or_else(|error| panic!("cannot send {signal} to {pid}: {error}"));
    }

    /// Sends it a signal that ends it, and waits.
    pub fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let status = wait_for(PATIENCE, || self.child.try_wait().expect("wait"));
        status.unwrap_or_else(|| {
            panic!("still running {PATIENCE:?} after {signal}:\n{}", self.log.lines().join("\n"))
        })
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for(PATIENCE, || self.child.try_wait().expect("wait")).expect("it ends by itself")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
