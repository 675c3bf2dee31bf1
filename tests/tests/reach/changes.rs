//! Changes of the host while we run, told in the log, by a figure and by `status`.

use spa_tests::netns::lan;
use spa_tests::{need_namespaces, nft};

use crate::bench::{Bench, config, ip};

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
    let behind = config("[\"eth0\"]").service(
        "inner",
        "ports = [\"tcp/8443\"]\nttl = \"60s\"\nhook = \"forward\"\n\
            to = \"10.0.0.5:443\"",
    );
    let bench = Bench::start(net, &behind);
    let mark = bench.server.log().mark();
    bench.net.server.sysctl("net/ipv4/ip_forward", "0");
    let words = ["event=blocked", "service=inner", "family=ipv4", "net.ipv4.ip_forward is 0"];
    bench.server.log().wait_since(mark, &words);
    let mark = bench.server.log().mark();
    bench.net.server.sysctl("net/ipv4/ip_forward", "1");
    bench.server.log().wait_since(mark, &["event=unblocked", "service=inner"]);
}
