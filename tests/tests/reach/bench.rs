//! A server with its services, a client with a grant and a stranger; and what `check` and their
//! packets say.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::daemon::Server;
use spa_tests::netns::{Host, Lan};
use spa_tests::probe::{EchoServer, TcpProbe, UdpEcho, UdpProbe, tcp, udp};
use spa_tests::{Family, process};

/// How long a port that must stay silent is listened to.
const SILENCE: Duration = Duration::from_millis(250);

/// Services of every bench: name, and whether it is TCP, and port.
pub(crate) const SERVICES: [(&str, bool, u16); 2] = [("ssh", true, 22), ("game", false, 5000)];

/// What packets do, or what is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// A stranger gets no answer of the service.
    pub(crate) hidden: Option<bool>,
    /// Whoever has a grant gets one, to a second packet as well.
    pub(crate) reachable: Option<bool>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |answer| match answer {
            Some(true) => "yes",
            Some(false) => "no",
            None => "undecided",
        };
        write!(f, "hidden {}, reachable {}", word(self.hidden), word(self.reachable))
    }
}

/// A running server in a network.
pub(crate) struct Bench {
    /// The server; it ends before its network.
    pub(crate) server: Server,
    /// The network.
    pub(crate) net: Lan,
    _listeners: (EchoServer, UdpEcho),
}

/// The configuration of a bench with these interfaces.
pub(crate) fn config(interfaces: &str) -> Config {
    Config::default()
        .set("firewall.interfaces", interfaces)
        .service("ssh", "ports = [\"tcp/22\"]\nttl = \"60s\"")
        .service("game", "ports = [\"udp/5000\"]\nttl = \"60s\"")
}

impl Bench {
    /// Starts the server; `prepare` is given the network first.
    pub(crate) fn start(net: Lan, config: &Config) -> Self {
        let listeners = (EchoServer::start(&net.server, 22), UdpEcho::start(&net.server, 5000));
        let server = Server::start(&net.server, config);
        Self { net, server, _listeners: listeners }
    }

    /// Runs a script on the server's host; false when the kernel or a tool cannot do it here.
    pub(crate) fn try_script(&self, script: &str) -> bool {
        let output = process::output(self.net.server.command("sh").args(["-ec", script]));
        if !output.status.success() {
            eprintln!("not here: {script}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    /// Takes away every table but ours.
    pub(crate) fn clear(&self) {
        let script = "nft list tables | grep -v ' inet spa' | sed 's/^table/delete table/' \
            | nft -f -";
        process::succeed(self.net.server.command("sh").args(["-ec", script]));
    }

    /// What `check` says: the rows, with the reasons.
    pub(crate) fn ask(&self) -> Vec<Value> {
        let output = self.server.control(&["check", "--live", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        answer["reach"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// What packets do at a service.
    pub(crate) fn probe(&self, family: Family, service: &str) -> Seen {
        let (_, is_tcp, port) =
            *SERVICES.iter().find(|(name, ..)| *name == service).expect("a service");
        let target = self.net.server.at(family, port);
        let gets = |host: &Host| match is_tcp {
            true => tcp(host, target, SILENCE) == TcpProbe::Open,
            false => udp(host, target, SILENCE) == UdpProbe::Answered,
        };
        let hidden = !gets(&self.net.stranger);
        let client = self.net.client.address(family).to_string();
        let opened = self.server.control(&["open", service, "--for", &client]);
        assert!(opened.status.success(), "{opened:?}");
        // A second packet of the client's must come through as well.
        let reachable = match is_tcp {
            true => echoes(&self.net.client, target).is_ok(),
            false => gets(&self.net.client) && gets(&self.net.client),
        };
        let closed = self.server.control(&["close", "--all"]);
        assert!(closed.status.success(), "{closed:?}");
        Seen { hidden: Some(hidden), reachable: Some(reachable) }
    }
}

/// Connects, and gets back what it sends.
fn echoes(host: &Host, target: SocketAddr) -> io::Result<()> {
    host.run(|| {
        let mut stream = TcpStream::connect_timeout(&target, SILENCE)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.write_all(b"question")?;
        stream.read_exact(&mut [0; 8])
    })
}

/// The answers of a row.
pub(crate) fn said(row: &Value) -> Seen {
    let answer = |of: &str| match row[of]["answer"].as_str() {
        Some("yes") => Some(true),
        Some("no") => Some(false),
        Some("undecided") => None,
        other => panic!("{other:?} in {row}"),
    };
    Seen { hidden: answer("hidden"), reachable: answer("reachable") }
}

/// Runs `ip` lines of a test's own in the namespace.
pub(crate) fn ip(host: &Host, lines: &[&str]) {
    for line in lines {
        let mut command = Command::new("ip");
        process::succeed(command.args(["-n", host.namespace()]).args(line.split_whitespace()));
    }
}
