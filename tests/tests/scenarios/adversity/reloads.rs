//! Reloads back to back while clients knock.

use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};

use super::*;

/// Reloads so often under knocks; answers the memory of broker and listener after a tenth of them
/// and after all.
fn reloads(count: u32) {
    let net = lan();
    let config = config(600);
    let mut scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let knocker = Knocker::of(&scene.client);
    let pids = [scene.server.daemon().pid(), scene.server.daemon().listener()];
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let names = |scene: &Scene| -> Vec<String> {
        let status = scene.server.status();
        let grants = status["grants"].as_array().unwrap();
        let mut names: Vec<String> =
            grants.iter().map(|g| format!("{} {}", g["grant"], g["source"])).collect();
        names.sort();
        names
    };
    let before = names(&scene);
    assert_eq!(before.len(), 2);

    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let (tenth, all, knocked, probed) = thread::scope(|scope| {
        let knocks = scope.spawn(|| knocks(&knocker, &net.client, &net.server, &stop));
        let probes = scope.spawn(|| probes(&net.stranger, &net.server, &stop));
        let mut control = Control::new(&scene.server);
        let mut tenth = [0; 2];
        for done in 1..=count {
            let answer = control.ask("reload");
            assert_eq!(answer["ok"], true, "reload {done}: {answer}");
            if done == count / 10 {
                tenth = pids.map(memory);
            }
        }
        let all = pids.map(memory);
        stop.store(true, Ordering::Relaxed);
        (tenth, all, knocks.join().unwrap(), probes.join().unwrap())
    });
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    eprintln!(
        "{count} reloads at {rate:.0}/s, {knocked} knocks; memory of broker and listener after {}: \
         {tenth:?}, after all: {all:?}",
        count / 10
    );
    assert!(knocked > 2, "{knocked} knocks");
    assert!(probed.tried > 0 && probed.open == 0, "a stranger came in {} times", probed.open);
    for (tenth, all) in tenth.into_iter().zip(all) {
        assert!(all * 10 <= tenth * 13, "memory grows: {tenth} bytes, then {all}");
    }
    assert_eq!(names(&scene), before, "grants are kept");
    both(|family| assert_eq!(grants(&net.server, family).len(), 1, "{family}"));
    let lines = scene.server.log().lines();
    let wrong = |line: &&String| {
        line.contains("event=reload-refused") || line.contains("firewall-restored")
    };
    assert_eq!(lines.iter().find(wrong), None);
}

#[test]
fn reloads_under_knocks() {
    need_namespaces!();
    reloads(500);
}

/// Minutes long: `cargo test --package spa-tests --test scenarios -- --ignored
/// ten_thousand_reloads`, as `make bench` does.
#[test]
#[ignore = "takes minutes; part of make bench"]
fn ten_thousand_reloads() {
    need_namespaces!();
    reloads(10_000);
}

/// While tables for very many clients are built, knocks are heard as ever.
#[test]
fn a_crowd_joins_under_knocks() {
    need_namespaces!();
    const CROWD: u32 = 5_000;
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    let knocker = Knocker::of(&scene.client);
    let clients = scene.server.folder().join("clients.toml");
    let crowd = fs::read_to_string(&clients).unwrap() + &spa_tests::crowd::stanzas(CROWD);
    fs::write(&clients, crowd).unwrap();
    let stop = AtomicBool::new(false);
    let knocked = thread::scope(|scope| {
        let knocks = scope.spawn(|| knocks(&knocker, &net.client, &net.server, &stop));
        for _ in 0..3 {
            let answer = Control::new(&scene.server).ask("reload");
            assert_eq!(
                (&answer["ok"], &answer["clients"]),
                (&true.into(), &(CROWD + 1).into()),
                "{answer}"
            );
        }
        stop.store(true, Ordering::Relaxed);
        knocks.join().unwrap()
    });
    assert!(knocked > 0);
    both(|family| assert!(grants(&net.server, family).len() <= 1, "{family}"));
    knock(&knocker, &Sender::new(&net.client, &net.server, Family::V6));
}
