//! One of the two dies.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces, nft, wait_until};

use super::runs;

/// How soon the other one must be gone.
const AT_ONCE: Duration = Duration::from_secs(1);
const TTL: u32 = 6;

fn end(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
}

/// Grants that the kernel has.
fn grants(scene: &Scene) -> usize {
    let sets =
        ["grant4", "grant6"].map(|set| nft::elements(scene.server.host(), "inet", "spa", set));
    sets.into_iter().flatten().map(|elements| elements.len()).sum()
}

/// Nobody of ours runs: what is open ends by the kernel's timers, and what is hidden stays so.
fn ends_by_itself(scene: &Scene, opened: Instant) {
    assert_eq!(grants(scene), 2, "a grant is the kernel's");
    both(|family| assert!(scene.is_open(family, SSH), "{family}"));
    assert!(wait_until(PATIENCE, || grants(scene) == 0), "grants never end");
    let lasted = opened.elapsed();
    assert!(lasted < Duration::from_secs(u64::from(TTL) + 2), "{lasted:?} instead of {TTL} s");
    both(|family| assert!(scene.is_hidden(family, SSH), "{family}"));
}

/// The next start is as good as any, and what was open is closed.
fn starts_again(scene: &mut Scene) {
    scene.server.launch();
    scene.server.wait_fence();
    both(|family| {
        assert!(scene.is_hidden(family, SSH), "{family}");
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}");
    });
}

#[test]
fn the_listener_is_killed() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(TTL), &["ssh"]);
    scene.server.wait_fence();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let opened = Instant::now();
    end(scene.server.daemon().listener());
    assert!(wait_until(AT_ONCE, || !scene.server.daemon().is_running()), "the broker goes on");
    scene.server.wait_log(&["level=error", "event=listener-ended", "how=SIGKILL"]);
    // It has ended by itself, and its exit code makes systemd start it again.
    let mut daemon = scene.server.take();
    let status = daemon.wait();
    assert_eq!(status.code(), Some(1), "{status}");
    ends_by_itself(&scene, opened);
    starts_again(&mut scene);
}

#[test]
fn the_broker_is_killed() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(TTL), &["ssh"]);
    scene.server.wait_fence();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let opened = Instant::now();
    let listener = scene.server.daemon().listener();
    scene.server.kill9();
    assert!(wait_until(AT_ONCE, || !runs(listener)), "the listener goes on");
    ends_by_itself(&scene, opened);
    starts_again(&mut scene);
}

#[test]
fn the_broker_hangs() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(TTL), &["ssh"]);
    scene.server.wait_fence();
    let listener = scene.server.daemon().listener();
    scene.server.signal(Signal::SIGSTOP);
    let opened = scene.client.open("ssh", Family::V4, &[]);
    assert!(!opened.status.success(), "{opened:?}");
    assert!(wait_until(PATIENCE, || !runs(listener)), "the listener waits for ever");
    scene.server.wait_log(&["event=broker-gone", "error=\"no message in time\""]);
    scene.server.signal(Signal::SIGCONT);
    assert!(wait_until(PATIENCE, || !scene.server.daemon().is_running()), "the broker goes on");
    assert!(scene.is_hidden(Family::V6, SSH));
}

#[test]
fn a_signal_to_the_whole_group_is_a_clean_stop() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(TTL), &["ssh"]);
    scene.server.wait_fence();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    // As systemd does by KillMode=control-group, and a terminal by ^C.
    let listener = scene.server.daemon().listener();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM] {
        kill(Pid::from_raw(listener.cast_signed()), signal).unwrap();
    }
    assert!(scene.server.stop().success());
    scene.server.wait_log(&["event=stopped", "grants=2"]);
    let mark = scene.server.log().mark();
    scene.server.launch();
    let lines = scene.server.log().lines().split_off(mark);
    assert!(!lines.iter().any(|line| line.contains("unclean-stop")), "{lines:?}");
}
