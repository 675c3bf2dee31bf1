//! Changes of the host while we run, told in the log, by a figure and by `status`.

use std::process::Command;
use std::time::{Duration, Instant};

use spa_tests::netns::lan;
use spa_tests::{Family, need_namespaces, nft};

use crate::bench::{Bench, Seen, config, ip};

/// Longest time until what the kernel announces is told, and until a sysctl is.
const ANNOUNCED: Duration = Duration::from_secs(2);
const SYSCTL: Duration = Duration::from_secs(15);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

fn figure(bench: &Bench, name: &str) -> String {
    let output = bench.server.control(&["metrics"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
}

#[test]
fn a_foreign_table_comes_and_goes() {
    need_namespaces!();
    let bench = Bench::start(lan(), &config("[]"));
    let mark = bench.server.log().mark();
    nft::load(
        &bench.net.server,
        "table inet t {\nchain c {\ntype filter hook input priority 0; \
        policy drop;\ntcp dport 22 accept\nct state established accept\n}\n}\n",
    );
    let blocked = ["level=warn", "event=blocked", "service=game", "family=ipv6", "policy of"];
    bench.server.log().wait_since(mark, &blocked);
    assert_eq!(figure(&bench, "spa_blocked_services"), "2");
    let mark = bench.server.log().mark();
    nft::load(&bench.net.server, "delete table inet t");
    bench.server.log().wait_since(mark, &["event=unblocked", "service=game", "family=ipv6"]);
    assert_eq!(figure(&bench, "spa_blocked_services"), "0");
}

#[test]
fn the_default_route_moves_to_an_interface_that_is_not_named() {
    need_namespaces!();
    let net = lan();
    net.server.ip(&[
        "link add ppp0 type bridge",
        "link set ppp0 up",
        "address add 198.18.0.2/24 dev ppp0",
        "address add 2001:db8:9::2/64 dev ppp0 nodad",
    ]);
    let bench = Bench::start(net, &config("[\"eth0\"]"));
    for line in ["", "-6 "] {
        let family = if line.is_empty() { "ipv4" } else { "ipv6" };
        let mark = bench.server.log().mark();
        ip(&bench.net.server, &[&format!("{line}route replace default dev ppp0")]);
        let family = format!("family={family}");
        let words = ["level=error", "event=not-protected", "service=ssh", "leads to ppp0", &family];
        bench.server.log().wait_since(mark, &words);
        let mark = bench.server.log().mark();
        ip(&bench.net.server, &[&format!("{line}route replace default dev eth0")]);
        let words = ["event=protected", "service=ssh", &family];
        bench.server.log().wait_since(mark, &words);
    }
    assert_eq!(figure(&bench, "spa_exposed_services"), "0");
}

#[test]
fn forwarding_is_switched_off() {
    need_namespaces!();
    let net = lan();
    net.net.router(&net.server);
    let inner = |to: &str| {
        format!("ports = [\"tcp/8443\"]\nttl = \"60s\"\nhook = \"forward\"\nto = \"{to}\"")
    };
    let behind = config("[\"eth0\"]").service("inner", &inner("10.0.0.5:443"));
    let behind = behind.service("inner6", &inner("[fd00::5]:443").replace("8443", "8446"));
    let bench = Bench::start(net, &behind);
    for (key, name, service, family) in [
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward", "inner", "ipv4"),
        ("net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding", "inner6", "ipv6"),
    ] {
        let (service, family) = (format!("service={service} "), format!("family={family}"));
        for (value, event) in [("0", "event=blocked"), ("1", "event=unblocked")] {
            let (mark, begun) = (bench.server.log().mark(), Instant::now());
            bench.net.server.sysctl(key, value);
            let line = bench.server.log().wait_since(mark, &[event, &service, &family]);
            assert!(value == "1" || line.contains(&format!("{name} is 0")), "{line}");
            assert!(begun.elapsed() <= SYSCTL + SLACK, "{key}: told after {:?}", begun.elapsed());
        }
    }
}

/// Runs `ip` lines, and waits until all of these lines are told of, in time.
fn told(bench: &Bench, lines: &[&str], within: Duration, said: &[&[&str]]) {
    let mark = bench.server.log().mark();
    ip(&bench.net.server, lines);
    let begun = Instant::now();
    for words in said {
        bench.server.log().wait_since(mark, words);
    }
    let took = begun.elapsed();
    eprintln!("{lines:?}: told after {took:?}");
    assert!(took <= within + SLACK, "{lines:?}: told after {took:?}");
}

/// Lines that give the addresses and default routes of the server to an interface.
fn take_addresses(bench: &Bench, name: &str) -> Vec<String> {
    let [v4, v6] = Family::BOTH.map(|family| bench.net.server.address(family));
    vec![
        format!("link set {name} up"),
        format!("address replace {v4}/24 dev {name}"),
        format!("address replace {v6}/64 dev {name} nodad"),
        format!("route replace default dev {name}"),
        format!("-6 route replace default dev {name}"),
    ]
}

/// Has the others ask anew which interface has the address.
fn forget_neighbours(bench: &Bench) {
    for host in [&bench.net.client, &bench.net.stranger] {
        ip(host, &["neigh flush dev eth0"]);
    }
}

fn told_by(bench: &Bench, first: &[&str], name: &str, why: &[&str]) {
    let taken = take_addresses(bench, name);
    let lines: Vec<&str> = first.iter().copied().chain(taken.iter().map(String::as_str)).collect();
    let mut of_name = vec!["level=error", "event=not-protected", "interface=eth0", "list=firewall"];
    of_name.extend(why);
    let families = ["family=ipv4", "family=ipv6"];
    let rows = families.map(|family| ["level=error", "event=not-protected", "service=ssh", family]);
    told(bench, &lines, ANNOUNCED, &[&of_name, &rows[0], &rows[1]]);
    assert_eq!(figure(bench, "spa_exposed_services"), "4");
    forget_neighbours(bench);
    for family in Family::BOTH {
        assert_eq!(bench.probe(family, "ssh").hidden, Some(false), "{family}");
    }
}

/// Says that all is well again, and looks whether it is.
fn told_good(bench: &Bench, first: &[&str]) {
    let taken = take_addresses(bench, "eth0");
    let lines: Vec<&str> = first.iter().copied().chain(taken.iter().map(String::as_str)).collect();
    let families = ["family=ipv4", "family=ipv6"];
    let rows = families.map(|family| ["event=protected", "service=ssh", family]);
    let name = ["event=protected", "interface=eth0", "list=firewall"];
    told(bench, &lines, ANNOUNCED, &[&name, &rows[0], &rows[1]]);
    assert_eq!(figure(bench, "spa_exposed_services"), "0");
    forget_neighbours(bench);
    for family in Family::BOTH {
        let right = Seen { hidden: Some(true), reachable: Some(true) };
        assert_eq!(bench.probe(family, "ssh"), right, "{family}");
    }
}

#[test]
fn the_interface_is_renamed() {
    need_namespaces!();
    let bench = Bench::start(lan(), &config("[\"eth0\"]"));
    let away = ["link set eth0 down", "link set eth0 name lan0"];
    told_by(&bench, &away, "lan0", &["does not exist"]);
    told_good(&bench, &["link set lan0 down", "link set lan0 name eth0"]);
}

#[test]
fn the_interface_is_gone_and_another_one_has_its_addresses() {
    need_namespaces!();
    let net = lan();
    net.net.link(&net.server, "eth1", &net.switch, "p-server-2");
    net.switch.ip(&["link set p-server-2 master br0"]);
    let bench = Bench::start(net, &config("[\"eth0\"]"));
    told_by(&bench, &["link delete eth0"], "eth1", &["does not exist"]);
    told_good(&bench, &["link set eth1 down", "link set eth1 name eth0"]);
}

#[test]
fn the_interface_becomes_a_port_of_a_bridge() {
    need_namespaces!();
    let net = lan();
    net.server.ip(&["link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0"]);
    let bench = Bench::start(net, &config("[\"eth0\"]"));
    let away = ["address flush dev eth0", "link set eth0 master br0"];
    told_by(&bench, &away, "br0", &["is a port of br0"]);
    told_good(&bench, &["address flush dev br0", "link set eth0 nomaster", "link delete br0"]);
}

/// Two cards in one segment: the one that is not named takes packets for the other's address.
#[test]
fn a_card_without_an_address_is_not_named() {
    need_namespaces!();
    let net = lan();
    net.net.link(&net.server, "eth1", &net.switch, "p-server-2");
    net.switch.ip(&["link set p-server-2 master br0"]);
    net.server.ip(&["link set eth1 down"]);
    let bench = Bench::start(net, &config("[\"eth0\"]"));
    let families = ["family=ipv4", "family=ipv6"];
    let rows = |event| families.map(|family| [event, "service=ssh", family]);
    let [v4, v6] = rows("event=not-protected");
    let doubt = "which has none itself";
    let said = [[&v4[..], &[doubt]].concat(), [&v6[..], &[doubt]].concat()];
    told(&bench, &["link set eth1 up"], ANNOUNCED, &[&said[0], &said[1]]);
    let shown = bench.net.server.run(|| {
        let output = Command::new("ip").args(["-oneline", "link", "show", "eth1"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    });
    let mac = shown.split_once("link/ether ").unwrap().1.split(' ').next().unwrap().to_owned();
    for family in Family::BOTH {
        let server = bench.net.server.address(family);
        let answers = format!("neigh replace {server} lladdr {mac} dev eth0");
        ip(&bench.net.stranger, &[&answers]);
        assert_eq!(bench.probe(family, "ssh").hidden, Some(false), "{family}");
    }
    let [v4, v6] = rows("event=protected");
    told(&bench, &["link set eth1 down"], ANNOUNCED, &[&v4, &v6]);
    forget_neighbours(&bench);
    for family in Family::BOTH {
        assert_eq!(bench.probe(family, "ssh").hidden, Some(true), "{family}");
    }
}

/// Addresses move, and the interface that is named stays as it is.
#[test]
fn the_addresses_move_to_an_interface_that_is_not_named() {
    need_namespaces!();
    let net = lan();
    net.net.link(&net.server, "eth1", &net.switch, "p-server-2");
    net.switch.ip(&["link set p-server-2 master br0"]);
    let bench = Bench::start(net, &config("[\"eth0\"]"));
    told_by(&bench, &["address flush dev eth0"], "eth1", &["has no address"]);
    // As long as it is up, it takes packets for the other one's addresses in their segment.
    told_good(&bench, &["address flush dev eth1", "link set eth1 down"]);
}
