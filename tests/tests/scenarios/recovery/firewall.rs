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
            .bait("trap", "ports = [\"tcp/23\", \"udp/5000-6000\"]\nban = \"60s\"\nunless = [\"secured\", \"sequence\"]")
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
        let check =
            host.command("nft").args(["-c", "-f"]).arg(server.folder().join("printed.nft")).output().unwrap();
        assert!(check.status.success(), "{what}: {}\n{printed}", text(&check));

        run(&server, "install");
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
