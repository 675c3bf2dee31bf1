//! `try` and `confirm`: what is tried goes by itself unless somebody says that he can still get in.

mod ends;
mod time;
mod wait;
mod words;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;

use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::{Family, nft};

/// The server of an admin far away: `web` is hidden, and ssh is still open to all. The client may
/// open `web`.
struct House {
    scene: Scene,
    net: Lan,
    /// An ssh connection over each family.
    sessions: [TcpStream; 2],
    /// The ruleset as it is before any trial.
    before: String,
}

fn only_web() -> Config {
    Config::default().service("web", "ports = [\"tcp/80\"]\nttl = \"600s\"")
}

impl House {
    fn new() -> House {
        House::of(&only_web())
    }

    fn of(config: &Config) -> House {
        let net = lan();
        let scene = Scene::ready(&net.server, &net.client, config, &["web"]);
        let sessions = Family::BOTH.map(|family| {
            let to = net.server.at(family, SSH);
            let stream = net.client.run(|| TcpStream::connect(to).unwrap());
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        });
        let before = settled(&nft::ruleset(&net.server));
        let house = House { scene, net, sessions, before };
        house.sessions_live();
        house
    }

    /// What has been begun goes on.
    fn sessions_live(&self) {
        for mut session in &self.sessions {
            session.write_all(b"still there").unwrap();
            session.read_exact(&mut [0; 11]).unwrap();
        }
    }

    /// Writes what locks the admin out: ssh is hidden too, at other knock ports, and no client is
    /// left.
    fn write_lock_out(&self) {
        self.scene.server.configure(&config(600).set("sequence.ports", "[50001, 50002, 50003]"));
        std::fs::write(self.scene.server.folder().join("clients.toml"), "").unwrap();
    }

    /// The admin is locked out, but for the sessions that he has.
    fn locked_out(&self) {
        both(|family| {
            for port in [SSH, WEB] {
                assert!(self.scene.is_hidden(family, port), "port {port} over {family}");
            }
        });
        self.sessions_live();
    }

    /// Rules, clients and services are those of before, in the kernel's word and by a knock.
    fn as_before(&self) {
        assert_eq!(settled(&nft::ruleset(&self.net.server)), self.before);
        self.scene.server.wait_fence();
        both(|family| {
            let seen = self.scene.seen(self.scene.client.host(), family, SSH);
            assert_eq!(seen, TcpProbe::Open, "ssh is open to all again, over {family}");
            assert!(self.scene.is_hidden(family, WEB), "{family}");
            self.scene.client.must_open("web", family, &[]);
            assert!(self.scene.is_open(family, WEB), "{family}");
        });
        self.sessions_live();
        assert!(self.scene.server.control(&["close", "--all"]).status.success());
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.scene.server.control(arguments)
    }

    /// Begins a trial of what is on the disk.
    fn try_for(&self, time: &str) {
        let output = self.run(&["try", "--for", time]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    fn status(&self, name: &str) -> Value {
        self.scene.server.status()[name].clone()
    }

    /// Names in the broker's own folder.
    fn kept(&self) -> Vec<String> {
        let folder = std::fs::read_dir(self.scene.server.folder().join("state-broker"));
        folder
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }
}

/// A ruleset without what is counted and what passes by itself.
fn settled(ruleset: &str) -> String {
    let mut out = String::new();
    for line in ruleset.lines() {
        let mut passes = false;
        for word in line.split_inclusive(' ') {
            out.push_str(if passes { "N " } else { word });
            passes = ["packets ", "bytes ", "expires "].contains(&word);
        }
        out.push('\n');
    }
    out
}
