//! The recipe of the MikroTik documentation and the script that `pkg/examples/recipe.toml` gives:
//! the same packets make the same lists and get the same answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use spa_tests::bans::stranger;
use spa_tests::config::Config;
use spa_tests::netns::{Host, Routed, routed};
use spa_tests::probe::{EchoServer, tcp};
use spa_tests::raw::Forger;
use spa_tests::scene::{PATIENCE, SILENCE};
use spa_tests::{Family, need_namespaces, nft, wait_until};

use super::{Router, Scene, gateway, render};

/// The recipe, its page's rules in their order; the two that are `disabled=yes` there are enabled.
/// First and last is what its text says of the rest of the firewall.
const RECIPE: &str = "\
add action =drop chain =input in-interface-list =WAN src-address-list =blacklist
add action =accept chain =input connection-state =established,related
add action =add-src-to-address-list address-list =888 address-list-timeout =30s chain =input \
    dst-port =888 in-interface-list =WAN protocol =tcp
add action =add-src-to-address-list address-list =555 address-list-timeout =30s chain =input \
    dst-port =555 in-interface-list =WAN protocol =tcp src-address-list =888
add action =add-src-to-address-list address-list =secured address-list-timeout =30m chain =input \
    dst-port =222 in-interface-list =WAN protocol =tcp src-address-list =555
add action =accept chain =input in-interface-list =WAN src-address-list =secured
add action =add-src-to-address-list address-list =blacklist address-list-timeout =1000m \
    chain =input dst-port =666 in-interface-list =WAN protocol =tcp
add action =add-src-to-address-list address-list =blacklist address-list-timeout =1m \
    chain =input dst-port =21,22,23,8291,10000-60000 in-interface-list =WAN protocol =tcp \
    src-address-list =!secured
add action =drop chain =input in-interface-list =WAN connection-state =new
";

/// Ports that somebody listens at on the router: one of no meaning, and two soft baits.
const LISTENING: [u16; 3] = [80, 22, 8291];
/// Baits, their neighbours, and the knock ports.
const TOUCHED: [u16; 21] = [
    666, 21, 22, 23, 8291, 10_000, 33_333, 60_000, 20, 24, 222, 555, 665, 667, 888, 8290, 8292,
    9999, 60_001, 80, 1,
];

/// Names of the address lists of one of the two scripts.
struct Lists {
    secured: &'static str,
    banned: &'static str,
}

const RECIPE_LISTS: Lists = Lists { secured: "secured", banned: "blacklist" };
const OUR_LISTS: Lists = Lists { secured: "spa-secured", banned: "spa.banned" };

fn recipe() -> String {
    format!("/ip firewall filter\n{RECIPE}/ipv6 firewall filter\n{RECIPE}")
}

fn example() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples/recipe.toml");
    let text = std::fs::read_to_string(path).expect("the example");
    let here = "[server]\nkey = \"{dir}/server.key\"\nclients = \"{dir}/clients.toml\"\n\
        state = \"{dir}/state\"\ncontrol = \"{dir}/control.sock\"\nhosts = [\"192.0.2.1\"]\n\
        window-future = \"1s\"\n";
    assert!(text.contains("[server]\n"));
    Config::literal(&text.replacen("[server]\n", here, 1))
}

/// A list as one line: address and whole time of each entry.
fn list(router: &Router, family: Family, name: &str) -> String {
    let mut entries: Vec<String> = router
        .list(family, name)
        .iter()
        .map(|entry| format!("{} for {:?}", entry.key.concat(), entry.timeout.unwrap_or_default()))
        .collect();
    entries.sort();
    entries.join(", ")
}

/// What the same packets bring about on a router.
fn observe(
    net: &Routed,
    router: &mut Router,
    lists: &Lists,
    secure: impl Fn(&mut Router, Family),
) -> BTreeMap<String, String> {
    let _listeners = LISTENING.map(|port| EchoServer::start(&net.router, port));
    let mut seen = BTreeMap::new();
    for family in Family::BOTH {
        let mut note = |what: &str, it: String| seen.insert(format!("{family} {what}"), it);
        let at = |host: &Host, port| SocketAddr::new(gateway(host, family), port);
        let probe = |port| {
            let closed = tcp(&net.client, at(&net.client, port), SILENCE);
            format!("{closed:?}")
        };
        note("a stranger's plain port", probe(80));
        let forger = Forger::new(&net.stranger);
        for (number, port) in (0..).zip(TOUCHED) {
            let source = SocketAddr::new(stranger(family, number), 40_000);
            forger.syn(source, at(&net.stranger, port));
        }
        // The knocks of the recipe, in the wrong order.
        for port in [888, 222, 555] {
            let source = SocketAddr::new(stranger(family, 100), 40_000);
            forger.syn(source, at(&net.stranger, port));
        }
        // The last packet has been decided when one behind it has run out.
        note(
            "after the touch",
            format!("{:?}", tcp(&net.stranger, at(&net.stranger, 80), SILENCE)),
        );
        note("banned", list(router, family, lists.banned));
        note("not secured", list(router, family, lists.secured));
        secure(router, family);
        note("secured", list(router, family, lists.secured));
        for port in LISTENING.into_iter().chain([1, 12_345, 666]) {
            note(&format!("secured, port {port}"), probe(port));
        }
        note("banned with the secured", list(router, family, lists.banned));
        router.admit(family, lists.banned, net.client.address(family), "1m");
        note("a banned one's plain port", probe(80));
    }
    seen
}

/// Three bare SYNs in this order, as the recipe's clients knock.
fn knock_bare(net: &Routed, family: Family, ports: [u16; 3]) {
    let forger = Forger::new(&net.client);
    for port in ports {
        let target = SocketAddr::new(gateway(&net.client, family), port);
        forger.syn(net.client.at(family, 40_000), target);
    }
}

