//! `spa-server firewall` beside other tables.

use super::*;

#[test]
fn firewall_commands() {
    need_namespaces!();
    for (mode, hide) in [("guard", "drop"), ("guard", "closed"), ("standalone", "drop")] {
        let what = format!("{mode}, {hide}");
        let net = lan();
        let host = &net.server;
        nft::load(host, FOREIGN);
        let foreign = table(host, "foreign").unwrap();
        let config = config(30)
            .bait(
                "trap",
                "ports = [\"tcp/23\", \"udp/5000-6000\"]\nban = \"60s\"\nunless = \
                [\"secured\", \"sequence\"]",
            )
            .set("ban.never", "[\"10.0.0.0/8\", \"2001:db8:9::/48\"]")
            .set("firewall.mode", &format!("\"{mode}\""))
            .set("firewall.hide", &format!("\"{hide}\""));
        let _door = EchoServer::start(host, SSH);
        let mut server = Server::prepare(host, &config);
        let run = |server: &Server, command: &str| {
            let output = server.control(&["firewall", command]);
            assert!(output.status.success(), "{what}: {command}: {output:?}");
            output
        };

        let printed = String::from_utf8(run(&server, "print").stdout).unwrap();
        assert_eq!(table(host, "spa"), None, "{what}: print has changed something");
        fs::write(server.folder().join("printed.nft"), &printed).unwrap();
        let check = host
            .command("nft")
            .args(["-c", "-f"])
            .arg(server.folder().join("printed.nft"))
            .output()
            .unwrap();
        assert!(check.status.success(), "{what}: {}\n{printed}", text(&check));

        let told = text(&run(&server, "install"));
        let hidden = if mode == "guard" {
            "hidden: tcp/22 (ssh), tcp/80 (web)\n"
        } else {
            "hidden: everything on this host\n"
        };
        for words in [
            hidden,
            "stays open for: connections that are established, loopback\n",
            "by a knock, while the server runs: nobody: no client is enrolled\n",
            "emergency exit: systemctl stop spa-server; spa-server firewall remove\n",
            "without the program: nft delete table inet spa\n",
        ] {
            assert!(told.contains(words), "{what}: {words} is not in {told}");
        }
        let installed = table(host, "spa").unwrap();
        // What is printed is what is installed, and it may be loaded over itself.
        nft::load(&net.stranger, &printed);
        nft::load(&net.stranger, &printed);
        assert_eq!(table(&net.stranger, "spa").unwrap(), installed, "{what}");
        nft::load(&net.stranger, "flush ruleset");
        run(&server, "install");
        assert_eq!(table(host, "spa").unwrap(), installed, "{what}");
        let closed = if hide == "drop" { TcpProbe::Silent } else { TcpProbe::Refused };
        let seen = |from: &Host, family: Family| {
            spa_tests::probe::tcp(from, host.at(family, SSH), spa_tests::scene::SILENCE)
        };
        both(|family| assert_eq!(seen(&net.client, family), closed, "{what}, {family}"));
        assert_eq!(table(host, "foreign").unwrap(), foreign, "{what}");

        // The daemon takes over what is there.
        let client = Client::enrolled(&net.client, &server, "laptop", &["ssh"]);
        server.launch();
        assert_eq!(table(host, "spa").unwrap(), installed, "{what}");
        both(|family| drop(client.must_open("ssh", family, &[])));
        both(|family| assert_eq!(seen(&net.stranger, family), closed, "{what}, {family}"));
        assert!(server.stop().success(), "{what}");

        run(&server, "remove");
        assert_eq!(table(host, "spa"), None, "{what}");
        assert_eq!(table(host, "foreign").unwrap(), foreign, "{what}");
        both(|family| assert_eq!(seen(&net.stranger, family), TcpProbe::Open, "{what}, {family}"));
        // Nothing to remove is no failure of an emergency exit.
        run(&server, "remove");
    }
}

/// Everything that others may have, some of it called like ours.
const OTHERS: &str = "table inet foreign {
    set friends { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
    chain input { type filter hook input priority 10; policy accept; ip saddr @friends counter accept; tcp dport 9 drop; }
}
table ip spa { chain input { type filter hook input priority 0; tcp dport 23 drop; }; set grant4 { type ipv4_addr; }; }
table ip6 spa { chain input { type filter hook input priority 0; tcp dport 23 drop; }; }
table ip nat { chain prerouting { type nat hook prerouting priority -100; tcp dport 8080 redirect to :80; }; }";

#[test]
fn remove_takes_our_table_in_any_state_and_nothing_else() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    nft::load(host, OTHERS);
    let iptables = |words: &str| {
        let done = host
            .command("iptables-nft")
            .args(words.split(' '))
            .output()
            .expect("iptables is installed");
        assert!(done.status.success(), "{words}: {}", text(&done));
    };
    iptables("-N GUESTS");
    iptables("-A GUESTS -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP");
    iptables("-A INPUT -j GUESTS");
    // With handles: nothing was taken out and put back either.
    let ruleset = || {
        let listed = host.command("nft").args(["-a", "list", "ruleset"]).output().unwrap();
        assert!(listed.status.success(), "{}", text(&listed));
        String::from_utf8(listed.stdout).unwrap()
    };
    let before = ruleset();
    assert!(before.contains("GUESTS") && before.contains("table ip spa"), "{before}");
    let config = config(30).bait("trap", "ports = [\"tcp/23\"]\nban = \"60s\"");
    let server = Server::prepare(host, &config);
    let run = |command: &str| {
        let output = server.control(&["firewall", command]);
        assert!(output.status.success(), "{command}: {output:?}");
    };
    for damage in [
        "",
        "flush table inet spa",
        "delete table inet spa",
        "flush chain inet spa input",
        "delete chain inet spa input",
        "add table inet spa { flags dormant; }",
        "add chain inet spa theirs\nadd rule inet spa theirs tcp dport 1 drop\ninsert rule inet \
         spa input jump theirs",
        "delete table inet spa\nadd table inet spa\nadd chain inet spa input { type filter hook \
         input priority 0; policy drop; }",
    ] {
        run("install");
        nft::load(host, damage);
        run("remove");
        assert_eq!(ruleset(), before, "after: {damage}");
    }
    // The way out without the program, as `install` prints it.
    run("install");
    nft::load(host, "delete table inet spa");
    assert_eq!(ruleset(), before);
}
