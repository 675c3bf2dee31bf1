//! A service with a range of ports: opened as a whole, and shown as a range.

use spa_tests::nft;
use spa_tests::scene::config;

use super::*;

#[test]
fn a_range_for_mosh_is_opened_as_a_whole_and_shown_as_a_range() {
    need_namespaces!();
    let net = lan();
    let ports = "ports = [\"tcp/22\", \"udp/60000-61000\"]\nttl = \"60s\"";
    let config = config(60).service("mosh", ports);
    let mut scene = Scene::ready(&net.server, &net.client, &config, &["mosh"]);
    both(|family| drop(scene.client.must_open("mosh", family, &[])));
    let opened = |family: Family| {
        let set = format!("grant{}", family.digit());
        let elements = nft::elements(&net.server, "inet", "spa", &set).unwrap_or_default();
        elements.len()
    };
    for family in Family::BOTH {
        assert_eq!(opened(family), 1002, "{family}");
    }
    for command in [
        &["check", "--offline"][..],
        &["status"],
        &["status", "--json"],
        &["grants", "--json"],
        &["clients"],
        &["explain", "laptop", "mosh"],
        &["client", "list"],
        &["firewall", "print"],
        &["audit"],
    ] {
        let output = scene.server.control(command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("60001"), "{command:?}: {text}");
    }
    // After a restart the kernel's elements are one grant again, which closes as a whole.
    scene.server.restart();
    let output = scene.server.control(&["close", "--client", "laptop"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.lines().count(), 2, "{text}");
    for family in Family::BOTH {
        assert_eq!(opened(family), 0, "{family}");
    }
}
