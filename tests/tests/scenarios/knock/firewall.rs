//! The host around the server: a foreign firewall, and what a default drop must leave alive.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use spa_tests::netns::{Host, lan, routed};
use spa_tests::probe::{EchoServer, TcpProbe, tcp};
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::{Family, need_namespaces, nft};

/// An administrator's own firewall: whatever is not named is dropped.
const FOREIGN: &str = "table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    }
}";
const ACCEPT_SSH: &str = "add rule inet filter input tcp dport 22 accept";

#[test]
fn ring_behind_a_foreign_drop() {
    silent_capture_behind_a_foreign_drop("ring");
}

#[test]
fn nflog_behind_a_foreign_drop() {
    silent_capture_behind_a_foreign_drop("nflog");
}

/// The knock is read ahead of the foreign chain; the connection still has to pass it.
fn silent_capture_behind_a_foreign_drop(mode: &str) {
    need_namespaces!();
    let net = lan();
    nft::load(&net.server, FOREIGN);
    let config = config(60).set("capture.mode", &format!("\"{mode}\""));
    let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
    scene.server.wait_log(&["event=obstacle", "chain=\"inet filter input\"", "policy is drop"]);
    let before = nft::ruleset(&net.server);
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
        let service = &opened.json["services"][0];
        assert_eq!(
            (&service["granted"], &service["reason"]),
            (&true.into(), &"unreachable".into()),
            "{opened:?}"
        );
        assert!(opened.stderr.contains("another firewall"), "{family}: {opened:?}");
        let source = format!("source={} ", net.client.address(family));
        scene.server.wait_log(&["event=granted", "service=ssh", &source]);
        assert!(scene.is_hidden(family, SSH), "{family}: the foreign chain must have its way");
    });
    let foreign = |ruleset: &str| {
        ruleset.split("table ").find(|t| t.starts_with("inet filter")).map(str::to_owned)
    };
    assert_eq!(
        foreign(&before),
        foreign(&nft::ruleset(&net.server)),
        "the foreign table was touched"
    );
    // What the log advises.
    nft::load(&net.server, ACCEPT_SSH);
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}");
        assert_eq!(
            scene.seen(&net.stranger, family, SSH),
            TcpProbe::Silent,
            "{family}: guard does not guard"
        );
    });
}

/// A bound socket sits behind every firewall: the administrator must let the knocks through.
#[test]
fn udp_behind_a_foreign_drop() {
    need_namespaces!();
    let net = lan();
    nft::load(&net.server, FOREIGN);
    nft::load(&net.server, ACCEPT_SSH);
    let scene =
        Scene::new(&net.server, &net.client, &config(60).set("capture.mode", "\"udp\""), &["ssh"]);
    scene.server.wait_log(&["event=obstacle", "chain=\"inet filter input\""]);
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
        assert_eq!(opened.json["services"][0]["reason"], "no-answer", "{family}: {opened:?}");
        assert!(scene.is_hidden(family, SSH), "{family}");
    });
    nft::load(&net.server, "add rule inet filter input udp dport { 40001, 40002, 40003 } accept");
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}");
    });
}

#[test]
fn standalone_hides_everything_and_the_host_lives_on() {
    need_namespaces!();
    let net = lan();
    let config = config(60).set("firewall.mode", "\"standalone\"");
    let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
    let outside = EchoServer::start(&net.client, 7);
    both(|family| {
        for port in [SSH, WEB, 81] {
            assert!(scene.is_hidden(family, port), "{family}, {port}");
        }
        let own: SocketAddr = match family {
            Family::V4 => ([127, 0, 0, 1], SSH).into(),
            Family::V6 => ([0, 0, 0, 0, 0, 0, 0, 1], SSH).into(),
        };
        assert_eq!(tcp(&net.server, own, PATIENCE), TcpProbe::Open, "{family}: loopback");
        let own = net.server.at(family, SSH);
        assert_eq!(tcp(&net.server, own, PATIENCE), TcpProbe::Open, "{family}: its own address");
        let target = net.client.at(family, outside.port());
        assert_eq!(
            tcp(&net.server, target, PATIENCE),
            TcpProbe::Open,
            "{family}: from inside to outside"
        );

        // Both must ask for each other's link-layer address anew.
        for host in [&net.client, &net.server] {
            host.ip(&[&format!("{} neigh flush dev {}", family.switch(), Host::DEVICE)]);
        }
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}: neighbours no longer find each other");
        assert!(scene.is_hidden(family, WEB) && scene.is_hidden(family, 81), "{family}");
    });
}

/// A narrow link behind the router, which the server learns of only by the router's ICMP error.
#[test]
fn standalone_heeds_path_mtu() {
    need_namespaces!();
    const NARROW: u32 = 1400;
    let net = routed();
    net.router.ip(&[&format!("link set client mtu {NARROW}")]);
    // The client itself keeps to the narrow link, and tells nobody.
    let (narrow, wide) = (format!("mtu {NARROW}"), ["advmss 1460", "advmss 1440"]);
    net.client.ip(&[
        &format!("route change default via 198.51.100.254 {narrow} {}", wide[0]),
        &format!("-6 route change default via 2001:db8:c::fe {narrow} {}", wide[1]),
    ]);
    let config = config(60)
        .service("bulk", "ports = [\"tcp/9000\"]\nttl = \"60s\"")
        .set("firewall.mode", "\"standalone\"");
    let scene = Scene::new(&net.server, &net.client, &config, &["bulk"]);
    for family in Family::BOTH {
        let listener = net.server.run(|| TcpListener::bind(net.server.at(family, 9000)).unwrap());
        let sender = thread::spawn(move || {
            // The client's own test of the port comes first, and reads nothing.
            while let Ok((mut stream, _)) = listener.accept() {
                if stream.write_all(&[7; 300_000]).is_ok()
                    && stream.shutdown(Shutdown::Write).is_ok()
                {
                    let mut rest = Vec::new();
                    if stream.read_to_end(&mut rest).is_ok() && rest == b"done" {
                        return;
                    }
                }
            }
        });
        scene.client.must_open("bulk", family, &[]);
        let target = net.server.at(family, 9000);
        let mut stream = net.client.run(|| TcpStream::connect_timeout(&target, PATIENCE).unwrap());
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap_or_else(|error| {
            panic!("{family}: {} bytes came, then: {error}", received.len())
        });
        assert_eq!(received.len(), 300_000, "{family}");
        stream.write_all(b"done").unwrap();
        drop(stream);
        sender.join().unwrap();
        let target = net.client.address(family).to_string();
        let route = net.server.command("ip").args(["route", "get", &target]).output().unwrap();
        let route = String::from_utf8_lossy(&route.stdout).into_owned();
        assert!(
            route.contains(&narrow),
            "{family}: nothing was too big, so nothing is proved: {route}"
        );
    }
}
