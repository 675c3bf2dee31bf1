//! Bait ports: who touches one is banned, and nobody else.

mod ban;
mod client;
mod gateway;
mod touch;

use std::net::{IpAddr, SocketAddr};
use std::thread;

use spa_tests::bans::{ban_of, banned_as, bans, stranger};
use spa_tests::config::Config;
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::nft;
use spa_tests::packet::{self, ACK, FIN, PSH, Packet, RST, SYN, TCP, URG};
use spa_tests::probe::{EchoServer, TcpProbe, UdpEcho, UdpProbe, hold, ping, tcp, tcp_from, udp};
use spa_tests::raw::Forger;
use spa_tests::scene::{self, PATIENCE, SILENCE, Scene, both};
use spa_tests::{Family, need_namespaces, wait_until};

/// A bait that every test has, to show that everything before it has been dealt with.
const TELNET: u16 = 23;
/// A port of the host that is none of our business in guard mode.
const PUBLIC: u16 = 443;

fn config() -> Config {
    scene::config(600).bait("telnet", "ports = [\"tcp/23\"]\nban = \"1h\"")
}

struct Pit {
    scene: Scene,
    _public: EchoServer,
    net: Lan,
}

fn pit(config: &Config) -> Pit {
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, config, &["ssh"]);
    let public = EchoServer::start(&net.server, PUBLIC);
    Pit { scene, _public: public, net }
}

impl Pit {
    fn at(&self, family: Family, port: u16) -> SocketAddr {
        self.net.server.at(family, port)
    }

    fn forger(&self) -> Forger {
        Forger::new(&self.net.stranger)
    }

    fn syn(&self, forger: &Forger, source: IpAddr, port: u16) {
        forger.syn((source, 50_000).into(), self.at(Family::of(source), port));
    }

    fn udp(&self, forger: &Forger, source: IpAddr, port: u16) {
        forger.udp((source, 50_000).into(), self.at(Family::of(source), port), b"anyone there?");
    }

    /// The time that a source is banned for, in seconds.
    fn ban(&self, source: IpAddr) -> Option<u64> {
        ban_of(&self.net.server, source).map(|ban| ban.timeout.expect("a ban ends"))
    }

    /// Returns when everything that this forger has sent before has met the rules.
    fn settle(&self, forger: &Forger, family: Family) {
        let last = stranger(family, 0xffff);
        self.syn(forger, last, TELNET);
        self.wait_ban(last, 3600);
    }

    fn wait_ban(&self, source: IpAddr, seconds: u64) {
        let family = Family::of(source);
        let banned = wait_until(PATIENCE, || self.ban(source) == Some(seconds));
        assert!(
            banned,
            "{source} is not banned for {seconds} s: {:?}",
            bans(&self.net.server, family)
        );
    }

    fn seen(&self, from: &Host, family: Family, port: u16) -> TcpProbe {
        self.scene.seen(from, family, port)
    }
}
