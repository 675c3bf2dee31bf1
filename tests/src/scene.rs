//! The scene of most scenarios: a server with two services behind the firewall, and one enrolled
//! client.

use std::thread;
use std::time::Duration;

use crate::Family;
use crate::config::Config;
use crate::daemon::{Client, Server};
use crate::netns::Host;
use crate::probe::{EchoServer, TcpProbe, tcp, tcp_from};

/// How long something that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long a port that must stay silent is listened to.
pub const SILENCE: Duration = Duration::from_millis(300);
/// Port of the service `ssh`.
pub const SSH: u16 = 22;
/// Port of the service `web`.
pub const WEB: u16 = 80;

/// The default configuration with the services `ssh` (tcp/22) and `web` (tcp/80), each for this
/// many seconds.
pub fn config(ttl: u32) -> Config {
    Config::default()
        .service("ssh", &format!("ports = [\"tcp/22\"]\nttl = \"{ttl}s\""))
        .service("web", &format!("ports = [\"tcp/80\"]\nttl = \"{ttl}s\""))
}

/// A running server, its client, and real services on the server's host.
#[derive(Debug)]
pub struct Scene {
    /// The daemon.
    pub server: Server,
    /// The user `laptop`.
    pub client: Client,
    _listeners: [EchoServer; 2],
}

impl Scene {
    /// Starts all of it; `laptop` may open these services.
    pub fn new(server: &Host, client: &Host, config: &Config, services: &[&str]) -> Scene {
        Scene::crowd(server, client, config, services, &[]).0
    }

    /// The same, and waits until the server takes knocks: one with an empty store refuses those
    /// that may be older than it.
    pub fn ready(server: &Host, client: &Host, config: &Config, services: &[&str]) -> Scene {
        let scene = Scene::new(server, client, config, services);
        scene.server.wait_fence();
        scene
    }

    /// The same with more clients on the client's host, each with a key and a name of its own.
    pub fn crowd(
        server: &Host,
        client: &Host,
        config: &Config,
        services: &[&str],
        more: &[&str],
    ) -> (Scene, Vec<Client>) {
        let server = Server::prepare(server, config);
        let more =
            more.iter().map(|name| Client::enrolled(client, &server, name, services)).collect();
        (Scene::of(server, client, services), more)
    }

    /// The same with a server that is no new one, so that no fence of an empty store refuses
    /// anything, and under a clock that can be set.
    pub fn aged(server: &Host, client: &Host, config: &Config, services: &[&str]) -> Scene {
        let server = Server::prepare(server, config).with_clock();
        server.set_clock_offset(-7200);
        let mut scene = Scene::of(server, client, services);
        assert!(
            scene.server.stop().success(),
            "the server does not stop: {:?}",
            scene.server.log()
        );
        scene.server.set_clock_offset(0);
        scene.server.launch();
        // A clock that has moved by hours makes the past unknown.
        scene.server.wait_fence();
        scene
    }

    /// The same with a server that is prepared and does not run yet.
    pub fn of(mut server: Server, client: &Host, services: &[&str]) -> Scene {
        let listeners =
            [EchoServer::start(server.host(), SSH), EchoServer::start(server.host(), WEB)];
        let client = Client::enrolled(client, &server, "laptop", services);
        server.launch();
        Scene { server, client, _listeners: listeners }
    }

    /// The server's port as a host sees it.
    pub fn seen(&self, from: &Host, family: Family, port: u16) -> TcpProbe {
        self.seen_from(from, Family::any(family, 0).ip(), port)
    }

    /// The same from one address of that host.
    pub fn seen_from(&self, from: &Host, source: std::net::IpAddr, port: u16) -> TcpProbe {
        let family = Family::of(source);
        tcp_from(from, (source, 0).into(), self.server.host().at(family, port), SILENCE)
    }

    /// Whether the client gets through to a port.
    pub fn is_open(&self, family: Family, port: u16) -> bool {
        tcp(self.client.host(), self.server.host().at(family, port), PATIENCE) == TcpProbe::Open
    }

    /// Whether the client gets no sign of life from a port.
    pub fn is_hidden(&self, family: Family, port: u16) -> bool {
        self.seen(self.client.host(), family, port) == TcpProbe::Silent
    }
}

/// Runs a check for IPv4 and IPv6 at the same time.
pub fn both(check: impl Fn(Family) + Sync) {
    thread::scope(|scope| {
        let check = &check;
        let run = |family: Family| {
            thread::Builder::new()
                .name(family.to_string())
                .spawn_scoped(scope, move || check(family))
        };
        let running = Family::BOTH.map(|family| run(family).expect("a thread"));
        for one in running {
            one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
