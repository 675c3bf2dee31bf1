//! The oracle: in each of many situations, what `check` says is held to what packets do. Whatever
//! cannot be read may be undecided, and nothing else may be wrong.

use std::sync::Mutex;
use std::thread;

use spa_tests::netns::{Host, lan};
use spa_tests::{Family, need_namespaces};

use crate::bench::{Bench, SERVICES, Seen, config, ip, said};
use crate::cases::{CASES, Case};
use crate::more_cases::MORE_CASES;

/// Families by the words of `check`.
fn family_of(row: &serde_json::Value) -> Family {
    match row["family"].as_str() {
        Some("ipv4") => Family::V4,
        Some("ipv6") => Family::V6,
        other => panic!("{other:?}"),
    }
}

/// What the oracle has found.
#[derive(Default)]
struct Findings {
    /// Lines about what was said wrongly.
    wrong: Vec<String>,
    /// Answers, and those of them that are no doubt.
    answers: usize,
    decided: usize,
    situations: usize,
}

/// Holds all answers in a situation to packets.
fn compare(bench: &Bench, what: &str, undecided: bool, findings: &Mutex<Findings>) {
    let rows = bench.ask();
    let mut lines = Vec::new();
    let (mut answers, mut decided) = (0, 0);
    for (service, ..) in SERVICES {
        let of_service: Vec<_> = rows.iter().filter(|row| row["service"] == service).collect();
        assert!(!of_service.is_empty(), "{what}: nothing about {service}: {rows:#?}");
        for row in of_service {
            let family = family_of(row);
            let (says, does) = (said(row), bench.probe(family, service));
            // Where nobody gets through at all, a warning that it is not hidden is none too many.
            let shut = does.reachable == Some(false) && says.hidden == Some(false);
            let does = Seen { hidden: does.hidden.filter(|_| !shut).or(says.hidden), ..does };
            for (said, done) in [(says.hidden, does.hidden), (says.reachable, does.reachable)] {
                answers += 1;
                decided += usize::from(said.is_some());
                // In a situation that can be read whole, a doubt is wrong as well.
                if said != done && (said.is_some() || !undecided) {
                    lines.push(format!(
                        "{what}: {service} over {family}: said {says}, but packets: {does}\n  \
                         {} / {}",
                        row["hidden"]["why"], row["reachable"]["why"]
                    ));
                }
            }
        }
    }
    let mut findings = findings.lock().unwrap();
    findings.wrong.extend(lines);
    findings.situations += 1;
    findings.answers += answers;
    findings.decided += decided;
}

fn run_cases(bench: &Bench, cases: &[Case], findings: &Mutex<Findings>) {
    for case in cases {
        if bench.try_script(case.script) {
            compare(bench, case.name, case.undecided, findings);
        }
        bench.try_script(case.undo);
        bench.clear();
    }
}

fn conclude(findings: Mutex<Findings>, least: usize) {
    let Findings { wrong, answers, decided, situations } = findings.into_inner().unwrap();
    println!("{situations} situations, {answers} answers, {decided} of them without a doubt");
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    assert!(situations >= least, "only {situations} situations");
}

#[test]
fn rules_of_others() {
    need_namespaces!();
    run_all(CASES, 40);
}

#[test]
fn rules_of_others_that_are_met_less_often() {
    need_namespaces!();
    run_all(MORE_CASES, 60);
}

fn run_all(all: &[Case], least: usize) {
    let findings = Mutex::new(Findings::default());
    thread::scope(|scope| {
        let chunk = all.len().div_ceil(4);
        for cases in all.chunks(chunk) {
            let findings = &findings;
            scope.spawn(move || {
                let bench = Bench::start(lan(), &config("[]"));
                run_cases(&bench, cases, findings);
            });
        }
    });
    conclude(findings, least);
}

/// Moves the server's addresses and default routes to another interface.
fn move_addresses(host: &Host, to: &str, others: &[&Host]) {
    let [v4, v6] = Family::BOTH.map(|family| host.address(family));
    ip(
        host,
        &[
            "address flush dev eth0",
            "route flush dev eth0",
            "-6 route flush dev eth0",
            &format!("link set {to} up"),
            &format!("address replace {v4}/24 dev {to}"),
            &format!("address replace {v6}/64 dev {to} nodad"),
            &format!("route replace default dev {to}"),
            &format!("-6 route replace default dev {to}"),
        ],
    );
    for other in others {
        ip(other, &["neigh flush dev eth0"]);
    }
}

/// Interfaces of every kind that this kernel has, and what the configuration may name.
const KINDS: [(&str, &[&str]); 5] = [
    ("card", &[]),
    (
        "bridge",
        &[
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set eth0 master br0",
        ],
    ),
    ("macvlan", &["link add mac0 link eth0 type macvlan mode bridge"]),
    (
        "renamed",
        &[
            "link set eth0 down",
            "link set eth0 name lan0",
            "link set lan0 up",
            "link add eth0 type bridge",
        ],
    ),
    (
        "beside",
        &["link add eth1 type bridge", "link set eth1 up", "address add 198.18.0.1/24 dev eth1"],
    ),
];

#[test]
fn kinds_of_interfaces() {
    need_namespaces!();
    let findings = Mutex::new(Findings::default());
    thread::scope(|scope| {
        for (kind, lines) in KINDS {
            let findings = &findings;
            scope.spawn(move || {
                let net = lan();
                ip(&net.server, lines);
                let carrier = match kind {
                    "bridge" => "br0",
                    "macvlan" => "mac0",
                    "renamed" => "lan0",
                    _ => "eth0",
                };
                move_addresses(&net.server, carrier, &[&net.client, &net.stranger]);
                let mut bench = Bench::start(net, &config("[]"));
                for names in [
                    "[]",
                    "[\"eth0\"]",
                    "[\"CARRIER\"]",
                    "[\"eth1\"]",
                    "[\"lo\"]",
                    "[\"eth0\", \"CARRIER\"]",
                ] {
                    let names = names.replace("CARRIER", carrier);
                    bench.server.configure(&config(&names));
                    bench.server.restart();
                    // Which of the two interfaces takes a packet, the neighbours decide.
                    let unread =
                        kind == "macvlan" && ["[\"eth0\"]", "[\"mac0\"]"].contains(&&*names);
                    compare(&bench, &format!("{kind}, interfaces = {names}"), unread, findings);
                    for (on, rules) in BRIDGE_RULES.iter().filter(|_| kind == "bridge") {
                        let what = format!("{kind}, interfaces = {names}, {on} {rules}");
                        if bench.try_script(&format!("{on}; {rules}")) {
                            compare(&bench, &what, true, findings);
                        }
                        bench.clear();
                    }
                }
            });
        }
    });
    conclude(findings, 30);
}

/// On a bridge: a switch of netfilter, and rules.
const BRIDGE_RULES: [(&str, &str); 4] = [
    ("sysctl -qw net.bridge.bridge-nf-call-iptables=1", "true"),
    (
        "sysctl -qw net.bridge.bridge-nf-call-ip6tables=1",
        "nft add table inet t; \
         nft add chain inet t c '{ type filter hook prerouting priority 0; }'; \
         nft add rule inet t c tcp dport 22 drop",
    ),
    (
        "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
        "nft add table bridge t; \
         nft add chain bridge t c '{ type filter hook input priority 0; }'; \
         nft add rule bridge t c udp dport 5000 drop",
    ),
    ("true", "ebtables-nft -A INPUT -p ipv4 --ip-proto tcp --ip-dport 22 -j DROP"),
];
