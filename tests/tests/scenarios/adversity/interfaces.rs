//! Interfaces go and come back, addresses change.

use std::net::{IpAddr, SocketAddr};

use spa_tests::config::Config;
use spa_tests::netns::{Lan, lan};
use spa_tests::raw::udp_socket_at;
use spa_tests::scene::{Scene, both, config};
use spa_tests::{need_namespaces, wait_until};

use super::*;

const DEVICE: &str = Host::DEVICE;

/// Every capture, on all interfaces and on a named one.
fn settings() -> impl Iterator<Item = (String, Config)> {
    let modes =
        [("ring", false), ("ring", true), ("nflog", false), ("nflog", true), ("udp", false)];
    modes.into_iter().map(|(mode, named)| {
        let config = config(600).set("capture.mode", &format!("\"{mode}\""));
        let names = format!("[\"{DEVICE}\"]");
        let config = if named {
            config.set("capture.interfaces", &names).set("firewall.interfaces", &names)
        } else {
            config
        };
        (format!("{mode}, named {named}"), config)
    })
}

/// Addresses and routes of the server, as they were.
fn dress(net: &Lan) {
    let [v4, v6] = Family::BOTH.map(|family| net.server.address(family));
    net.server.ip(&[
        &format!("address replace {v4}/24 dev {DEVICE}"),
        &format!("-6 address replace {v6}/64 dev {DEVICE} nodad"),
        &format!("route replace default dev {DEVICE}"),
        &format!("-6 route replace default dev {DEVICE}"),
    ]);
    // What others remember of the old card would hold them up for half a minute.
    for other in [&net.client, &net.stranger] {
        other.ip(&[&format!("neigh flush dev {DEVICE}")]);
    }
}

/// Knocks until it is open: what was on its way when the link came up may be lost.
fn opens(scene: &Scene, what: &str) {
    both(|family| {
        let knocked = || scene.client.open("ssh", family, &[]).status.success();
        assert!(wait_until(PATIENCE, knocked), "{what} {family}");
        assert!(scene.is_open(family, SSH), "{what} {family}");
    });
}

#[test]
fn a_link_goes_down_and_up() {
    need_namespaces!();
    thread::scope(|scope| {
        for (what, config) in settings() {
            scope.spawn(move || {
                let net = lan();
                let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
                opens(&scene, &what);
                net.server.ip(&[&format!("link set {DEVICE} down")]);
                assert!(
                    !scene.client.open("ssh", Family::V4, &["--timeout", "1s"]).status.success()
                );
                let named = format!("name={DEVICE}");
                scene.server.wait_log(&["event=interface", &named, "state=down"]);
                net.server.ip(&[&format!("link set {DEVICE} up")]);
                dress(&net);
                scene.server.wait_log(&["event=interface", &named, "state=up"]);
                opens(&scene, &format!("{what}, up again"));
                both(|family| {
                    assert_eq!(
                        scene.seen(&net.stranger, family, SSH),
                        TcpProbe::Silent,
                        "{what} {family}"
                    );
                });
            });
        }
    });
}

/// As with ppp: the interface is another one, with the same name.
#[test]
fn a_link_is_made_anew_with_its_name() {
    need_namespaces!();
    thread::scope(|scope| {
        for (what, config) in settings() {
            scope.spawn(move || {
                let net = lan();
                let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
                opens(&scene, &what);
                let closed = scene.server.control(&["close", "--all"]);
                assert!(closed.status.success(), "{closed:?}");
                for round in 0..3 {
                    net.server.ip(&[&format!("link delete {DEVICE}")]);
                    net.net.link(&net.server, DEVICE, &net.switch, "p1");
                    net.switch.ip(&["link set p1 master br0"]);
                    dress(&net);
                    scene.server.wait_log(&["event=interface", &format!("name={DEVICE}")]);
                    opens(&scene, &format!("{what}, round {round}"));
                    both(|family| {
                        let seen = scene.seen(&net.stranger, family, SSH);
                        assert_eq!(seen, TcpProbe::Silent, "{what} {family} {round}");
                    });
                    assert!(scene.server.control(&["close", "--all"]).status.success());
                }
            });
        }
    });
}

#[test]
fn addresses_come_go_and_change() {
    need_namespaces!();
    let fresh: [IpAddr; 2] = ["192.0.2.77".parse().unwrap(), "2001:db8:1::77".parse().unwrap()];
    thread::scope(|scope| {
        for (what, config) in settings() {
            scope.spawn(move || {
                let net = lan();
                let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
                opens(&scene, &what);
                assert!(scene.server.control(&["close", "--all"]).status.success());
                let knocker = Knocker::of(&scene.client);
                // One more, then the only ones.
                for only in [false, true] {
                    for (family, fresh) in Family::BOTH.into_iter().zip(fresh) {
                        if only {
                            let old = net.server.address(family);
                            let length = if old.is_ipv4() { 24 } else { 64 };
                            net.server
                                .ip(&[&format!("address delete {old}/{length} dev {DEVICE}")]);
                        } else {
                            net.server.add_address(fresh);
                        }
                        if only && fresh.is_ipv4() {
                            net.server
                                .ip(&[&format!("route replace default dev {DEVICE} src {fresh}")]);
                        }
                    }
                    for (family, fresh) in Family::BOTH.into_iter().zip(fresh) {
                        let socket =
                            udp_socket_at(&net.client, (net.client.address(family), 0).into());
                        let knocked = || {
                            for (port, packet) in knocker.session("ssh").packets() {
                                // The neighbour may not be found yet.
                                let _again = socket.send_to(packet, SocketAddr::new(fresh, *port));
                            }
                            wait_until(GLANCE * 6, || grants(&net.server, family).len() == 1)
                        };
                        assert!(wait_until(PATIENCE, knocked), "{what} {family} only {only}");
                        let open = tcp(&net.client, (fresh, SSH).into(), PATIENCE);
                        assert_eq!(open, TcpProbe::Open, "{what} {family} only {only}");
                        let hidden = tcp(&net.stranger, (fresh, SSH).into(), GLANCE * 6);
                        assert_eq!(hidden, TcpProbe::Silent, "{what} {family} only {only}");
                    }
                    assert!(scene.server.control(&["close", "--all"]).status.success());
                    for address in fresh {
                        let address = format!("address={address}");
                        scene.server.wait_log(&[
                            "event=address",
                            &address,
                            &format!("interface={DEVICE}"),
                            "state=new",
                        ]);
                    }
                }
                for family in Family::BOTH {
                    let gone = format!("address={}", net.server.address(family));
                    scene.server.wait_log(&["event=address", &gone, "state=gone"]);
                }
                dress(&net);
                opens(&scene, &format!("{what}, as before"));
            });
        }
    });
}
