//! An enforcer that refuses, hangs, dies or talks nonsense: clear words, nothing half open, and
//! nobody else held up.

use spa_tests::netns::lan;
use spa_tests::scene::SSH;
use spa_tests::{Family, need_namespaces};

use super::*;

#[test]
fn nothing_is_open_unless_it_is_open_everywhere() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("faults", DESK);
    let config =
        enforced(&place.program(), 60, "timeout = \"1s\"\nexpires = true\nends-flows = true");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
    await_ready(&scene);
    for (fault, words) in [
        ("refuse", "the table is full"),
        ("hang", "no answer in time"),
        ("half", "in the middle of a line"),
        ("garbage", "not an answer"),
        ("twice", "more than one line"),
        ("exit", "the program has ended"),
    ] {
        for family in Family::BOTH {
            await_ready(&scene);
            let mark = scene.server.log().mark();
            place.fail(fault);
            let busy = scene.client.open("ssh", family, &["--timeout", "3s"]);
            assert!(!busy.status.success(), "{fault}: {busy:?}");
            assert_eq!(busy.json["services"][0]["reason"], "firewall", "{fault}: {busy:?}");
            let line = scene.server.log().wait_since(mark, &["event=failed", "reason=firewall"]);
            assert!(line.contains("enforcer desk: ") && line.contains(words), "{fault}: {line}");
            // The last try of the client may be under way: it is taken back as well.
            let hidden = || scene.is_hidden(family, SSH);
            assert!(wait_until(PATIENCE, hidden), "{fault}");
            // Another service is as good as ever, at the same time.
            scene.client.must_open("web", family, &[]);
            place.fail("");
            place.await_empty();
        }
    }
    await_ready(&scene);
    scene.client.must_open("ssh", Family::V4, &[]);
    let metrics = String::from_utf8(scene.server.control(&["metrics"]).stdout).unwrap();
    assert!(metrics.contains("spa_enforcer_ready{enforcer=\"desk\"} 1"), "{metrics}");
    assert!(!metrics.contains("spa_enforcer_failures_total{enforcer=\"desk\"} 0"), "{metrics}");
}

#[test]
fn what_one_has_opened_is_taken_back_when_another_refuses() {
    need_namespaces!();
    let net = lan();
    let (place, second) = (Place::with_program("first", DESK), Place::with_program("second", DESK));
    let config = enforced(&place.program(), 60, "timeout = \"1s\"")
        .replaced("[\"desk\"]", "[\"desk\", \"second\"]")
        .append(&format!(
            "[[enforcer]]\nname = \"second\"\nkind = \"exec\"\ncommand = [\"{}\"]\n",
            second.program().display()
        ));
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    await_ready(&scene);
    scene.server.wait_log(&["event=enforcer-ready", "enforcer=second"]);
    second.fail("refuse");
    let busy = scene.client.open("ssh", Family::V4, &["--timeout", "2s"]);
    assert!(!busy.status.success(), "{busy:?}");
    let asked = fs::read_to_string(place.0.join("asked")).unwrap();
    assert!(asked.contains("\"ttl\""), "the first was asked: {asked}");
    place.await_empty();
    second.await_empty();
    assert!(wait_until(PATIENCE, || scene.is_hidden(Family::V4, SSH)));
    second.fail("");
    scene.client.must_open("ssh", Family::V4, &[]);
    assert!(place.holds("ssh ") && second.holds("ssh "));
}

#[test]
fn a_renewal_that_fails_leaves_the_grant_as_it_was() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("renewal", DESK);
    let config =
        enforced(&place.program(), 60, "timeout = \"1s\"\nexpires = true\nends-flows = true");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    await_ready(&scene);
    scene.client.must_open("ssh", Family::V4, &["--ttl", "40s"]);
    place.fail("refuse");
    let busy = scene.client.open("ssh", Family::V4, &["--ttl", "1000s"]);
    assert!(!busy.status.success(), "{busy:?}");
    assert!(scene.is_open(Family::V4, SSH));
    let left = scene.server.status()["grants"][0]["left-s"].as_f64().unwrap();
    assert!((1.0..=40.0).contains(&left), "{left}");
}

#[test]
fn a_slow_one_is_waited_for_and_others_are_not_held_up() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("slow", DESK);
    let config =
        enforced(&place.program(), 60, "timeout = \"8s\"\nexpires = true\nends-flows = true");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
    await_ready(&scene);
    place.fail("slow");
    std::thread::scope(|scope| {
        let knock = || scene.client.open("ssh", Family::V4, &["--timeout", "15s"]);
        let slow = scope.spawn(knock);
        let asked = || fs::read_to_string(place.0.join("asked")).unwrap_or_default();
        assert!(wait_until(PATIENCE, || asked().contains("\"ttl\"")), "it is asked");
        // Meanwhile.
        scene.client.must_open("web", Family::V4, &[]);
        assert!(!slow.is_finished());
        place.fail("");
        assert!(slow.join().unwrap().status.success());
    });
    assert!(scene.is_open(Family::V4, SSH));
    // An administrator waits likewise, and is told.
    let source = net.client.address(Family::V4).to_string();
    assert!(scene.server.control(&["close", "--all"]).status.success());
    place.await_empty();
    assert!(scene.server.control(&["open", "ssh", "--for", &source]).status.success());
    assert!(place.holds("ssh "), "{:?}", place.book());
    assert!(scene.server.control(&["close", "--all"]).status.success());
    place.fail("refuse");
    let refused = scene.server.control(&["open", "ssh", "--for", &source]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("the table is full"), "{said}");
    assert_eq!(scene.server.status()["grants"].as_array().unwrap().len(), 0);
}

#[test]
fn a_copier_gets_nothing_from_one_that_cannot_end_flows() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("copier", DESK);
    let scene =
        Scene::ready(&net.server, &net.client, &enforced(&place.program(), 60, ""), &["ssh"]);
    await_ready(&scene);
    scene.client.must_open("ssh", Family::V4, &[]);
    assert!(place.holds("ssh "));
    // One request to open: for the grant that its client has confirmed.
    let asked = fs::read_to_string(place.0.join("asked")).unwrap();
    let opens: Vec<&str> = asked.lines().filter(|line| line.contains("\"ttl\"")).collect();
    assert_eq!(opens.len(), 1, "{opens:?}");
    assert!(opens[0].contains("\"ttl\":60"), "{opens:?}");
    let check = scene.server.control(&["check", "--offline"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("opens after the client's CONFIRM"), "{said}");
}
