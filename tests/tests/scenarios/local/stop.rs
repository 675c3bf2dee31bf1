//! A part of the server that does not move, and the whole that must end.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, config};

use super::*;

/// Longest time from SIGTERM to the end, whatever hangs.
const STOP_LIMIT: Duration = Duration::from_secs(15);

fn freeze(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP).unwrap();
}

fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn b3_a_listener_that_hangs_does_not_hold_up_the_stop() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    let listener = scene.server.daemon().listener();
    freeze(listener);
    let begun = Instant::now();
    let status = scene.server.stop();
    assert!(begun.elapsed() < STOP_LIMIT, "{:?}", begun.elapsed());
    assert!(!status.success(), "the stop was not clean: {status}");
    assert!(is_gone(listener), "the listener is left over");
    scene.server.wait_log(&["spa-server: the listener did not end within 8 s: it was killed"]);
    scene.server.launch();
}

#[test]
fn b3_a_runner_that_hangs_does_not_hold_up_the_stop() {
    need_namespaces!();
    let net = lan();
    let hook = "ports = [\"tcp/22\"]\non-open = { run = [\"/bin/true\"], user = \"nobody\" }";
    let config = Config::default().service("ssh", hook);
    let mut scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
    let pid = scene.server.daemon().pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children: Vec<u32> = children.split(' ').filter_map(|pid| pid.parse().ok()).collect();
    let runner = children.iter().copied().find(|pid| {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() != "spa-listener"
    });
    let runner = runner.expect("a runner");
    freeze(runner);
    let begun = Instant::now();
    scene.server.stop();
    assert!(begun.elapsed() < STOP_LIMIT, "{:?}", begun.elapsed());
    assert!(is_gone(runner), "the runner is left over");
}
