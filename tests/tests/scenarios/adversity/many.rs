//! Thousands of grants are closed at once, by an administrator and by a reload: knocks are heard
//! meanwhile.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use spa_tests::need_namespaces;
use spa_tests::netns::{Lan, lan};
use spa_tests::scene::{Scene, WEB, both, config};

use super::*;

const GRANTS: u32 = 1_500;

/// A server with so many grants for `web`, over both families by turns, and one client who may open
/// `ssh`.
fn crowded() -> (Lan, Scene) {
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(3600), &["ssh"]);
    let mut control = Control::new(&scene.server);
    for number in 0..GRANTS {
        let source: IpAddr = if number % 2 == 0 {
            Ipv4Addr::from_bits(0x0a00_0000 + number).into()
        } else {
            Ipv6Addr::from_bits(0x2001_0db8_0077_0000_0000_0000_0000_0000 + u128::from(number))
                .into()
        };
        let answer =
            control.tell(&format!(r#""command":"open","service":"web","source":"{source}""#));
        assert_eq!(answer["ok"], true, "{source}: {answer}");
    }
    (net, scene)
}

/// Does it under knocks. Of the lines from the first grant that is closed to the last one, those
/// about opened grants: with a server that does one after the other there are none.
fn heard_while(net: &Lan, scene: &Scene, close: impl FnOnce()) -> Vec<String> {
    let knocker = Knocker::of(&scene.client);
    let stop = AtomicBool::new(false);
    let mark = scene.server.log().mark();
    thread::scope(|scope| {
        let knocks = scope.spawn(|| knocks(&knocker, &net.client, &net.server, &stop));
        scene.server.log().wait_since(mark, &["event=granted", "client=laptop"]);
        close();
        stop.store(true, Ordering::Relaxed);
        assert!(knocks.join().unwrap() > 1);
    });
    let lines = scene.server.log().lines().split_off(mark);
    let closed = |line: &String| line.contains("event=closed") && line.contains("service=web");
    let (first, last) =
        (lines.iter().position(closed).unwrap(), lines.iter().rposition(closed).unwrap());
    assert_eq!(lines.iter().filter(|line| closed(line)).count(), GRANTS as usize);
    eprintln!("{GRANTS} grants, first and last line:\n{}\n{}", lines[first], lines[last]);
    let opened = |line: &&String| line.contains("event=granted") || line.contains("event=renewed");
    lines[first..last].iter().filter(opened).cloned().collect()
}

#[test]
fn all_are_closed_under_knocks() {
    need_namespaces!();
    let (net, scene) = crowded();
    let heard = heard_while(&net, &scene, || {
        let answer = Control::new(&scene.server).tell(r#""command":"close","all":true"#);
        assert_eq!(answer["ok"], true, "{answer}");
        assert!(answer["closed"].as_array().unwrap().len() >= GRANTS as usize);
    });
    assert!(!heard.is_empty(), "no knock was heard while they were closed");
    both(|family| {
        assert!(grants(&net.server, family).len() <= 1, "{family}");
        assert!(scene.is_hidden(family, WEB), "{family}");
    });
}

#[test]
fn a_reload_ends_all_under_knocks() {
    need_namespaces!();
    let (net, scene) = crowded();
    scene
        .server
        .configure(&Config::default().service("ssh", "ports = [\"tcp/22\"]\nttl = \"3600s\""));
    let heard = heard_while(&net, &scene, || {
        let answer = Control::new(&scene.server).ask("reload");
        assert_eq!(answer["ok"], true, "{answer}");
        // Whoever is told so finds them closed.
        both(|family| assert!(grants(&net.server, family).len() <= 1, "{family}"));
    });
    assert!(!heard.is_empty(), "no knock was heard while they were closed");
}
