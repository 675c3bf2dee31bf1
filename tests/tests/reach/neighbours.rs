//! Beside the firewalls that people have, the real ones: hidden, granted, their reload, and their
//! start while we run. What `check` says is held to packets each time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use spa_tests::daemon::Server;
use spa_tests::netns::{Host, lan};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces, process, wait_until};

use crate::bench::{Bench, SERVICES, Seen, config, said};

/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Holds what `check` says of each service and family to packets, and to what is right here.
fn agree(bench: &Bench, what: &str, reachable: [bool; 2]) {
    let rows = bench.ask();
    for ((service, ..), reachable) in SERVICES.into_iter().zip(reachable) {
        for (family, word) in Family::BOTH.into_iter().zip(["ipv4", "ipv6"]) {
            let of = |row: &&Value| row["service"] == service && row["family"] == word;
            let row = rows.iter().find(of).unwrap_or_else(|| panic!("{what}: {rows:#?}"));
            let right = Seen { hidden: Some(true), reachable: Some(reachable) };
            assert_eq!(bench.probe(family, service), right, "{what}: {service} {word}");
            assert_eq!(said(row), right, "{what}: {row:#}");
        }
    }
}

/// The command that `check` names for a service.
fn remedy(server: &Server, service: &str) -> String {
    let output = server.control(&["check", "--live", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = answer["reach"].as_array().unwrap();
    let row = rows.iter().find(|row| row["service"] == service).unwrap();
    row["remedy"].as_str().unwrap_or_else(|| panic!("{row:#}")).to_owned()
}

/// Runs a script with folders of `/etc` of its own: lines `mount --bind` come first.
fn with_own(host: &Host, folder: &TempDir, name: &str, script: &str) -> String {
    let own = folder.join(name);
    if !own.exists() {
        let from = format!("/etc/{name}");
        process::succeed(Command::new("cp").args(["-a", &from]).arg(&own));
    }
    let script = format!(
        "mount --bind {} /etc/{name}; PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH; {script}",
        own.display()
    );
    process::succeed(host.command("unshare").args(["-m", "sh", "-ec", &script]))
}

#[test]
fn ufw() {
    need_namespaces!();
    let bench = Bench::start(lan(), &config("[]"));
    let folder = TempDir::new();
    let ufw = |script: &str| with_own(&bench.net.server, &folder, "ufw", script);
    agree(&bench, "before", [true, true]);
    let mark = bench.server.log().mark();
    ufw("ufw --force enable");
    for family in ["ipv4", "ipv6"] {
        let words = ["event=blocked", "service=ssh", &format!("family={family}"), "ufw allow"];
        bench.server.log().wait_since(mark, &words);
    }
    agree(&bench, "enabled", [false, false]);
    // Its own words, and they last.
    let advice = remedy(&bench.server, "ssh");
    assert_eq!(advice, "ufw allow 22/tcp");
    let mark = bench.server.log().mark();
    ufw(&advice);
    bench.server.log().wait_since(mark, &["event=unblocked", "service=ssh", "family=ipv6"]);
    agree(&bench, "ssh allowed", [true, false]);
    ufw("ufw reload");
    agree(&bench, "reloaded", [true, false]);
    ufw(&remedy(&bench.server, "game"));
    agree(&bench, "both allowed", [true, true]);
    ufw("ufw --force disable");
    agree(&bench, "disabled", [true, true]);
}

/// A bus of its own, which firewalld listens on.
const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path={dir}/bus</listen>
<auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/>
<allow send_type="method_call"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>"#;

#[test]
fn firewalld() {
    need_namespaces!();
    let bench = Bench::start(lan(), &config("[]"));
    let folder = TempDir::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let dir = folder.path().display().to_string();
    folder.write("bus.conf", BUS.replace("{dir}", &dir));
    let host = &bench.net.server;
    let address = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={dir}/bus");
    // Both end with the namespace.
    let spawn = |script: &str| {
        let script = format!("{script} >{dir}/log 2>&1 &");
        process::succeed(host.command("unshare").args(["-m", "sh", "-ec", &script]));
    };
    spawn(&format!("dbus-daemon --config-file={dir}/bus.conf --nofork --nopidfile"));
    assert!(wait_until(PATIENCE, || folder.join("bus").exists()), "no bus");
    process::succeed(Command::new("cp").args(["-a", "/etc/firewalld"]).arg(folder.path()));
    let mark = bench.server.log().mark();
    spawn(&format!(
        "mount --bind {dir}/firewalld /etc/firewalld; mount -t tmpfs none /run/firewalld || true; \
         {address} /usr/bin/python3 /usr/sbin/firewalld --nofork --nopid"
    ));
    let tell = |words: &str| {
        let script = format!("{address} /usr/bin/python3 /usr/bin/firewall-cmd {words}");
        process::output(Command::new("sh").args(["-ec", &script]))
    };
    assert!(wait_until(PATIENCE, || tell("--state").status.success()), "{:?}", tell("--state"));
    bench.server.log().wait_since(mark, &["event=blocked", "service=game", "firewall-cmd"]);
    // Its public zone lets ssh in.
    agree(&bench, "started", [true, false]);
    let advice = remedy(&bench.server, "game");
    for command in advice.split(" && ") {
        let words = command.strip_prefix("firewall-cmd ").unwrap_or_else(|| panic!("{advice}"));
        let told = tell(words);
        assert!(told.status.success(), "{words}: {told:?}");
    }
    agree(&bench, "allowed and reloaded", [true, true]);
}

/// Rules as Docker 20 writes them for a container that publishes tcp/22.
const DOCKER: &str = "
iptables-nft -t nat -N DOCKER
iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables-nft -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables-nft -t nat -A DOCKER -i docker0 -j RETURN
iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp --dport 22 -j DNAT --to-destination 172.17.0.2:22
iptables-nft -P FORWARD DROP
iptables-nft -N DOCKER
iptables-nft -N DOCKER-USER
iptables-nft -N DOCKER-ISOLATION-STAGE-1
iptables-nft -N DOCKER-ISOLATION-STAGE-2
iptables-nft -A FORWARD -j DOCKER-USER
iptables-nft -A FORWARD -j DOCKER-ISOLATION-STAGE-1
iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables-nft -A FORWARD -o docker0 -j DOCKER
iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables-nft -A FORWARD -i docker0 -o docker0 -j ACCEPT
iptables-nft -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 22 -j ACCEPT
iptables-nft -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
iptables-nft -A DOCKER-ISOLATION-STAGE-1 -j RETURN
iptables-nft -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
iptables-nft -A DOCKER-ISOLATION-STAGE-2 -j RETURN
iptables-nft -A DOCKER-USER -j RETURN
";

#[test]
fn docker_publishes_a_hidden_port_while_we_run() {
    need_namespaces!();
    let mut net = lan();
    let container = net.net.host("container");
    net.net.link(&net.server, "docker0", &container, "eth0");
    net.server.ip(&["address add 172.17.0.1/16 dev docker0"]);
    container.ip(&["address add 172.17.0.2/16 dev eth0", "route add default via 172.17.0.1"]);
    net.net.router(&net.server);
    let _inside = spa_tests::probe::EchoServer::start(&container, 22);
    let bench = Bench::start(net, &config("[]"));
    agree(&bench, "before", [true, true]);
    let mark = bench.server.log().mark();
    assert!(bench.try_script(&format!("set -e{DOCKER}")));
    let words = ["level=error", "event=not-protected", "service=ssh", "family=ipv4", "172.17.0.2"];
    bench.server.log().wait_since(mark, &words);
    let rows = bench.ask();
    let row = rows.iter().find(|row| row["service"] == "ssh" && row["family"] == "ipv4").unwrap();
    assert_eq!(said(row).hidden, Some(false), "{row:#}");
    assert!(row["remedy"].as_str().unwrap().contains("hook = \"forward\""), "{row:#}");
    assert_eq!(bench.probe(Family::V4, "ssh").hidden, Some(false));
    let status = bench.server.control(&["status"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("service ssh is NOT hidden over IPv4"), "{status}");
    // What it says, done.
    let behind = spa_tests::config::Config::default()
        .set("firewall.interfaces", "[\"eth0\"]")
        .service("ssh", "ports = [\"tcp/22\"]\nttl = \"60s\"\nhook = \"forward\"")
        .service("game", "ports = [\"udp/5000\"]\nttl = \"60s\"");
    bench.server.configure(&behind);
    let mark = bench.server.log().mark();
    assert!(bench.server.control(&["reload"]).status.success());
    bench.server.log().wait_since(mark, &["event=protected", "service=ssh", "family=ipv4"]);
    let rows = bench.ask();
    let row = rows.iter().find(|row| row["service"] == "ssh" && row["family"] == "ipv4").unwrap();
    let right = Seen { hidden: Some(true), reachable: Some(true) };
    assert_eq!((said(row), bench.probe(Family::V4, "ssh")), (right, right), "{row:#}");
}
