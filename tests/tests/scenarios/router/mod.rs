//! A MikroTik router in front of the server. No RouterOS runs here: `tests/routeros/interpret.py`
//! makes nftables rules of a script, and the kernel of a namespace is the router.

mod recipe;
mod services;

use std::process::Command;

use spa_tests::config::Config;
use spa_tests::daemon::{Client, Server, binary};
use spa_tests::netns::{Host, Routed, routed};
use spa_tests::nft::{self, Element};
use spa_tests::temp::TempDir;
use spa_tests::{Family, nft::load};

/// Devices of the router that lead to strangers.
const WAN: &str = "WAN=client,stranger";

/// What every router has before ours: replies pass, and what is invalid does not.
const USUAL_RULES: &str = "\
/ip firewall filter
add action=accept chain=input comment=\"defconf: accept\" connection-state=established,related
add action=accept chain=forward comment=\"defconf: accept\" connection-state=established,related
/ipv6 firewall filter
add action=accept chain=input comment=\"defconf: accept\" connection-state=established,related
add action=accept chain=forward comment=\"defconf: accept\" connection-state=established,related
";

/// The router's firewall, as a history of scripts.
struct Router {
    host: Host,
    folder: TempDir,
    scripts: Vec<String>,
}

impl Router {
    /// A router with the usual rules.
    fn new(host: &Host) -> Self {
        let mut router = Self { host: host.clone(), folder: TempDir::new(), scripts: Vec::new() };
        router.run(USUAL_RULES);
        router
    }

    /// Runs one more script on the router.
    fn run(&mut self, script: &str) {
        self.scripts.push(script.to_owned());
        load(&self.host, &self.interpret(&[]));
    }

    /// The rules after each command of the next script, which is not run.
    fn steps(&mut self, script: &str) -> Vec<String> {
        self.scripts.push(script.to_owned());
        let steps = self.interpret(&["--steps"]);
        self.scripts.pop();
        steps.split("# step\n").skip(1).map(ToOwned::to_owned).collect()
    }

    fn interpret(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/routeros/interpret.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(script).args(arguments).arg(WAN);
        for (number, text) in self.scripts.iter().enumerate() {
            command.arg(self.folder.write(format!("{number}.rsc"), text));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// An address list as the router has it, without the entries that have ended.
    fn list(&self, family: Family, name: &str) -> Vec<Element> {
        let table = if family == Family::V4 { "ip" } else { "ip6" };
        let set = format!("list_{}", name.replace(['-', '.'], "_"));
        nft::elements(&self.host, table, "ros", &set).unwrap_or_default()
    }

    /// Adds to an address list by hand.
    fn admit(&mut self, family: Family, list: &str, address: std::net::IpAddr, time: &str) {
        let menu = if family == Family::V4 { "/ip" } else { "/ipv6" };
        self.run(&format!(
            "{menu} firewall address-list add list={list} address={address} timeout={time}"
        ));
    }
}

/// The router's own address on the side of a host.
fn gateway(host: &Host, family: Family) -> std::net::IpAddr {
    match host.address(family) {
        std::net::IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            std::net::Ipv4Addr::new(a, b, c, 254).into()
        }
        std::net::IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[7] = 0xfe;
            std::net::Ipv6Addr::from(segments).into()
        }
    }
}

/// The script for the router that `spa-server firewall render routeros` prints.
fn render(server: &Server, arguments: &[&str]) -> String {
    let addresses = Family::BOTH.map(|family| server.host().address(family).to_string());
    let [v4, v6] = addresses.each_ref().map(String::as_str);
    let words = ["firewall", "render", "routeros", "--server", v4, "--server", v6];
    let output = server.control(&[&words[..], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The script that undoes the rules.
fn render_undo(server: &Server) -> String {
    let output = server.control(&["firewall", "render", "routeros", "--undo"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A server behind a router, and a client who knocks at the router's own address.
struct Scene {
    server: Server,
    client: Client,
    router: Router,
    net: Routed,
}

impl Scene {
    fn new(config: &Config, service: &str) -> Self {
        let net = routed();
        let mut server = Server::prepare(&net.server, config);
        let client = Client::enrolled(&net.client, &server, "laptop", &[service]);
        let addresses = Family::BOTH.map(|family| gateway(&net.client, family).to_string());
        let mut set = client.command("spa-client");
        let set = set.args(["host", "set", "server", "addresses"]).args(addresses).output();
        assert!(set.as_ref().is_ok_and(|output| output.status.success()), "{set:?}");
        server.launch();
        server.wait_fence();
        let router = Router::new(&net.router);
        Self { server, client, router, net }
    }

    /// Knocks at the router until the server has granted, for this many seconds.
    fn knock(&self, service: &str, family: Family) -> u64 {
        let mark = self.server.log().mark();
        let _not_reachable_yet = self.client.open(service, family, &["--timeout", "2s"]);
        let source = format!("source={} ", self.net.client.address(family));
        let line = self.server.log().wait_since(mark, &["event=granted", &source]);
        let ttl = line.split_whitespace().find_map(|word| word.strip_prefix("ttl="));
        ttl.and_then(|ttl| ttl.strip_suffix('s')?.parse().ok()).expect("a time")
    }
}

/// The router's kernel has no program of ours.
#[test]
fn the_script_needs_no_running_server() {
    let folder = TempDir::new();
    let config = folder.write(
        "server.toml",
        "[server]\nkey = \"/nowhere/key\"\nclients = \"/nowhere/clients.toml\"\n\
         [sequence]\nports = [1, 2]\n[[service]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n",
    );
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary("spa-server"));
        command.args(["firewall", "render", "routeros"]).args(arguments);
        command.arg("--config").arg(&config).output().unwrap()
    };
    let output = run(&["--server", "192.0.2.1"]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("src-address-list=spa-ssh"));
    for (arguments, word) in [
        (&["--server", "192.0.2.1", "--server", "192.0.2.2"][..], "once per family"),
        (&[], "--server"),
        (&["--server", "gate.example.org"], "gate.example.org"),
        (&["--server", "192.0.2.1", "--wan", "W\" action=accept"], "letters"),
    ] {
        let output = run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}
