//! The wall clock jumps under a running server with open doors.

use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};

use super::*;

const HOUR: i64 = 3600;

#[test]
fn the_clock_is_set_while_doors_are_open() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let scene = Scene::aged(host, &net.client, &config(600), &["ssh"]);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let left = || Family::BOTH.map(|family| grants(host, family)[0].expires.unwrap());
    for offset in [HOUR, -HOUR] {
        let before = left();
        scene.server.set_clock_offset(offset);
        // Grants have the kernel's timers, which no clock moves.
        both(|family| {
            // One that it may not open: a client that follows the clock would renew the other.
            let opened = scene.client.open("web", family, &["--timeout", "2s"]);
            assert!(
                !opened.status.success() || opened.json["services"][0]["granted"] == false,
                "{opened:?}"
            );
            assert!(opened.stderr.contains("clock"), "{offset}, {family}: {}", opened.stderr);
            let source = format!("source={} ", net.client.address(family));
            scene.server.wait_log(&["event=stale", "client=laptop", &source, "skew-ms="]);
            assert!(scene.is_open(family, SSH), "{offset}, {family}");
            assert_eq!(
                scene.seen(&net.stranger, family, SSH),
                TcpProbe::Silent,
                "{offset}, {family}"
            );
        });
        for (before, after) in before.into_iter().zip(left()) {
            assert!(after <= before && after + 20 > before, "{offset}: {before} s, then {after} s");
        }
        scene.server.set_clock_offset(0);
        both(|family| drop(scene.client.must_open("ssh", family, &[])));
    }
}
