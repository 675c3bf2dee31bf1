//! C5. Addresses that are not one's public face: a translator to IPv4, and one that keeps public
//! addresses inside.

use std::fs;
use std::process::{Child, Stdio};

use spa_tests::netns::{EtcFile, Host, Routed, routed};
use spa_tests::scene::{Scene, both, config};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces, nft};

/// Addresses that the translator gives.
const POOL: &str = "203.0.113.192/26";

/// A NAT64 on the router (tayga), until this ends.
struct Translator {
    child: Child,
    _folder: TempDir,
}

impl Translator {
    fn start(net: &Routed, prefix: &str) -> Translator {
        let folder = TempDir::new();
        let config = folder.write(
            "tayga.conf",
            format!(
                "tun-device nat64\nipv4-addr 203.0.113.193\nipv6-addr 2001:db8:ffff::1\n\
                 prefix {prefix}\ndynamic-pool {POOL}\ndata-dir {}\n",
                folder.path().display()
            ),
        );
        let tayga = |words: &[&str]| {
            let mut command = net.router.command("tayga");
            command.arg("-c").arg(&config).args(words).stdout(Stdio::null());
            command
        };
        assert!(tayga(&["--mktun"]).status().unwrap().success());
        net.router.ip(&[
            "link set nat64 up",
            &format!("route add {POOL} dev nat64"),
            &format!("-6 route add {prefix} dev nat64"),
        ]);
        let child = tayga(&["-d"]).stderr(Stdio::null()).spawn().unwrap();
        Translator { child, _folder: folder }
    }
}

impl Drop for Translator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(scene: &Scene, text: &str) {
    fs::write(scene.client.folder().join("config.toml"), format!("[host.server]\n{text}\n"))
        .unwrap();
}

/// The service is opened by NAT64, with no setting and no pause, and for the translator's address.
fn opens_by(scene: &Scene, address: &str) {
    settings(scene, &format!("addresses = [\"{address}\"]"));
    let opened = scene.client.must_open("ssh", Family::V6, &["--timeout", "5s"]);
    let observed = opened["services"][0]["families"][0]["observed"].as_str().unwrap();
    assert!(observed.starts_with("203.0.113."), "{opened}");
    let line = scene.server.wait_log(&["event=granted", &format!("source={observed} ")]);
    assert!(line.contains("client=laptop"), "{line}");
    let mut close = scene.client.command("spa-client");
    assert!(close.args(["close", "ssh@server"]).output().unwrap().status.success());
}

#[test]
fn c5_a_translator_to_ipv4_is_passed_by() {
    need_namespaces!();
    for (prefix, address) in
        [("64:ff9b::/96", "64:ff9b::5.6.7.8"), ("2001:db8:64::/96", "2001:db8:64::5.6.7.8")]
    {
        let net = routed();
        let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
        let _translator = Translator::start(&net, prefix);
        net.client.ip(&["-4 address flush dev eth0"]);
        // A translator reaches no address of the documentation's ranges (RFC 6052 section 3.1).
        net.server.add_address("5.6.7.8".parse().unwrap());
        net.router.ip(&["route add 5.6.7.8 via 192.0.2.1"]);
        // What a resolver with DNS64 says of this name (RFC 7050).
        let discovered = address.replace("5.6.7.8", "192.0.0.170");
        let _hosts = EtcFile::new(&net.client, "hosts", &format!("{discovered} ipv4only.arpa\n"));
        opens_by(&scene, address);
    }
}

/// A translator that keeps public addresses inside, and a relay, look the same from here: nothing
/// is opened, and the reason is named.
#[test]
fn c5_a_public_address_that_is_replaced_is_named() {
    need_namespaces!();
    let net = routed();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    nft::load(
        &net.router,
        "table inet nat { chain post { type nat hook postrouting priority 100;
            oifname server masquerade; }; }",
    );
    both(|family| {
        let outside = router_address(&net.server, family);
        let opened = scene.client.open("ssh", family, &["--timeout", "5s"]);
        assert_eq!(opened.status.code(), Some(3), "{opened:?}");
        assert_eq!(opened.json["services"][0]["reason"], "translated", "{opened:?}");
        let inside = net.client.address(family);
        let named = format!("server sees this machine as {outside}, not as {inside}");
        assert!(opened.stderr.contains(&named), "{opened:?}");
        let command = format!("spa-client host set server expect-address {outside}");
        assert!(opened.stderr.contains(&command), "{opened:?}");
    });
    assert_eq!(scene.server.status()["knocks"]["granted"], 0);
    // What it says mends it.
    let outside = Family::BOTH.map(|family| router_address(&net.server, family));
    let mut set = scene.client.command("spa-client");
    set.args(["host", "set", "server", "expect-address"]).args(&outside);
    assert!(set.output().unwrap().status.success());
    both(|family| drop(scene.client.must_open("ssh", family, &["--timeout", "5s"])));
}

/// The router's own address on the server's link.
fn router_address(server: &Host, family: Family) -> String {
    match family {
        Family::V4 => "192.0.2.254".to_owned(),
        Family::V6 => server.address(family).to_string().replace("::1", "::fe"),
    }
}
