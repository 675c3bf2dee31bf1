//! Names of the server: they move, and their name server may not answer.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::netns::{EtcFile, lan};
use spa_tests::scene::{PATIENCE, SSH, Scene, config};
use spa_tests::{Family, need_namespaces, wait_until};

/// Ends its process with its test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// C7. The name leads to another address of the server while the service is held open.
#[test]
fn c7_a_name_that_moves_is_followed_while_held() {
    need_namespaces!();
    let net = lan();
    let moved = ["192.0.2.77", "2001:db8:1::77"];
    for address in moved {
        net.server.add_address(address.parse().unwrap());
    }
    let scene = Scene::ready(&net.server, &net.client, &config(6), &["ssh"]);
    let lines = |addresses: [&str; 2]| {
        addresses.map(|address| format!("{address} gate.example.org\n")).concat()
    };
    let old = Family::BOTH.map(|family| net.server.address(family).to_string());
    let hosts = EtcFile::new(&net.client, "hosts", &lines([&old[0], &old[1]]));
    let mut set = scene.client.command("spa-client");
    set.args(["host", "set", "server", "addresses", "gate.example.org"]);
    assert!(set.output().unwrap().status.success());
    let mut hold = scene.client.command("spa-client");
    hold.args(["open", "ssh@server", "--hold"]).stdin(Stdio::null()).stdout(Stdio::null());
    let held = Ends(hold.spawn().unwrap());
    for family in Family::BOTH {
        assert!(wait_until(PATIENCE, || scene.is_open(family, SSH)), "{family}");
    }
    // The old addresses are gone, as those of a machine that was replaced.
    hosts.set(&lines(moved));
    net.server.ip(&[
        &format!("-4 address delete {}/24 dev eth0", old[0]),
        &format!("-6 address delete {}/64 dev eth0", old[1]),
        "-4 route replace default dev eth0",
        "-6 route replace default dev eth0",
    ]);
    for address in moved {
        let granted = || {
            let grants = scene.server.status()["grants"].to_string();
            grants.contains(&net.client.address(Family::V4).to_string())
                && grants.contains(&net.client.address(Family::V6).to_string())
        };
        let target = address.parse().unwrap();
        let reached = || {
            let probe = spa_tests::probe::tcp(
                &net.client,
                std::net::SocketAddr::new(target, SSH),
                Duration::from_millis(200),
            );
            probe == spa_tests::probe::TcpProbe::Open
        };
        let patience = Duration::from_secs(40);
        assert!(wait_until(patience, || granted() && reached()), "{address}");
    }
    kill(Pid::from_raw(held.0.id().cast_signed()), Signal::SIGTERM).unwrap();
}

/// C8. A name server that is dead counts against the time, whatever the command.
#[test]
fn c8_the_timeout_covers_a_dead_name_server() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    // Packets to it arrive, and nobody answers.
    spa_tests::nft::load(
        &net.stranger,
        "table inet quiet { chain in { type filter hook input priority 0; udp dport 53 drop; }; }",
    );
    let server = format!("nameserver {}\n", net.stranger.address(Family::V4));
    let _resolver = EtcFile::new(&net.client, "resolv.conf", &server);
    let mut set = scene.client.command("spa-client");
    set.args(["host", "set", "server", "addresses", "gate.example.org"]);
    assert!(set.output().unwrap().status.success());
    for words in [
        "open ssh@server",
        "run ssh@server -- true",
        "connect ssh@server",
        "close \
        ssh@server",
        "doctor server --knock",
        "rotate server",
    ] {
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.splice(1..1, ["--timeout", "2s"]);
        let begun = Instant::now();
        let output = scene.client.command("spa-client").args(&words).output().unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(3500), "{words:?} took {took:?}: {output:?}");
        assert!(!output.status.success(), "{words:?}: {output:?}");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("gate.example.org does not resolve"), "{words:?}: {text}");
    }
}
