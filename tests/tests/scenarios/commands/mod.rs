//! The command lines, as users and their machines meet them.

mod answers;
mod backup;
mod check;
mod client;
mod closed;
mod completions;
mod damaged;
mod every;
mod live;
mod log_pipe;
mod privileges;
mod ranges;
mod secrets;
mod snapshots;
mod sshd;
mod status;
mod stopped;
mod unit;
mod verdicts;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::daemon::{Client, Daemon, Log, Server, binary};
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::EchoServer;
use spa_tests::raw::send_udp;
use spa_tests::scene::{self, PATIENCE, Scene, both};
use spa_tests::temp::TempDir;
use spa_tests::transcript;
use spa_tests::{Family, need_namespaces, wait_until};

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("it runs");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

struct House {
    scene: Scene,
    net: Lan,
}

fn house(config: &Config) -> House {
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, config, &["ssh", "web"]);
    House { scene, net }
}

/// A child that does not outlive its test.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Waiting {
        Waiting(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
