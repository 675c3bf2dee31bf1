//! The program that is shipped for iptables, with the kernel's sets and real packets.

use spa_tests::netns::{Host, lan};
use spa_tests::scene::{SSH, both};
use spa_tests::{Family, need_namespaces, process};

use super::*;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pkg/backends/ipset-enforcer");

fn run(host: &Host, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = host.command(words.next().unwrap());
    let output = process::output(command.args(words));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rules of docs/backends.md: each packet asks the set, so flows end with the entry.
fn add_rules(host: &Host, family: Family) {
    let (tables, set, of) = match family {
        Family::V4 => ("iptables-nft", "spa-ssh-4", "inet"),
        Family::V6 => ("ip6tables-nft", "spa-ssh-6", "inet6"),
    };
    run(host, &format!("ipset create {set} hash:net,port family {of} timeout 0 -exist"));
    let accept = format!("-p tcp --dport 22 -m set --match-set {set} src,dst -j ACCEPT");
    run(host, &format!("{tables} -A INPUT {accept}"));
    run(host, &format!("{tables} -A INPUT -p tcp --dport 22 -j DROP"));
}

#[test]
fn a_knock_opens_iptables_as_well() {
    need_namespaces!();
    let net = lan();
    Family::BOTH.into_iter().for_each(|family| add_rules(&net.server, family));
    let place = Place::with_program("ipset", &fs::read_to_string(SHIPPED).unwrap());
    let config = enforced(&place.program(), 60, "expires = true\nends-flows = true");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
    await_ready(&scene);
    both(|family| {
        let set = if family == Family::V4 { "spa-ssh-4" } else { "spa-ssh-6" };
        let source = net.client.address(family).to_string();
        assert!(scene.is_hidden(family, SSH));
        scene.client.must_open("ssh", family, &[]);
        // Answered when it is in force: no packet waits for it.
        let entry = format!("{source},tcp:22 timeout ");
        let listed = run(&net.server, &format!("ipset list {set}"));
        assert!(listed.contains(&entry), "{listed}");
        assert!(scene.is_open(family, SSH));
        // The set decides, not this host's own table alone.
        run(&net.server, &format!("ipset flush {set}"));
        assert!(scene.is_hidden(family, SSH));
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH));
        scene.client.must_open("ssh", family, &["--ttl", "2s"]);
        assert!(wait_until(PATIENCE, || scene.is_hidden(family, SSH)));
        assert!(!run(&net.server, &format!("ipset list {set}")).contains(&entry));
    });
    // Closed by hand, at once.
    scene.client.must_open("ssh", Family::V4, &[]);
    assert!(scene.server.control(&["close", "--all"]).status.success());
    let gone = || !run(&net.server, "ipset list spa-ssh-4").contains(",tcp:22 timeout");
    assert!(wait_until(PATIENCE, gone));
}
