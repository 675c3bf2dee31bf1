//! `spa-server explain`: which rule would say no, and what the last knocks came to.

use spa_tests::daemon::{Client, Opened};
use spa_tests::netns::lan;
use spa_tests::scene::{self, Scene};
use spa_tests::session::Session;
use spa_tests::{Family, need_namespaces};

#[test]
fn every_rule_says_its_word() {
    need_namespaces!();
    let net = lan();
    let config = scene::config(600).set("server.authenticated", "\"strict\"");
    let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
    let server = &scene.server;
    let add = |name: &str, arguments: &[&str]| {
        Client::enrolled_with(
            &net.client,
            server,
            name,
            &[&["--service", "ssh"], arguments].concat(),
        )
    };
    add(
        "office",
        &[
            "--hours",
            "Mon-Fri 08:00-18:00",
            "--from",
            "203.0.113.0/24",
            "--from",
            "2001:db8:5::/48",
        ],
    );
    let guest = add("guest", &["--from", "203.0.113.0/24", "--from", "2001:db8:5::/48"]);
    add("past", &["--expires", "2024-02-29"]);
    add("brief", &["--expires", "2099-12-31", "--ttl", "20s", "--max-ttl", "2m"]);
    let one = add("one", &["--service", "web", "--max-grants", "1"]);
    let carrier = add("carrier", &["--grant-prefix-v4", "24", "--third-party"]);
    server.wait_fence();

    let mut session = Session::new();
    session.run(server, "explain laptop ssh");
    session.run(server, "explain laptop ssh --json");
    session.run(server, "explain nobody ssh");
    session.run(server, "explain laptop sssh");
    session.run(server, "explain laptop web --json");
    session.run(server, "explain past ssh --from 198.51.100.10");
    session.run(server, "explain past ssh --at 2024-02-01T12:00:00Z");
    session.run(server, "explain brief ssh --from 2001:db8:c::10");
    // 2026-12-24 is a Thursday. The rules of time are asked about another time, in the server's own
    // zone.
    session.run(server, "explain office ssh --at \"2026-12-24 22:00\"");
    session.run(server, "explain office ssh --at \"2026-12-24 17:59\"");
    session.run(server, "explain office ssh --at \"2026-12-24 17:59\" --from 203.0.113.66");
    session.run(server, "explain office ssh --at \"2026-12-24 17:59\" --from 2001:db8:5::66");
    session.run(server, "explain office ssh --at \"2026-12-24 17:59\" --from 198.51.100.10");
    session.run(server, "explain office ssh --at \"2026-12-24\"");
    // For another address, for a carrier's network, for a time.
    session.run(server, "explain laptop ssh --from 198.51.100.10 --for 203.0.113.66");
    session.run(server, "explain laptop ssh --for 203.0.113.66");
    session.run(server, "explain carrier ssh --from 198.51.100.10");
    session.run(server, "explain carrier ssh --from 198.51.100.10 --for 203.0.113.66 --json");
    session.run(server, "explain carrier ssh");
    session.run(server, "explain brief ssh --from 198.51.100.10 --ttl 90s");
    session.run(server, "explain brief ssh --from 198.51.100.10 --ttl 5m");
    session.run(server, "explain brief ssh --ttl 90s --at 2099-12-30T23:59:00Z");

    // What it says is what happens, and what happened is told.
    let denied = |opened: Opened| assert_eq!(opened.status.code(), Some(1), "{opened:?}");
    denied(guest.open("ssh", Family::V4, &[]));
    denied(guest.open("ssh", Family::V6, &[]));
    session.run(server, "explain guest ssh --from 198.51.100.10");
    one.must_open("ssh", Family::V6, &[]);
    session.run(server, "explain one ssh --from 2001:db8:c::10");
    session.run(server, "explain one web --from 2001:db8:c::10");
    denied(one.open("web", Family::V6, &[]));
    // A knock from elsewhere in the network that it has open would renew.
    carrier.must_open("ssh", Family::V4, &[]);
    session.run(server, "explain carrier ssh --from 198.51.100.77");
    session.run(server, "close --client carrier");
    session.run(server, "close --client one");
    session.run(server, "explain one web --from 2001:db8:c::10");
    session.run(server, "ban 198.51.100.10 --time 10m");
    session.run(server, "explain laptop ssh --from 198.51.100.10");
    session.run(server, "explain laptop ssh --from 198.51.100.10 --at 2099-01-01T00:00:00Z");
    session.end("explain");
}

#[test]
fn after_a_crash_the_fence_says_no() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &scene::config(600), &["ssh"]);
    scene.server.wait_fence();
    scene.client.must_open("ssh", Family::V4, &[]);
    scene.server.kill9();
    scene.server.launch();
    let output = scene.server.control(&["explain", "laptop", "ssh", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &answer["refused-by"]),
        (Some(1), &"fence".into()),
        "{answer}"
    );
    assert_eq!(answer["rules"][1]["says"], "no", "{answer}");
    scene.server.wait_fence();
    assert!(scene.server.control(&["explain", "laptop", "ssh"]).status.success());
    // The memory is of this run; the grant is the kernel's.
    assert_eq!(answer["knocks"], serde_json::json!([]));
}
