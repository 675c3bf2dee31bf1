//! Services on the router and behind it, and how the script is replaced and undone.

use std::net::SocketAddr;

use spa_tests::config::Config;
use spa_tests::daemon::Server;
use spa_tests::netns::{Routed, routed};
use spa_tests::probe::{EchoServer, TcpProbe, UdpEcho, UdpProbe, hold, tcp, udp};
use spa_tests::scene::{PATIENCE, SILENCE};
use spa_tests::{Family, need_namespaces, nft, wait_until};

use super::{Router, gateway, render};

/// The router's own service, an inner host behind its NAT in each family, and a routed one.
fn services() -> Config {
    Config::default()
        .set("firewall.interfaces", "[\"eth0\"]")
        .service("own", "ports = [\"tcp/8291\", \"udp/5353\"]")
        .service("web4", "ports = [\"tcp/8080\"]\nhook = \"forward\"\nto = \"192.0.2.1:80\"")
        .service("web6", "ports = [\"tcp/8086\"]\nhook = \"forward\"\nto = \"[2001:db8:1::1]:80\"")
        .service("mail", "ports = [\"tcp/25\"]\nhook = \"forward\"\nestablished = \"drop\"")
}

struct Scene {
    server: Server,
    router: Router,
    script: String,
    net: Routed,
    _tcp: Vec<EchoServer>,
    _udp: UdpEcho,
}

fn scene(config: &Config, arguments: &[&str]) -> Scene {
    let net = routed();
    let server = Server::prepare(&net.server, config);
    let script = render(&server, arguments);
    let mut router = Router::new(&net.router);
    router.run(&script);
    let _tcp = [(&net.router, 8291), (&net.router, 99), (&net.server, 80), (&net.server, 25)]
        .map(|(host, port)| EchoServer::start(host, port));
    let _udp = UdpEcho::start(&net.router, 5353);
    Scene { server, router, script, net, _tcp: _tcp.into(), _udp }
}

impl Scene {
    fn on_router(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(gateway(&self.net.client, family), port)
    }

    /// The port of `web` and the name, which have a family.
    fn web(&self, family: Family) -> (SocketAddr, &'static str) {
        match family {
            Family::V4 => (self.on_router(family, 8080), "spa-web4"),
            Family::V6 => (self.on_router(family, 8086), "spa-web6"),
        }
    }

    fn probe(&self, target: SocketAddr, patience: std::time::Duration) -> TcpProbe {
        tcp(&self.net.client, target, patience)
    }

    /// Everything that a stranger must not reach, and whether it is silent.
    fn is_hidden(&self, family: Family, patience: std::time::Duration) -> bool {
        let inner = self.net.server.at(family, 80);
        [self.on_router(family, 8291), self.web(family).0, inner, self.net.server.at(family, 25)]
            .iter()
            .all(|target| self.probe(*target, patience) == TcpProbe::Silent)
    }
}

#[test]
fn each_list_opens_its_service_alone() {
    need_namespaces!();
    let mut scene = scene(&services(), &[]);
    for family in Family::BOTH {
        let client = scene.net.client.address(family);
        let own = scene.on_router(family, 8291);
        let mail = scene.net.server.at(family, 25);
        assert!(scene.is_hidden(family, SILENCE), "{family}");
        assert_eq!(scene.probe(scene.on_router(family, 99), PATIENCE), TcpProbe::Open, "{family}");
        let question = scene.on_router(family, 5353);
        let asked = udp(&scene.net.client, question, SILENCE);
        assert_eq!(asked, UdpProbe::Silent, "{family}");

        scene.router.admit(family, "spa-own", client, "30m");
        assert_eq!(scene.probe(own, PATIENCE), TcpProbe::Open, "{family}");
        assert_eq!(udp(&scene.net.client, question, PATIENCE), UdpProbe::Answered, "{family}");
        assert_eq!(scene.probe(mail, SILENCE), TcpProbe::Silent, "{family}");
        assert_eq!(scene.probe(scene.web(family).0, SILENCE), TcpProbe::Silent, "{family}");

        let (web, list) = scene.web(family);
        scene.router.admit(family, list, client, "30m");
        assert_eq!(scene.probe(web, PATIENCE), TcpProbe::Open, "{family}");
        assert_eq!(scene.probe(mail, SILENCE), TcpProbe::Silent, "{family}");
        let other = tcp(&scene.net.stranger, scene.net.server.at(family, 80), SILENCE);
        assert_eq!(other, TcpProbe::Silent, "{family}");
    }
}

