//! Invitations and rotated keys: one line to a working client, and what must not come of it.

mod age;
mod agent;
mod crash;
mod explained;
mod join;
mod kem;
mod passphrase;
mod quiet;
mod refused;
mod rotate;
mod rules;
mod serverkey;
mod trial;

use std::process::{Command, Output};

use spa_tests::Family;
use spa_tests::config::Config;
use spa_tests::daemon::{Client, Server};
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::probe::EchoServer;
use spa_tests::scene::{SSH, config};

/// A server that takes knocks and knows nobody.
struct House {
    server: Server,
    _ssh: EchoServer,
    net: Lan,
}

impl House {
    fn new() -> House {
        House::with(&config(60))
    }

    fn with(config: &Config) -> House {
        let net = lan();
        let ssh = EchoServer::start(&net.server, SSH);
        let server = Server::start(&net.server, config);
        server.wait_fence();
        House { server, _ssh: ssh, net }
    }

    /// The line of `spa-server invite NAME --service ssh`.
    fn invite(&self, name: &str) -> String {
        let output = self.server.control(&["invite", name, "--service", "ssh"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn invited(&self) -> usize {
        let output = self.server.control(&["invitations", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["invitations"].as_array().unwrap().len()
    }

    /// Names of the clients, as the file has them.
    fn clients(&self) -> Vec<String> {
        let output = self.server.control(&["client", "list", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["clients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// `spa join LINE`, over both families unless one is named.
    fn joining(&self, client: &Client, line: &str, more: &[&str]) -> Command {
        let mut command = client.command("spa");
        command.args(["join", line, "--name", "server"]);
        for family in Family::BOTH {
            command.args(["--address", &self.net.server.address(family).to_string()]);
        }
        command.args(more);
        command
    }

    fn join(&self, client: &Client, line: &str, more: &[&str]) -> Output {
        self.joining(client, line, more).output().unwrap()
    }

    fn must_join(&self, client: &Client, line: &str) {
        let output = self.join(client, line, &[]);
        assert!(output.status.success(), "{output:?}");
    }
}

/// Answers are lost on their way to this host until this ends.
struct Deaf(Host);

impl Deaf {
    fn new(host: &Host) -> Deaf {
        let rules = "add table inet deaf; add chain inet deaf in { type filter hook input priority \
            0; }; add rule inet deaf in meta l4proto udp drop";
        let output = host.command("nft").arg(rules).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Deaf(host.clone())
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let _gone = self.0.command("nft").arg("delete table inet deaf").output();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
