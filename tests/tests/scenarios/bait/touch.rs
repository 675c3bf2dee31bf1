//! What counts as a touch.

use super::*;

#[test]
fn every_group_has_its_ports_and_its_time() {
    need_namespaces!();
    let config = config()
        .bait("windows", "ports = [\"tcp/3389\", \"tcp/5900-5910\"]\nban = \"10m\"")
        .bait("chatty", "ports = [\"udp/161\", \"udp/1900-1902\", \"tcp/1900\"]\nban = \"90s\"")
        .bait("later", "ports = [\"tcp/5905-5920\"]\nban = \"5m\"");
    let pit = pit(&config);
    let touched = [
        ("tcp", 23, "telnet", 3600),
        ("tcp", 3389, "windows", 600),
        ("tcp", 5900, "windows", 600),
        // In two groups: the first in the file counts.
        ("tcp", 5907, "windows", 600),
        ("tcp", 5910, "windows", 600),
        ("tcp", 5911, "later", 300),
        ("tcp", 5920, "later", 300),
        ("udp", 161, "chatty", 90),
        ("udp", 1900, "chatty", 90),
        ("udp", 1902, "chatty", 90),
        ("tcp", 1900, "chatty", 90),
    ];
    let harmless = [
        ("udp", 23),
        ("tcp", 22),
        ("tcp", 24),
        ("tcp", 3388),
        ("tcp", 3390),
        ("tcp", 5899),
        ("tcp", 5921),
        ("tcp", 161),
        ("udp", 160),
        ("udp", 1899),
        ("udp", 1903),
        ("tcp", 1901),
        ("udp", 40_001),
        ("tcp", 40_001),
    ];
    both(|family| {
        let forger = pit.forger();
        let touch = |protocol: &str, number: u16, port: u16| match protocol {
            "tcp" => pit.syn(&forger, stranger(family, number), port),
            _ => pit.udp(&forger, stranger(family, number), port),
        };
        for (number, (protocol, port)) in (100..).zip(harmless) {
            touch(protocol, number, port);
        }
        for (number, (protocol, port, _, _)) in (0..).zip(touched) {
            touch(protocol, number, port);
        }
        pit.settle(&forger, family);
        for (number, (protocol, port, group, seconds)) in (0..).zip(touched) {
            let source = stranger(family, number);
            assert_eq!(pit.ban(source), Some(seconds), "{family} {protocol}/{port}");
            pit.scene.server.wait_log(&[
                "event=banned",
                &format!("source={source} "),
                &format!("bait={group} "),
                &format!("port={protocol}/{port} "),
                &format!("time={seconds}s"),
            ]);
        }
        for (number, (protocol, port)) in (100..).zip(harmless) {
            assert_eq!(
                pit.ban(stranger(family, number)),
                None,
                "{family} {protocol}/{port} is no bait"
            );
        }
    });
    let all = 2 * (touched.len() + 1);
    assert_eq!(pit.scene.server.status()["bans"], all);
}

#[test]
fn the_first_touch_looks_like_a_hidden_port() {
    need_namespaces!();
    for (hide, look) in [("drop", TcpProbe::Silent), ("closed", TcpProbe::Refused)] {
        let config = config().set("firewall.hide", &format!("\"{hide}\""));
        let pit = pit(&config.bait("chatty", "ports = [\"udp/161\", \"tcp/161\"]\nban = \"1h\""));
        // Baits with something behind them: it must not show through.
        let _behind =
            (EchoServer::start(&pit.net.server, TELNET), UdpEcho::start(&pit.net.server, 161));
        both(|family| {
            let (client, stranger) = (&pit.net.client, &pit.net.stranger);
            assert_eq!(pit.seen(stranger, family, scene::SSH), look, "{family} {hide}");
            assert_eq!(pit.seen(stranger, family, TELNET), look, "{family} {hide}");
            pit.wait_ban(stranger.address(family), 3600);
            assert_eq!(pit.seen(stranger, family, scene::SSH), TcpProbe::Silent, "{family} {hide}");
            let look = if hide == "drop" { UdpProbe::Silent } else { UdpProbe::Refused };
            assert_eq!(udp(client, pit.at(family, 161), SILENCE), look, "{family} {hide}");
            pit.wait_ban(client.address(family), 3600);
        });
    }
}

