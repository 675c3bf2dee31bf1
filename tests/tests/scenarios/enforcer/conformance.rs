//! `spa-server firewall conformance`: what conforms passes, and each fault is named.

use std::process::Output;

use spa_tests::daemon::binary;
use spa_tests::netns::{Host, lan};
use spa_tests::{need_namespaces, process};

use super::*;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pkg/backends/ipset-enforcer");

fn try_program(host: &Host, place: &Place, options: &[&str]) -> (Output, String) {
    let mut command = host.command(binary("spa-server"));
    command.args(["firewall", "conformance", "--timeout", "2s"]).args(options);
    let output = process::output(command.arg("--exec").arg(place.program()));
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output, said)
}

#[test]
fn the_program_for_iptables_conforms() {
    need_namespaces!();
    let net = lan();
    let place = Place::with_program("shipped", &fs::read_to_string(SHIPPED).unwrap());
    let (output, said) = try_program(&net.server, &place, &["--expires"]);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 13, "{said}");
    let left = process::output(net.server.command("ipset").arg("save"));
    let left = String::from_utf8(left.stdout).unwrap();
    assert!(!left.contains("\nadd "), "{left}");
}

#[test]
fn each_fault_is_named() {
    need_namespaces!();
    let net = lan();
    let fails = |name: &str, (old, new): (&str, &str), options: &[&str], failed: &[&str]| {
        assert!(DESK.contains(old), "{name}");
        let place = Place::with_program(&format!("case-{name}"), &DESK.replacen(old, new, 1));
        let (output, said) = try_program(&net.server, &place, options);
        assert_eq!(output.status.success(), failed.is_empty(), "{name}: {said}");
        for case in failed {
            assert!(said.contains(&format!("FAILED  {case}: ")), "{name}: {said}");
        }
        said.matches("FAILED").count()
    };
    assert_eq!(fails("none", ("", ""), &[], &[]), 0);
    assert_eq!(fails("stays", ("", ""), &["--expires"], &["ends by itself"]), 1);
    fails("keeps", ("entries.pop(key(e), None)", "pass"), &[], &["closes"]);
    let forgets = ("\"book\")", "\"book%d\" % os.getpid())");
    assert_eq!(fails("forgets", forgets, &[], &["knows what an earlier run opened"]), 1);
    let close = "    for e in request[\"close\"]:\n        entries.pop(key(e), None)\n";
    let open = "    for e in request[\"open\"]:\n        entries[key(e)] = e[\"until\"]\n";
    let (right, wrong) = (format!("{close}{open}"), format!("{open}{close}"));
    assert_eq!(fails("order", (&right, &wrong), &[], &["closes before it opens"]), 1);
    let v4 = ("entries[key(e)] =", "if ':' not in key(e): entries[key(e)] =");
    fails("v4", v4, &[], &["opens an IPv6 address", "opens a network", "opens ranges and UDP"]);
    // One that says nothing of use fails every case, in words.
    let place = Place::with_program("case-garbage", DESK);
    place.fail("garbage");
    let (_, said) = try_program(&net.server, &place, &[]);
    assert_eq!(said.matches(": not an answer").count(), 11, "{said}");
}
