use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Daemon, Log, binary};
use crate::clock::Clock;
use crate::config::Config;
use crate::netns::Host;
use crate::temp::TempDir;
use crate::{nft, process, wait_until};

/// How long a replay fence may last in a test: a minute where the store was lost.
const PATIENCE: Duration = Duration::from_secs(90);

/// The real `spa-server` in a host, with a folder of its own for key, clients, state and
/// configuration.
///
/// A failing test prints its log and the host's ruleset.
#[derive(Debug)]
pub struct Server {
    host: Host,
    folder: TempDir,
    config: PathBuf,
    clock: Option<Clock>,
    wrapper: Vec<String>,
    log: Log,
    daemon: Option<Daemon>,
}

impl Server {
    /// Makes the folder, the configuration and the key, which has no past, and does not start it:
    /// enrol clients first.
    pub fn prepare(host: &Host, config: &Config) -> Server {
        let folder = TempDir::new();
        let path = folder.write("server.toml", config.text(folder.path()));
        process::succeed(Command::new(binary("spa-server")).arg("init").arg("--config").arg(&path));
        Server {
            host: host.clone(),
            folder,
            config: path,
            clock: None,
            wrapper: Vec::new(),
            log: Log::default(),
            daemon: None,
        }
    }

    /// Prepares and starts it.
    pub fn start(host: &Host, config: &Config) -> Server {
        let mut server = Server::prepare(host, config);
        server.launch();
        server
    }

    /// Lets [`Server::set_clock_offset`] move the wall clock. Before [`Server::launch`].
    #[must_use]
    pub fn with_clock(mut self) -> Server {
        self.clock = Some(Clock::new(self.folder.path()));
        self
    }

    /// Starts it through another program, which must replace itself by the command that follows its
    /// own arguments. `{dir}` is the server's folder. It is in a mount namespace of its own.
    /// Before [`Server::launch`].
    #[must_use]
    pub fn with_wrapper(mut self, words: &[&str]) -> Server {
        let folder = self.folder.path().display().to_string();
        self.wrapper = words.iter().map(|word| word.replace("{dir}", &folder)).collect();
        self
    }

    /// Moves the daemon's wall clock: seconds ahead of (negative: behind) the true one; also across
    /// restarts.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.clock.as_ref().expect("made with_clock()").set_offset(seconds);
    }

    /// Starts `spa-server run` and waits until it says that it is ready.
    /// `spa-server check` must say that it can.
    pub fn launch(&mut self) {
        assert!(self.daemon.is_none(), "already running");
        // A wrapper may show it other files.
        if self.wrapper.is_empty() {
            process::succeed(
                self.host
                    .command(binary("spa-server"))
                    .args(["check", "--offline"])
                    .arg(&self.config),
            );
        }
        let mut words: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        words.extend([
            binary("spa-server").into(),
            "run".into(),
            "--config".into(),
            self.config.clone().into(),
        ]);
        let mut command = self.host.command(&words[0]);
        command.args(&words[1..]);
        if let Some(clock) = &self.clock {
            clock.apply(&mut command);
        }
        self.daemon = Some(Daemon::start(&mut command, self.folder.path(), &self.log));
    }

    /// Ends it with SIGTERM and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.daemon.take().expect("running").end(Signal::SIGTERM)
    }

    /// Ends it with SIGKILL and waits.
    pub fn kill9(&mut self) {
        self.daemon.take().expect("running").end(Signal::SIGKILL);
    }

    /// The process, to be waited for; [`Server::launch`] starts the next one.
    pub fn take(&mut self) -> Daemon {
        self.daemon.take().expect("running")
    }

    /// Stops it in peace and starts it again.
    pub fn restart(&mut self) {
        let status = self.stop();
        assert!(
            status.success(),
            "spa-server ended with {status}:\n{}",
            self.log.lines().join("\n")
        );
        self.launch();
    }

    /// Replaces the configuration file; the daemon reads it at its next start or reload.
    pub fn configure(&self, config: &Config) {
        self.folder.write("server.toml", config.text(self.folder.path()));
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        self.daemon.as_ref().expect("running").signal(signal);
    }

    /// Runs `spa-server ARGUMENTS --config F` in the host: `status`, `check`, `client list`,
    /// `firewall print`…
    pub fn control(&self, arguments: &[&str]) -> Output {
        let mut command = self.host.command(binary("spa-server"));
        process::output(command.args(arguments).arg("--config").arg(&self.config))
    }

    /// What `spa-server status --json` prints.
    pub fn status(&self) -> Value {
        let output = self.control(&["status", "--json"]);
        assert!(output.status.success(), "no status: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("status --json prints JSON")
    }

    /// Waits until knocks are taken: a server with an empty or unclean store refuses those that may
    /// be older than it.
    pub fn wait_fence(&self) {
        let over = wait_until(PATIENCE, || self.status()["fence-left-s"] == 0.0);
        assert!(over, "the replay fence does not end: {}", self.status());
    }

    /// Adds a client by its public line with these arguments of `spa-server client add`, and
    /// returns the line for `spa host add`.
    pub fn add_client(&self, name: &str, public: &str, arguments: &[&str]) -> String {
        let mut command = self.host.command(binary("spa-server"));
        command.args(["client", "add", name, public]).args(arguments);
        process::succeed(command.arg("--config").arg(&self.config)).trim().to_owned()
    }

    /// Waits for a line with all these words, anywhere in the log.
    pub fn wait_log(&self, words: &[&str]) -> String {
        self.log.wait(words)
    }

    /// Its log, over all starts.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The host that it runs in.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its folder: `server.toml`, `server.key`, `clients.toml`, `state/`, `control.sock`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The running daemon.
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("running")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "--- log of spa-server on {}:\n{}",
                self.host.namespace(),
                self.log.lines().join("\n")
            );
            eprintln!("--- its ruleset:\n{}", nft::ruleset(&self.host));
        }
    }
}
