//! Capture `udp` on a host where a local user holds knock ports: that takes no rights.

use std::net::UdpSocket;

use spa_tests::netns::lan;
use spa_tests::probe::TcpProbe;
use spa_tests::raw::udp_socket_at;
use spa_tests::scene::{PATIENCE, SSH, Scene, config};
use spa_tests::{Family, need_namespaces, wait_until};

fn told(scene: &Scene) -> (Vec<String>, String) {
    let ports = scene.server.status()["missing-ports"].clone();
    let ports = serde_json::from_value(ports).unwrap();
    let metrics = scene.server.control(&["metrics"]);
    let metrics = String::from_utf8(metrics.stdout).unwrap();
    let figure = metrics.lines().find_map(|l| l.strip_prefix("spa_missing_knock_ports "));
    (ports, figure.unwrap().to_owned())
}

fn is_told(scene: &Scene, ports: &[&str]) {
    let same = || {
        let (told, figure) = told(scene);
        let found = ports.iter().zip(&told).all(|(port, told)| told.starts_with(port));
        figure == ports.len().to_string() && told.len() == ports.len() && found
    };
    assert!(wait_until(PATIENCE, same), "{ports:?}: {:?}", told(scene));
}

#[test]
fn l2_a_held_knock_port_is_told_and_taken_when_it_is_free() {
    need_namespaces!();
    let net = lan();
    // On loopback only: enough against a socket for all addresses.
    let holder: UdpSocket = udp_socket_at(&net.server, "127.0.0.1:40002".parse().unwrap());
    let config = config(60).set("capture.mode", "\"udp\"");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    scene.server.wait_log(&["event=knock-port-taken", "udp/40002 over IPv4"]);
    is_told(&scene, &["udp/40002 over IPv4"]);
    let text = String::from_utf8(scene.server.control(&["status"]).stdout).unwrap();
    assert!(text.contains("warning: no knock is received at udp/40002 over IPv4"), "{text}");
    let check = String::from_utf8(scene.server.control(&["check", "--live"]).stdout).unwrap();
    assert!(check.contains("knock port udp/40002 is in use"), "{check}");

    // What is free is heard, and everything stays hidden.
    scene.client.must_open("ssh", Family::V6, &[]);
    assert!(scene.is_open(Family::V6, SSH));
    assert_eq!(scene.seen(&net.stranger, Family::V4, SSH), TcpProbe::Silent);
    let unheard = scene.client.open("ssh", Family::V4, &["--timeout", "1s"]);
    assert!(!unheard.status.success(), "{unheard:?}");

    drop(holder);
    scene.server.wait_log(&["event=knock-ports-free"]);
    is_told(&scene, &[]);
    scene.client.must_open("ssh", Family::V4, &[]);
    assert!(scene.is_open(Family::V4, SSH));

    // A reload to a port that is held is no other case.
    let holder = udp_socket_at(&net.server, "[::1]:40009".parse().unwrap());
    scene.server.configure(&config.set("sequence.ports", "[40001, 40002, 40009]"));
    let reloaded = scene.server.control(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    is_told(&scene, &["udp/40009 over IPv6"]);
    drop(holder);
    is_told(&scene, &[]);
}

#[test]
fn l2_held_ports_of_a_hop_range_are_told_and_the_others_heard() {
    need_namespaces!();
    let net = lan();
    let config = config(60)
        .unset("sequence.ports")
        .set("sequence.hop", "\"20000-20099\"")
        .set("sequence.stages", "3")
        .set("capture.mode", "\"udp\"");
    let mut scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    is_told(&scene, &[]);
    scene.client.must_open("ssh", Family::V4, &[]);
    assert!(scene.server.stop().success());
    let hold = |port| net.server.run(|| UdpSocket::bind(("127.0.0.1", port)).unwrap());
    let held: Vec<UdpSocket> = (20_000..20_100).map(hold).collect();
    scene.server.launch();
    scene.server.wait_fence();
    let (ports, figure) = told(&scene);
    assert!(ports.len() >= 3 && figure == ports.len().to_string(), "{ports:?} {figure}");
    assert!(ports.iter().all(|port| port.contains("over IPv4")), "{ports:?}");
    scene.client.must_open("ssh", Family::V6, &[]);
    drop(held);
    is_told(&scene, &[]);
    scene.client.must_open("ssh", Family::V4, &[]);
}
