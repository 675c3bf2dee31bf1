//! An address on a bridge, whose packets netfilter sees before the bridge's own interface does.

use spa_tests::need_namespaces;
use spa_tests::netns::{Lan, lan};
use spa_tests::scene::{Scene, config};

use super::*;

/// Puts the server's card under a bridge, which takes its addresses.
fn put_on_bridge(net: &Lan) {
    let [v4, v6] = Family::BOTH.map(|family| net.server.address(family));
    net.server.ip(&[
        "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        &format!("address flush dev {}", Host::DEVICE),
        &format!("route flush dev {}", Host::DEVICE),
        &format!("-6 route flush dev {}", Host::DEVICE),
        &format!("link set {} master br0", Host::DEVICE),
        "link set br0 up",
        &format!("address add {v4}/24 dev br0"),
        &format!("address add {v6}/64 dev br0 nodad"),
        "route replace default dev br0",
        "-6 route replace default dev br0",
    ]);
    for other in [&net.client, &net.stranger] {
        other.ip(&[&format!("neigh flush dev {}", Host::DEVICE)]);
    }
}

#[test]
fn h2_knocks_are_heard_below_a_bridge_that_calls_netfilter() {
    need_namespaces!();
    for mode in ["ring", "nflog", "udp"] {
        let net = lan();
        put_on_bridge(&net);
        let config = config(60).set("capture.mode", &format!("\"{mode}\""));
        let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
        for calls in ["0", "1", "0"] {
            for key in ["iptables", "ip6tables"] {
                net.server.sysctl(&format!("net/bridge/bridge-nf-call-{key}"), calls);
            }
            for family in Family::BOTH {
                let what = format!("{mode} {family} with {calls}");
                assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{what}");
                scene.client.must_open("ssh", family, &[]);
                assert!(scene.is_open(family, SSH), "{what}");
                assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{what}");
            }
            assert!(scene.server.control(&["close", "--all"]).status.success());
        }
    }
}