#[test]
fn only_a_first_packet_bans() {
    need_namespaces!();
    let pit = pit(&config());
    both(|family| {
        let forger = pit.forger();
        let target = pit.at(family, TELNET);
        let end = |number| SocketAddr::new(stranger(family, number), 50_000);
        let flags = [
            ACK,
            RST,
            RST | ACK,
            FIN,
            FIN | ACK,
            0,
            FIN | PSH | URG,
            SYN | ACK,
            SYN | FIN,
            SYN | RST,
        ];
        for (number, flags) in (0..).zip(flags) {
            forger.send(&packet::tcp(end(number), target, flags, &[]));
        }
        let [first, last] = halves(end(100), target);
        forger.send(&first);
        let [_, last_alone] = halves(end(101), target);
        forger.send(&last_alone);
        pit.settle(&forger, family);
        for (number, flags) in (0..).zip(flags) {
            assert_eq!(
                pit.ban(stranger(family, number)),
                None,
                "{family}: flags {flags:#04x} banned"
            );
        }
        for number in [100, 101] {
            assert_eq!(pit.ban(stranger(family, number)), None, "{family}: a lone fragment banned");
        }
        // The whole is a SYN: cutting it does not get it past the bait. Nor do the bits of RFC
        // 3168.
        forger.send(&last);
        forger.send(&packet::tcp(end(102), target, SYN | 0xc0, &[]));
        pit.wait_ban(stranger(family, 100), 3600);
        pit.wait_ban(stranger(family, 102), 3600);
    });
}

/// A SYN with data as two fragments (RFC 791, RFC 8200 4.5); the first has the whole header.
fn halves(source: SocketAddr, target: SocketAddr) -> [Vec<u8>; 2] {
    let whole = Packet::of_ip(&packet::tcp(source, target, SYN, &[7; 12])).unwrap();
    let (head, tail) = whole.segment.split_at(24);
    let piece = |part: &[u8], offset: u16, more: bool| match source.ip() {
        IpAddr::V4(_) => {
            let mut bytes = packet::ip(source.ip(), target.ip(), TCP, part);
            let field = (offset / 8) | if more { 0x2000 } else { 0 };
            // The kernel renews the header's checksum on the way out.
            bytes[6..8].copy_from_slice(&field.to_be_bytes());
            bytes
        }
        IpAddr::V6(_) => {
            let field = offset | u16::from(more);
            let mut segment = vec![TCP, 0];
            segment.extend(field.to_be_bytes());
            segment.extend(7_u32.to_be_bytes());
            segment.extend(part);
            packet::ip(source.ip(), target.ip(), 44, &segment)
        }
    };
    [piece(head, 0, true), piece(tail, 24, false)]
}

#[test]
fn the_hosts_own_connections_are_no_touches() {
    need_namespaces!();
    let pit =
        pit(&config()
            .bait("wide", "ports = [\"tcp/1000-65535\", \"udp/1000-39000\"]\nban = \"10m\""));
    let (server, stranger) = (&pit.net.server, &pit.net.stranger);
    let _elsewhere = (EchoServer::start(stranger, 7), UdpEcho::start(stranger, 7));
    server.sysctl("net/ipv4/ip_local_port_range", "20000 30000");
    both(|family| {
        assert_eq!(tcp(server, stranger.at(family, 7), PATIENCE), TcpProbe::Open, "{family}");
        assert_eq!(udp(server, stranger.at(family, 7), PATIENCE), UdpProbe::Answered, "{family}");
        assert_eq!(pit.ban(stranger.address(family)), None, "{family}");
    });
}
