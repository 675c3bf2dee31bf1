use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use serde_json::Value;

use super::{Server, binary};
use crate::netns::Host;
use crate::temp::TempDir;
use crate::{Family, process};

/// The real `spa-client` and `spa` in a host, with a home of their own.
#[derive(Debug)]
pub struct Client {
    host: Host,
    home: TempDir,
}

/// How a run of `spa-client open` ended.
#[derive(Debug)]
pub struct Opened {
    /// Its exit status; 0 is open, 3 knocked but not reachable, 4 nothing was sent.
    pub status: ExitStatus,
    /// What `--json` printed; `Null` when it printed no JSON.
    pub json: Value,
    /// Everything that it said to a human.
    pub stderr: String,
}

impl Client {
    /// A user who has no key yet.
    pub fn new(host: &Host) -> Client {
        let home = TempDir::new();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(home.join(".config/spa"))
            .expect("make the folder");
        Client { host: host.clone(), home }
    }

    /// A user with a fresh key, known to the server under `name` for these services; the server is
    /// `server` to the user.
    pub fn enrolled(host: &Host, server: &Server, name: &str, services: &[&str]) -> Client {
        let client = Client::new(host);
        client.enrol(server, name, services);
        client
    }

    /// The same with more arguments of `spa-server client add`: `&["--service", "ssh", "--hours",
    /// "08:00-18:00"]`.
    pub fn enrolled_with(host: &Host, server: &Server, name: &str, arguments: &[&str]) -> Client {
        let client = Client::new(host);
        client.enrol_with(server, name, arguments);
        client
    }

    /// Makes a key when there is none, tells the server, and takes the server's answer: the two
    /// pastes of an enrolment.
    pub fn enrol(&self, server: &Server, name: &str, services: &[&str]) {
        let arguments: Vec<&str> =
            services.iter().flat_map(|service| ["--service", service]).collect();
        self.enrol_with(server, name, &arguments);
    }

    /// The same with more arguments of `spa-server client add`. An enrolment that the user has is
    /// replaced.
    pub fn enrol_with(&self, server: &Server, name: &str, arguments: &[&str]) {
        let public = if self.key().exists() {
            process::succeed(self.spa().arg("pubkey").arg(self.key()))
        } else {
            process::succeed(self.spa().args(["keygen", "-o"]).arg(self.key()))
        };
        let line = server.add_client(name, public.trim(), arguments);
        let mut command = self.spa();
        command.args(["host", "add", &line, "--name", "server", "--replace"]);
        for family in Family::BOTH {
            command.args(["--address", &server.host().address(family).to_string()]);
        }
        process::succeed(&mut command);
    }

    /// Runs `spa-client open SERVICE@server --json` with one family and more arguments.
    pub fn open(&self, service: &str, family: Family, arguments: &[&str]) -> Opened {
        let mut command = self.command("spa-client");
        command
            .args(["open", &format!("{service}@server"), "--json", family.switch()])
            .args(arguments);
        let output = process::output(&mut command);
        Opened {
            status: output.status,
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, and panics unless it succeeded.
    pub fn must_open(&self, service: &str, family: Family, arguments: &[&str]) -> Value {
        let opened = self.open(service, family, arguments);
        assert!(opened.status.success(), "{service} was not opened over {family}: {opened:?}");
        opened.json
    }

    /// One of our programs in the host, with this user's home and without the caller's terminal
    /// settings.
    pub fn command(&self, program: &str) -> Command {
        self.dressed(self.host.command(binary(program)))
    }

    /// A program of the system in the same dress, which finds our programs in its path.
    pub fn tool(&self, program: &str) -> Command {
        let mut command = self.dressed(self.host.command(program));
        let ours = binary("spa-client").parent().expect("a folder").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{ours}:{path}:/usr/sbin:/sbin"));
        command
    }

    fn dressed(&self, mut command: Command) -> Command {
        command
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.join(".config"))
            .env("NO_COLOR", "1")
            .env_remove("SSH_AUTH_SOCK");
        command
    }

    /// The private key's file.
    pub fn key(&self) -> PathBuf {
        self.folder().join("identity")
    }

    /// The folder with the key, the enrolments and `config.toml`.
    pub fn folder(&self) -> PathBuf {
        self.home.join(".config/spa")
    }

    /// The host that it runs in.
    pub fn host(&self) -> &Host {
        &self.host
    }

    fn spa(&self) -> Command {
        self.command("spa")
    }
}
