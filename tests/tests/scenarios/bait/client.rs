//! Clients and baits: a knock goes before a touch.

use super::*;

#[test]
fn a_forged_touch_does_not_lock_a_client_out_unless_strict() {
    need_namespaces!();
    for (authenticated, locked_out) in [("pardon", false), ("strict", true)] {
        let pit = pit(&config().set("server.authenticated", &format!("\"{authenticated}\"")));
        both(|family| {
            let client = &pit.net.client;
            pit.scene.client.must_open("ssh", family, &[]);
            let mut held = hold(client, pit.at(family, scene::SSH), PATIENCE);
            let forger = pit.forger();
            pit.syn(&forger, client.address(family), TELNET);
            pit.settle(&forger, family);
            let what = format!("{family} {authenticated}");
            assert_eq!(pit.ban(client.address(family)).is_some(), locked_out, "{what}");
            assert_eq!(held.is_alive(SILENCE), !locked_out, "{what}");
            let seen = if locked_out { TcpProbe::Silent } else { TcpProbe::Open };
            assert_eq!(pit.seen(client, family, scene::SSH), seen, "{what}");
            assert_eq!(pit.seen(client, family, PUBLIC), seen, "{what}");
        });
    }
}

#[test]
fn a_touch_before_the_knock_is_pardoned_by_it() {
    need_namespaces!();
    let pit = pit(&config());
    both(|family| {
        let client = &pit.net.client;
        pit.syn(&pit.forger(), client.address(family), TELNET);
        pit.wait_ban(client.address(family), 3600);
        assert_eq!(pit.seen(client, family, PUBLIC), TcpProbe::Silent, "{family}");
        pit.scene.client.must_open("ssh", family, &[]);
        assert_eq!(pit.ban(client.address(family)), None, "{family}");
        assert_eq!(pit.seen(client, family, PUBLIC), TcpProbe::Open, "{family}");
    });
}

#[test]
fn baits_around_the_knock_ports_catch_no_knock() {
    need_namespaces!();
    let run = |capture: &str, hide: &str| {
        let config = config()
            .set("capture.mode", &format!("\"{capture}\""))
            .set("firewall.hide", &format!("\"{hide}\""))
            .bait("around", "ports = [\"udp/30000-50000\", \"tcp/30000-50000\"]\nban = \"10m\"");
        let pit = pit(&config);
        both(|family| {
            let what = format!("{family} {capture} {hide}");
            let forger = pit.forger();
            // A stranger's packet to a knock port is no touch; one beside it is.
            for (number, port) in (0..).zip([40_001, 40_002, 40_003]) {
                pit.udp(&forger, stranger(family, number), port);
            }
            for (number, port) in (10..).zip([40_000, 40_004, 30_000, 50_000]) {
                pit.udp(&forger, stranger(family, number), port);
            }
            // Knocks are UDP: the same port of TCP is a bait like the others.
            pit.syn(&forger, stranger(family, 14), 40_001);
            pit.settle(&forger, family);
            for number in 0..3 {
                assert_eq!(pit.ban(stranger(family, number)), None, "{what}: knock port {number}");
            }
            for number in 10..15 {
                assert_eq!(pit.ban(stranger(family, number)), Some(600), "{what}: touch {number}");
            }
            pit.scene.client.must_open("ssh", family, &[]);
            assert_eq!(pit.ban(pit.net.client.address(family)), None, "{what}");
            assert!(pit.scene.is_open(family, scene::SSH), "{what}");
        });
    };
    thread::scope(|scope| {
        for capture in ["ring", "nflog", "udp"] {
            for hide in ["drop", "closed"] {
                scope.spawn(move || run(capture, hide));
            }
        }
    });
}