fn observe_recipe(net: &Routed, script: &str) -> BTreeMap<String, String> {
    nft::load(&net.router, "flush ruleset");
    let mut router = Router::new(&net.router);
    router.scripts.clear();
    router.run(script);
    observe(net, &mut router, &RECIPE_LISTS, |router, family| {
        knock_bare(net, family, [888, 555, 222]);
        let _quick = wait_until(SILENCE, || !router.list(family, "secured").is_empty());
    })
}

/// Ours, with the list filled by hand.
fn observe_ours(net: &Routed, script: &str) -> BTreeMap<String, String> {
    nft::load(&net.router, "flush ruleset");
    let mut router = Router::new(&net.router);
    router.run(script);
    observe(net, &mut router, &OUR_LISTS, |router, family| {
        router.admit(family, OUR_LISTS.secured, net.client.address(family), "1800s");
    })
}

fn expected(net: &Routed) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for family in Family::BOTH {
        let mut note = |what: &str, it: &str| all.insert(format!("{family} {what}"), it.to_owned());
        note("a stranger's plain port", "Silent");
        note("after the touch", "Silent");
        let mut bans: Vec<String> = (0..8)
            .map(|n| format!("{} for {}", stranger(family, n), if n == 0 { 60_000 } else { 60 }))
            .collect();
        bans.sort();
        note("banned", &bans.join(", "));
        note("not secured", "");
        note("secured", &format!("{} for 1800", net.client.address(family)));
        for (port, answer) in
            [(80, "Open"), (22, "Open"), (8291, "Open"), (1, "Refused"), (12_345, "Refused")]
        {
            note(&format!("secured, port {port}"), answer);
        }
        note("secured, port 666", "Refused");
        note("banned with the secured", &bans.join(", "));
        note("a banned one's plain port", "Silent");
    }
    all
}

/// The script for the example, without a running server.
fn our_script(net: &Routed) -> String {
    let server = spa_tests::daemon::Server::prepare(&net.server, &strict());
    render(&server, &[])
}

/// To the letter: banned is banned.
fn strict() -> Config {
    let text = example().text(Path::new("{dir}"));
    Config::literal(&text.replacen("# authenticated =", "authenticated =", 1))
}

#[test]
fn the_recipe_and_ours_decide_alike() {
    need_namespaces!();
    let net = routed();
    let expected = expected(&net);
    assert_eq!(observe_recipe(&net, &recipe()), expected);
    assert_eq!(observe_ours(&net, &our_script(&net)), expected);
}

/// Each change of one of the two scripts shows.
#[test]
fn a_changed_rule_is_seen() {
    need_namespaces!();
    let net = routed();
    let expected = expected(&net);
    let (recipe, ours) = (recipe(), our_script(&net));
    let without = |script: &str, words: &str| -> String {
        let kept: Vec<&str> = script.lines().filter(|line| !line.contains(words)).collect();
        assert!(kept.len() < script.lines().count(), "no line has {words}");
        kept.join("\n")
    };
    let with = |script: &str, from: &str, to: &str| {
        assert!(script.contains(from), "nothing has {from}");
        script.replace(from, to)
    };
    for script in [
        with(&recipe, "1000m", "999m"),
        with(&recipe, "=30m", "=29m"),
        with(&recipe, "=!secured", "=secured"),
        with(&recipe, "src-address-list =555", "src-address-list =888"),
    ] {
        assert_ne!(observe_recipe(&net, &script), expected, "{script}");
    }
    for script in [
        with(&ours, "address-list-timeout=16h40m", "address-list-timeout=16h"),
        with(&ours, "dst-port=666", "dst-port=665"),
        with(&ours, "-60000", "-59999"),
        with(&ours, "in-interface-list=WAN", "in-interface-list=WAN disabled=yes"),
        without(&ours, "spa-server: secured opens"),
        without(&ours, "spa-server: everything else"),
        without(&ours, "chain=spa.banned action=drop"),
        without(&ours, "chain=spa.input src-address-list=spa.banned"),
    ] {
        assert_ne!(observe_ours(&net, &script), expected, "{script}");
    }
}

/// The whole way: a client knocks at the router's address, the router passes the knocks on with
/// their source, the server decides, and the router lets in who is on the list.
#[test]
fn three_knocks_secure_an_address_on_the_router() {
    need_namespaces!();
    let mut scene = Scene::new(&example(), "secured");
    let script = render(&scene.server, &[]);
    scene.router.run(&script);
    let _plain = EchoServer::start(&scene.net.router, 80);
    for family in Family::BOTH {
        let client = scene.net.client.address(family);
        let plain = SocketAddr::new(gateway(&scene.net.client, family), 80);
        let seen = |patience| format!("{:?}", tcp(&scene.net.client, plain, patience));
        assert_eq!(seen(SILENCE), "Silent", "{family}");
        // Banned by a bait, it still may prove who it is: `authenticated = "pardon"`.
        Forger::new(&scene.net.client)
            .syn(scene.net.client.at(family, 40_000), SocketAddr::new(plain.ip(), 666));
        let banned = || !scene.router.list(family, OUR_LISTS.banned).is_empty();
        assert!(wait_until(PATIENCE, banned), "{family}");
        assert_eq!(scene.knock("secured", family), 1800, "{family}");
        assert_eq!(seen(SILENCE), "Silent", "{family}: nobody has told the router");
        scene.router.admit(family, OUR_LISTS.secured, client, "30m");
        assert_eq!(seen(PATIENCE), "Open", "{family}");
        let secured = list(&scene.router, family, OUR_LISTS.secured);
        assert_eq!(secured, format!("{client} for 1800"), "{family}");
    }
}
