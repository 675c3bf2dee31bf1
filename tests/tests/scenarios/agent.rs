//! Knocks whose signing half is in OpenSSH's own ssh-agent, as a plain key and as a security key.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use spa_tests::daemon::{Client, Server, example};
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{SSH, Scene, both, config};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces};

struct Agent {
    child: Child,
    folder: TempDir,
}

impl Agent {
    /// With these more arguments of ssh-agent.
    fn start(arguments: &[&str]) -> Agent {
        let folder = TempDir::new();
        let mut command = Command::new("ssh-agent");
        command.arg("-D").args(arguments).arg("-a").arg(folder.join("agent")).stdout(Stdio::piped());
        let mut child = command.spawn().expect("ssh-agent: apt-get install openssh-client");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        Agent { child, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("agent")
    }

    fn tool(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env("SSH_AUTH_SOCK", self.socket());
        // What would be typed, is: the passphrase of the agent's own lock.
        std::fs::write(self.folder.join("askpass"), "#!/bin/sh\necho locked\n").unwrap();
        std::process::Command::new("chmod").arg("700").arg(self.folder.join("askpass")).status().unwrap();
        command.env("SSH_ASKPASS", self.folder.join("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", said(&output));
    }

    fn stop(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, TempDir::new())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A client whose signing half is the agent's key `id`, enrolled as `token`, and a running server.
fn enrolled(net: &Lan, agent: &Agent) -> (Scene, Client, String) {
    let server = Server::prepare(&net.server, &config(60));
    let client = Client::new(&net.client);
    let mut keygen = client.command("spa");
    keygen.args(["keygen", "--agent"]).arg(agent.folder.join("id")).env("SSH_AUTH_SOCK", agent.socket());
    let made = keygen.output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    client.enrol(&server, "token", &["ssh"]);
    let scene = Scene::of(server, &net.client, &["ssh"]);
    scene.server.wait_fence();
    (scene, client, String::from_utf8(made.stdout).unwrap())
}

fn open(client: &Client, socket: &Path, family: Family) -> Output {
    let mut command = client.command("spa-client");
    command.args(["open", "ssh@server", family.switch()]).env("SSH_AUTH_SOCK", socket);
    command.output().unwrap()
}

#[test]
fn a_key_in_ssh_agent_opens_and_without_it_nothing_is_sent() {
    need_namespaces!();
    let net = lan();
    let agent = Agent::start(&[]);
    agent.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", "id"]);
    agent.tool("ssh-add", &["-q", "id"]);
    let (scene, client, public) = enrolled(&net, &agent);
    assert!(public.starts_with("spa1"), "{public}");
    let socket = agent.socket();
    both(|family| {
        assert!(scene.is_hidden(family, SSH), "{family}");
        let opened = open(&client, &socket, family);
        assert!(opened.status.success(), "{family}: {}", said(&opened));
        assert!(scene.is_open(family, SSH), "{family}");
    });
    scene.server.wait_log(&["event=granted", "client=token"]);

    let refused = |says: &str| {
        let output = open(&client, &socket, Family::V4);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(said(&output).contains(says), "{says}: {}", said(&output));
    };
    agent.tool("ssh-add", &["-x"]);
    refused("is locked");
    agent.tool("ssh-add", &["-X"]);
    assert!(open(&client, &socket, Family::V4).status.success());
    agent.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "other"]);
    agent.tool("ssh-add", &["-q", "other"]);
    agent.tool("ssh-add", &["-q", "-d", "id"]);
    refused("has other keys, but not SHA256:");
    agent.tool("ssh-add", &["-q", "-D"]);
    refused("has no keys");
    let _folder = agent.stop();
    refused("cannot be used");
}

/// Whoever copies the client's folder gets through mac and AEAD, and has no signature.
#[test]
fn the_disk_alone_opens_nothing() {
    need_namespaces!();
    let net = lan();
    let agent = Agent::start(&[]);
    agent.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", "id"]);
    agent.tool("ssh-add", &["-q", "id"]);
    let (scene, client, _) = enrolled(&net, &agent);
    let thief = Knocker::of(&client);
    both(|family| {
        let sender = Sender::new(&net.stranger, &net.server, family);
        sender.all(&thief.session("ssh"));
        let source = format!("source={} ", sender.source());
        scene.server.wait_log(&["event=bad-signature", "client=token", &source]);
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
        let owner = open(&client, &agent.socket(), family);
        assert!(owner.status.success(), "the owner is locked out over {family}: {}", said(&owner));
    });
}

/// The whole way of a security key but for its metal: ssh-agent, ssh-sk-helper, and a provider in software.
#[test]
fn a_security_key_opens_with_a_touch_and_not_without() {
    need_namespaces!();
    let net = lan();
    let provider = example("libsoftware_key.so").canonicalize().unwrap();
    let provider = provider.to_str().unwrap();
    let agent = Agent::start(&["-P", provider]);
    let keygen = ["-q", "-t", "ed25519-sk", "-w", provider, "-N", "", "-f"];
    agent.tool("ssh-keygen", &[&keygen[..], &["id"]].concat());
    agent.tool("ssh-add", &["-q", "-S", provider, "id"]);
    let (scene, client, public) = enrolled(&net, &agent);
    assert!(public.starts_with("spask1"), "{public}");
    let socket = agent.socket();
    both(|family| {
        assert!(scene.is_hidden(family, SSH), "{family}");
        let opened = open(&client, &socket, family);
        assert!(opened.status.success(), "{family}: {}", said(&opened));
        assert_eq!(said(&opened).matches("touch the security key SHA256:").count(), 1, "{}", said(&opened));
        assert!(scene.is_open(family, SSH), "{family}");
    });

    let idle = Agent::start(&["-P", provider]);
    idle.tool("ssh-keygen", &[&keygen[..], &["id", "-O", "no-touch-required"]].concat());
    idle.tool("ssh-add", &["-q", "-S", provider, "id"]);
    let lazy = Client::new(&net.client);
    let mut keygen = lazy.command("spa");
    keygen.args(["keygen", "--agent"]).arg(idle.folder.join("id")).env("SSH_AUTH_SOCK", idle.socket());
    assert!(keygen.output().unwrap().status.success());
    lazy.enrol(&scene.server, "lazy", &["ssh"]);
    let refused = open(&lazy, &idle.socket(), Family::V4);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(said(&refused).contains("signed without a touch"), "{}", said(&refused));
}
