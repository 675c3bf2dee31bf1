//! What server and client say, or do not.

use serde_json::{Value, json};
use spa_tests::Family;
use spa_tests::capture::Sniffer;
use spa_tests::need_namespaces;
use spa_tests::netns::{Host, lan};
use spa_tests::packet::TCP;
use spa_tests::scene::{SSH, Scene, both, config};

/// With `ack = "off"` not one byte answers a knock; that the service answers is the only sign.
#[test]
fn without_acks_the_server_says_nothing() {
    need_namespaces!();
    let net = lan();
    let scene =
        Scene::ready(&net.server, &net.client, &config(60).set("server.ack", "\"off\""), &["ssh"]);
    both(|family| {
        let sniffer = Sniffer::start(&net.server, Host::DEVICE);
        let json = scene.client.must_open("ssh", family, &[]);
        let service = &json["services"][0];
        assert_eq!((&service["granted"], &service["ttl"]), (&true.into(), &Value::Null), "{json}");
        assert_eq!(service["families"][0]["reachable"], true, "{json}");
        assert!(scene.is_open(family, SSH), "{family}");
        sniffer.catch_up(&net.server, Host::DEVICE);
        let said = sniffer.sent_by(net.server.address(family));
        let tcp = |packet: &&spa_tests::packet::Packet| packet.protocol == TCP;
        assert!(said.iter().any(|packet| tcp(&packet)), "{family}: the sniffer is deaf");
        let other: Vec<_> = said.iter().filter(|packet| !tcp(packet)).collect();
        assert!(other.is_empty(), "{family}: {other:?}");
    });
}

#[test]
fn json_tells_service_ttl_addresses_and_families() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    let mut command = scene.client.command("spa-client");
    let output = command.args(["open", "ssh@server", "--json", "--ttl", "45s"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    let mut told: Value = serde_json::from_str(&text).unwrap();
    let families = told["services"][0]["families"].as_array_mut().unwrap();
    for family in families.iter_mut() {
        let rtt = family["rtt-ms"].take();
        assert!(rtt.as_f64().is_some_and(|ms| ms > 0.0 && ms < 15_000.0), "{rtt}");
    }
    let family = |family| {
        json!({
            "address": net.server.address(family), "observed": net.client.address(family),
            "rtt-ms": null, "reachable": true, "reason": null,
        })
    };
    let expected = json!({
        "version": 1, "host": "server",
        "services": [{
            "service": "ssh", "granted": true, "ttl": 45, "reason": null,
            "families": [family(Family::V4), family(Family::V6)],
        }],
    });
    assert_eq!(told, expected);
}