#[test]
fn a_flow_ends_with_its_entry_where_the_service_says_so() {
    need_namespaces!();
    let mut scene = scene(&services(), &[]);
    for family in Family::BOTH {
        let client = scene.net.client.address(family);
        let (web, list) = scene.web(family);
        let ends =
            |router: &Router, list| wait_until(PATIENCE, || router.list(family, list).is_empty());
        for (list, target, lives) in
            [(list, web, true), ("spa-mail", scene.net.server.at(family, 25), false)]
        {
            scene.router.admit(family, list, client, "3s");
            // The router forgets what was added by hand, so that later scripts do not add it anew.
            scene.router.scripts.pop();
            let mut held = hold(&scene.net.client, target, PATIENCE);
            assert!(held.is_alive(PATIENCE), "{family} {list}");
            assert!(ends(&scene.router, list), "{family} {list}");
            let patience = if lives { PATIENCE } else { SILENCE };
            assert_eq!(held.is_alive(patience), lives, "{family} {list}");
        }
    }
}

#[test]
fn pasted_again_it_is_the_same_and_never_open_in_between() {
    need_namespaces!();
    let mut scene = scene(&services(), &[]);
    let before = nft::ruleset(&scene.net.router);
    let script = scene.script.clone();
    let steps = scene.router.steps(&script);
    assert!(steps.len() > 40, "{} steps", steps.len());
    for (number, rules) in steps.iter().enumerate() {
        nft::load(&scene.net.router, rules);
        let patience = std::time::Duration::from_millis(20);
        for family in Family::BOTH {
            assert!(scene.is_hidden(family, patience), "{family}: open after step {number}");
        }
    }
    scene.router.run(&script);
    assert_eq!(nft::ruleset(&scene.net.router), before);

    let undo = super::render_undo(&scene.server);
    scene.router.admit(Family::V4, "spa-own", scene.net.client.address(Family::V4), "30m");
    for _ in 0..2 {
        scene.router.run(&undo);
        let rules = scene.router.interpret(&[]);
        assert!(!rules.contains("add rule ip ros chain_spa"), "{rules}");
        assert!(!rules.contains("jump"), "{rules}");
        assert_eq!(scene.router.list(Family::V4, "spa-own"), []);
    }
    for family in Family::BOTH {
        let open = scene.probe(scene.on_router(family, 8291), PATIENCE);
        assert_eq!(open, TcpProbe::Open, "{family}: the undoing opens what was hidden");
    }
}

#[test]
fn version_six_has_no_nat_of_ipv6() {
    need_namespaces!();
    let mut scene = scene(&services(), &["--routeros", "6"]);
    assert!(!scene.script.contains("/ipv6 firewall nat"), "{}", scene.script);
    let family = Family::V6;
    let client = scene.net.client.address(family);
    scene.router.admit(family, "spa-web6", client, "30m");
    let inner = scene.net.server.at(family, 80);
    assert_eq!(scene.probe(inner, PATIENCE), TcpProbe::Open, "the inner host's own address");
    assert_eq!(tcp(&scene.net.stranger, inner, SILENCE), TcpProbe::Silent);
}

#[test]
fn closed_ports_refuse_as_others_do() {
    need_namespaces!();
    let scene = scene(&services().set("firewall.hide", "\"closed\""), &[]);
    for family in Family::BOTH {
        let own = scene.probe(scene.on_router(family, 8291), PATIENCE);
        assert_eq!(own, TcpProbe::Refused, "{family}");
    }
}
