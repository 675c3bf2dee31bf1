//! The profile of `pkg/examples/hostile-networks.toml`, through a network that lets out nothing but
//! port 443. Only the paths are changed, and the time for which a new server refuses knocks.

use std::path::Path;

use spa_tests::config::Config;
use spa_tests::daemon::{Client, Server};
use spa_tests::netns::{Routed, routed};
use spa_tests::probe::{EchoServer, TcpProbe, tcp};
use spa_tests::scene::{PATIENCE, SILENCE};
use spa_tests::tap::{outside, translate};
use spa_tests::{Family, need_namespaces, nft};

const HTTPS: u16 = 443;

struct Hotel {
    server: Server,
    client: Client,
    _service: EchoServer,
    // Last: a server that is dropped in a panic shows its rules.
    net: Routed,
}

/// The client behind a router that drops all but port 443 in both directions.
fn hotel() -> Hotel {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples/hostile-networks.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let here = "[server]\nkey = \"{dir}/server.key\"\nclients = \"{dir}/clients.toml\"\nstate = \
        \"{dir}/state\"\ncontrol = \"{dir}/control.sock\"\nhosts = [\"192.0.2.1\", \
        \"2001:db8:1::1\"]\nwindow-future = \"1s\"\n";
    assert!(text.contains("[server]\n"));
    let net = routed();
    let service = EchoServer::start(&net.server, HTTPS);
    let config = Config::literal(&text.replacen("[server]\n", here, 1));
    let mut server = Server::prepare(&net.server, &config);
    let client = Client::enrolled(&net.client, &server, "laptop", &["ssh"]);
    server.launch();
    server.wait_fence();
    nft::load(
        &net.router,
        "table inet hotel { chain forward { type filter hook forward priority filter; policy drop;
            ct state established accept;
            meta l4proto icmpv6 accept;
            iifname client meta l4proto { tcp, udp } th dport 443 accept;
            iifname stranger accept; }; }",
    );
    Hotel { net, server, client, _service: service }
}

fn opens(hotel: &Hotel, family: Family) {
    hotel.client.must_open("ssh", family, &["--timeout", "20s"]);
    let at = hotel.net.server.at(family, HTTPS);
    assert_eq!(tcp(&hotel.net.client, at, PATIENCE), TcpProbe::Open, "{family}");
    // From the first grant on, but not before the client knows of it.
    hotel.server.wait_log(&["event=hidden service=ssh"]);
    let stranger = tcp(&hotel.net.stranger, at, SILENCE);
    assert_ne!(stranger, TcpProbe::Open, "{family}");
}

#[test]
fn one_stage_to_port_443_gets_through() {
    need_namespaces!();
    let hotel = hotel();
    // That network is what it claims to be: another port is not let out.
    for family in Family::BOTH {
        let other = hotel.net.server.at(family, 22);
        assert_eq!(tcp(&hotel.net.client, other, SILENCE), TcpProbe::Silent, "{family}");
        opens(&hotel, family);
    }
    let log = hotel.server.log().lines().join("\n");
    assert!(log.contains("event=hidden service=ssh"), "{log}");
}

#[test]
fn behind_a_translator_with_a_third_of_datagrams_lost() {
    need_namespaces!();
    let hotel = hotel();
    translate(&hotel.net);
    nft::load(
        &hotel.net.router,
        "table inet loss { chain forward { type filter hook forward priority filter - 5;
            meta l4proto udp numgen random mod 3 0 drop; }; }",
    );
    for family in Family::BOTH {
        opens(&hotel, family);
        let granted = hotel.server.log().lines();
        let from = outside(family).to_string();
        assert!(granted.iter().any(|line| line.contains(&from)), "{granted:?}");
        // Not only for the moment until the client has confirmed its address.
        let whole = granted.iter().any(|line| line.contains("ttl=600s") && line.contains(&from));
        assert!(whole, "{granted:?}");
    }
}
