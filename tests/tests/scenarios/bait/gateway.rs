//! Addresses that this host cannot do without.

use super::*;

/// Makes these the gateways of both families.
fn route_by(host: &Host, [v4, v6]: [IpAddr; 2]) {
    host.ip(&[
        &format!("route replace default via {v4} dev {} onlink", Host::DEVICE),
        &format!("-6 route replace default via {v6} dev {} onlink", Host::DEVICE),
    ]);
}

/// A packet in the name of the gateway would else cut the host off for the ban's time.
#[test]
fn f9_the_gateway_is_never_banned() {
    need_namespaces!();
    let net = lan();
    let first = Family::BOTH.map(|family| net.client.address(family));
    route_by(&net.server, first);
    let config = config().bait("chatty", "ports = [\"udp/161\"]\nban = \"1h\"");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let public = EchoServer::start(&net.server, PUBLIC);
    let pit = Pit { scene, _public: public, net };
    let forger = pit.forger();
    let touch = |source: IpAddr| {
        pit.udp(&forger, source, 161);
        pit.syn(&forger, source, TELNET);
    };
    for gateway in first {
        touch(gateway);
        pit.settle(&forger, Family::of(gateway));
        assert_eq!(pit.ban(gateway), None, "the gateway {gateway}");
    }
    // Another one, while the server runs.
    let second = Family::BOTH.map(|family| stranger(family, 77));
    route_by(&pit.net.server, second);
    for gateway in second {
        let family = Family::of(gateway);
        let set = format!("never{}", family.digit());
        let named = || {
            let never = nft::elements(&pit.net.server, "inet", "spa", &set).unwrap_or_default();
            never.iter().any(|element| element.key == [gateway.to_string()])
        };
        assert!(wait_until(PATIENCE, named), "the new gateway {gateway}");
        touch(gateway);
        let last = stranger(family, 78);
        touch(last);
        pit.wait_ban(last, 3600);
        assert_eq!(pit.ban(gateway), None, "the new gateway {gateway}");
    }
    for former in first {
        touch(former);
        pit.wait_ban(former, 3600);
    }
    let check = pit.scene.server.control(&["check"]);
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains("bait `chatty` has udp/161: one forged datagram"), "{said}");
}
