//! OpenSSH's own ssh-agent, with keys in files or on a security key in software.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::daemon::example;
use crate::temp::TempDir;

/// A running agent and a folder for its keys; ended on drop.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    folder: TempDir,
}

/// The provider of security keys in software, for `ssh-agent -P`, `ssh-keygen -w` and `ssh-add -S`.
pub fn provider() -> String {
    let path = example("libsoftware_key.so").canonicalize().expect("built beside the tests");
    path.to_str().expect("UTF-8").to_owned()
}

impl Agent {
    /// With these more arguments of ssh-agent. It takes connections when this returns.
    pub fn start(arguments: &[&str]) -> Agent {
        let folder = TempDir::new();
        let mut command = Command::new("ssh-agent");
        command
            .arg("-D")
            .args(arguments)
            .arg("-a")
            .arg(folder.join("agent"))
            .stdout(Stdio::piped());
        command.env("SOFTWARE_KEY_TOUCHES", folder.join("touches"));
        let mut child = command.spawn().expect("ssh-agent: apt-get install openssh-client");
        let mut line = String::new();
        let said = child.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("it says where it listens");
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        Agent { child, folder }
    }

    /// With the security key `id` in it, in software.
    pub fn with_security_key() -> Agent {
        let agent = Agent::start(&["-P", &provider()]);
        agent.security_key("id");
        agent
    }

    /// One more security key in software, for an agent that has begun with one.
    pub fn security_key(&self, name: &str) {
        let provider = provider();
        self.tool("ssh-keygen", &["-q", "-t", "ed25519-sk", "-w", &provider, "-N", "", "-f", name]);
        self.tool("ssh-add", &["-q", "-S", &provider, name]);
    }

    /// Makes a key file of this kind and name, which is its comment too, and loads it.
    pub fn key(&self, kind: &str, name: &str) {
        self.tool("ssh-keygen", &["-q", "-t", kind, "-N", "", "-C", name, "-f", name]);
        self.tool("ssh-add", &["-q", name]);
    }

    /// For `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// How often its security keys have been touched.
    pub fn touches(&self) -> usize {
        std::fs::read(self.folder.join("touches")).map_or(0, |touches| touches.len())
    }

    /// Runs a tool of OpenSSH with the agent, in its folder; it must succeed.
    pub fn tool(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env("SSH_AUTH_SOCK", self.socket());
        // What would be typed, is: the passphrase of the agent's own lock.
        let askpass = self.folder.write("askpass", "#!/bin/sh\necho locked\n");
        let _mode = Command::new("chmod").arg("700").arg(&askpass).status();
        command.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    }

    /// Ends it; its folder is left.
    pub fn stop(mut self) -> TempDir {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
        std::mem::replace(&mut self.folder, TempDir::new())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
