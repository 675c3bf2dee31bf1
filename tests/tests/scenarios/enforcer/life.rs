//! What is open at an enforcer that does not expire by itself ends with its grant, whatever becomes
//! of the server, its processes and its configuration.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::netns::lan;
use spa_tests::scene::SSH;
use spa_tests::{Family, need_namespaces};

use super::*;

/// Children of a process.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect()
}

fn is_running(pid: u32, word: &str) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
}

/// The process that watches, and the one that speaks to the enforcer.
fn processes(scene: &mut Scene) -> (u32, u32) {
    let broker = scene.server.daemon().pid();
    let watch = children(broker).into_iter().find(|pid| is_running(*pid, "watch-enforcer"));
    let watch = watch.expect("it runs");
    let inner = children(watch).into_iter().find(|pid| is_running(*pid, "run-enforcer"));
    (watch, inner.expect("it runs"))
}

#[test]
fn every_end_is_passed_on() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("ends", DESK);
    let config = enforced(&place.program(), 60, "");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
    await_ready(&scene);
    for family in Family::BOTH {
        let entry = format!("ssh {}/", net.client.address(family));
        // The time of the grant.
        scene.client.must_open("ssh", family, &["--ttl", "2s"]);
        assert!(place.holds(&entry) && scene.is_open(family, SSH), "{:?}", place.book());
        place.await_empty();
        // The client's own close.
        scene.client.must_open("ssh", family, &[]);
        assert!(place.holds(&entry));
        let mut close = scene.client.command("spa-client");
        close.args(["close", "ssh@server", family.switch()]);
        spa_tests::process::succeed(&mut close);
        place.await_empty();
    }
    let entry = format!("ssh {}/32 tcp/22", net.client.address(Family::V4));
    let open = |scene: &Scene| {
        scene.client.must_open("ssh", Family::V4, &[]);
        assert!(place.holds(&entry), "{:?}", place.book());
    };
    // Another service is none of its business.
    scene.client.must_open("web", Family::V4, &[]);
    assert_eq!(place.book(), Vec::<String>::new());
    // A service that has it no more.
    open(&scene);
    scene.server.configure(&enforced(&place.program(), 60, "").set("log.level", "\"info\""));
    assert!(scene.server.control(&["reload"]).status.success());
    assert!(place.holds(&entry), "a reload that changes nothing of it");
    let text = fs::read_to_string(scene.server.folder().join("server.toml")).unwrap();
    let without = text.replace("enforcers = [\"desk\"]\n", "");
    fs::write(scene.server.folder().join("server.toml"), without).unwrap();
    assert!(scene.server.control(&["reload"]).status.success());
    place.await_empty();
    scene.server.configure(&config);
    assert!(scene.server.control(&["reload"]).status.success());
    assert!(wait_until(PATIENCE, || place.holds(&entry)), "a live grant of a service with it");
    // A client that is removed.
    assert!(scene.server.control(&["client", "remove", "laptop"]).status.success());
    place.await_empty();
    // Other enforcers are for the next start.
    let other = enforced(&place.program(), 60, "expires = true");
    scene.server.configure(&other);
    let refused = scene.server.control(&["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("restart the server"), "{said}");
}

#[test]
fn after_a_crash_what_ended_meanwhile_is_swept() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("crash", DESK);
    let config = enforced(&place.program(), 60, "");
    let mut scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
    await_ready(&scene);
    let entry = format!("ssh {}/32 tcp/22", net.client.address(Family::V4));
    scene.client.must_open("ssh", Family::V4, &[]);
    // Live grants are there after it.
    scene.server.kill9();
    scene.server.launch();
    await_ready(&scene);
    assert!(place.holds(&entry), "{:?}", place.book());
    // What ended meanwhile is not: the grant's end comes while no server runs.
    scene.server.wait_fence();
    scene.client.must_open("ssh", Family::V4, &["--ttl", "2s"]);
    scene.server.kill9();
    assert!(place.holds(&entry), "{:?}", place.book());
    let over = || !spa_tests::nft::ruleset(&net.server).contains("laptop");
    assert!(wait_until(PATIENCE, over), "the kernel ends it");
    assert!(place.holds(&entry), "nobody was there to close it");
    scene.server.launch();
    place.await_empty();
}

#[test]
fn a_killed_process_is_started_anew_and_holds_up_nobody() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("killed", DESK);
    let config = enforced(&place.program(), 60, "timeout = \"1s\"");
    let mut scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
    await_ready(&scene);
    let entry = format!("ssh {}/32 tcp/22", net.client.address(Family::V4));
    scene.client.must_open("ssh", Family::V4, &[]);
    let (watch, inner) = processes(&mut scene);
    let mark = scene.server.log().mark();
    kill(Pid::from_raw(inner.cast_signed()), Signal::SIGKILL).unwrap();
    scene.server.log().wait_since(mark, &["event=enforcer-ready", "enforcer=desk"]);
    await_ready(&scene);
    assert!(place.holds(&entry), "{:?}", place.book());
    assert!(scene.server.control(&["close", "--all"]).status.success());
    place.await_empty();
    // Both: until a restart it opens nothing, and others are as good as ever.
    kill(Pid::from_raw(watch.cast_signed()), Signal::SIGKILL).unwrap();
    scene.server.wait_log(&["event=enforcer-ended", "enforcer=desk"]);
    let busy = scene.client.open("ssh", Family::V4, &["--timeout", "4s"]);
    assert!(!busy.status.success(), "{busy:?}");
    scene.client.must_open("web", Family::V4, &[]);
    assert!(scene.is_hidden(Family::V4, SSH));
    let text = String::from_utf8(scene.server.control(&["status"]).stdout).unwrap();
    assert!(text.contains("warning: enforcer desk is not ready"), "{text}");
}
