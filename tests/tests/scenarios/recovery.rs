//! Somebody else's hands on the firewall, and ends of the daemon of every kind.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::daemon::{Client, Server, binary};
use spa_tests::netns::{Host, lan};
use spa_tests::nft::Element;
use spa_tests::probe::{EchoServer, TcpProbe, hold};
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::wait::wait_for;
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// How soon a damaged table must be whole again.
const REPAIR: Duration = Duration::from_secs(1);
/// An administrator's own table, with something of everything.
const FOREIGN: &str = "table inet foreign {
    set friends { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 } }
    chain input { type filter hook input priority 10; policy accept; ip saddr @friends counter accept; }
    chain own { tcp dport 9999 drop; }
}";

fn grant(host: &Host, family: Family) -> Option<Element> {
    nft::elements(host, "inet", "spa", &format!("grant{}", family.digit()))?.into_iter().next()
}

fn left(host: &Host, family: Family) -> Option<u64> {
    grant(host, family)?.expires
}

/// Waits until a grant has this many seconds left at most.
fn run_down(host: &Host, family: Family, seconds: u64) -> u64 {
    wait_for(PATIENCE, || left(host, family).filter(|left| *left <= seconds)).expect("a grant that runs down")
}

/// A table without what changes by itself: handles, counts, elements with a time, the order in which things were made.
/// Nothing when there is no such table.
fn table(host: &Host, name: &str) -> Option<Vec<Value>> {
    let mut list = nft::json(host, &["list", "table", "inet", name])?;
    list.retain(|item| item["metainfo"].is_null());
    for item in &mut list {
        let timed =
            |set: &Value| set["flags"].as_array().is_some_and(|flags| flags.contains(&"timeout".into()));
        if timed(&item["set"]) {
            item["set"].as_object_mut().unwrap().remove("elem");
        }
        settle(item);
    }
    // A chain that was made anew comes last. Stable: the rules of a chain stay in their order.
    list.sort_by_key(|item| {
        let (kind, what) = item.as_object().and_then(|item| item.iter().next()).expect("one object");
        let name = if kind == "rule" { &what["chain"] } else { &what["name"] };
        (kind.clone(), name.as_str().map(str::to_owned))
    });
    Some(list)
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(map) => {
            ["handle", "packets", "bytes"].iter().for_each(|key| drop(map.remove(*key)));
            map.values_mut().for_each(settle);
        }
        Value::Array(list) => list.iter_mut().for_each(settle),
        _ => {}
    }
}

/// Whether somebody who may not gets no sign of life.
fn hidden(scene: &Scene, from: &Host) {
    both(|family| assert_eq!(scene.seen(from, family, SSH), TcpProbe::Silent, "{family}: {from:?}"));
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn flush_ruleset_with_live_grants() {
    need_namespaces!();
    const TTL: u64 = 8;
    let net = lan();
    let host = &net.server;
    let scene = Scene::new(host, &net.client, &config(8), &["ssh"]);
    scene.server.wait_fence();
    let whole = table(host, "spa").unwrap();
    let begun = Instant::now();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let mut held = Family::BOTH.map(|family| hold(&net.client, host.at(family, SSH), PATIENCE));
    both(|family| {
        run_down(host, family, TTL - 2);
    });

    let mark = scene.server.log().mark();
    let before = Family::BOTH.map(|family| left(host, family).unwrap());
    nft::load(host, "flush ruleset");
    let flushed = Instant::now();
    let back = || Family::BOTH.map(|family| left(host, family));
    assert!(wait_until(PATIENCE, || back().iter().all(Option::is_some)), "the grants do not come back");
    let took = flushed.elapsed();
    assert!(took < REPAIR, "it took {took:?}");
    for (before, after) in before.into_iter().zip(back()) {
        // Never more than there was, and not much less: two looks and whole seconds lie between.
        let after = after.unwrap();
        assert!(after <= before && after + 2 >= before, "{before} s were left before, {after} s after");
    }
    assert_eq!(table(host, "spa").unwrap(), whole);
    scene.server.log().wait_since(mark, &["event=firewall-restored", "grants=2"]);
    assert!(held.iter_mut().all(|held| held.is_alive(PATIENCE)), "connections were cut");
    hidden(&scene, &net.stranger);
    both(|family| assert!(scene.is_open(family, SSH), "{family}"));

    assert!(wait_until(PATIENCE, || back() == [None, None]), "never closes");
    let lasted = begun.elapsed();
    assert!(lasted < Duration::from_secs(TTL) + REPAIR, "{lasted:?} instead of {TTL} s");
    hidden(&scene, &net.client);
}

#[test]
fn foreign_tables_are_never_touched() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    nft::load(host, FOREIGN);
    let foreign = table(host, "foreign").unwrap();
    let scene = Scene::new(host, &net.client, &config(60), &["ssh"]);
    scene.server.wait_fence();
    let whole = table(host, "spa").unwrap();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    // As nftables.service and its kin do it: everything away and the own rules back, in one transaction.
    let reload = format!("flush ruleset\n{FOREIGN}");
    for damage in ["delete table inet spa", &reload, "flush chain inet spa input"] {
        nft::load(host, damage);
        let good = || table(host, "spa").as_ref() == Some(&whole) && grant(host, Family::V6).is_some();
        assert!(wait_until(REPAIR, good), "not repaired: {damage}");
        assert_eq!(table(host, "foreign").unwrap(), foreign, "{damage}");
    }
    // What is foreign and gone stays gone.
    nft::load(host, "flush ruleset");
    assert!(wait_until(REPAIR, || table(host, "spa").as_ref() == Some(&whole)), "not repaired");
    assert_eq!(table(host, "foreign"), None);
    both(|family| assert!(scene.is_open(family, SSH), "{family}"));
}

#[test]
fn every_damage_is_repaired() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let config =
        config(300).bait("trap", "ports = [\"tcp/23\"]\nban = \"60s\"").set("ban.never", "[\"10.0.0.0/8\"]");
    let scene = Scene::new(host, &net.client, &config, &["ssh"]);
    scene.server.wait_fence();
    let whole = table(host, "spa").unwrap();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let live = |host: &Host| {
        let sets = ["grant4", "grant6", "live4", "live6"];
        sets.map(|set| {
            let elements = nft::elements(host, "inet", "spa", set).unwrap_or_default();
            elements.into_iter().map(|element| (element.key, element.expires.is_some())).collect::<Vec<_>>()
        })
    };
    let granted = live(host);
    assert!(granted.iter().all(|set| set.len() == 1), "{granted:?}");

    let rules = nft::json(host, &["list", "chain", "inet", "spa", "input"]).unwrap();
    let handles: Vec<u64> = rules.iter().filter_map(|item| item["rule"]["handle"].as_u64()).collect();
    let first_rule = format!("delete rule inet spa input handle {}", handles[0]);
    let damages = [
        "delete table inet spa",
        first_rule.as_str(),
        "flush chain inet spa input",
        "flush chain inet spa pre",
        "flush chain inet spa bait",
        "flush chain inet spa out; delete chain inet spa out",
        "insert rule inet spa input accept",
        "add rule inet spa input drop",
        "add chain inet spa input { policy drop; }",
        "add chain inet spa foreign { type filter hook input priority 50; policy drop; }",
        "add table inet spa { flags dormant; }",
        "flush set inet spa grant4",
        "flush set inet spa grant6; flush set inet spa live6",
        "flush set inet spa protected_tcp",
        "delete element inet spa protected_tcp { 22 }",
        "add element inet spa protected_tcp { 8080 }",
        "flush set inet spa knock",
        "add element inet spa never4 { 203.0.113.0/24 }",
        "add set inet spa more { type ipv4_addr; }",
        "add chain inet spa more; add rule inet spa input jump more",
    ];
    for damage in damages {
        nft::load(host, damage);
        let good = || table(host, "spa").as_ref() == Some(&whole) && live(host) == granted;
        assert!(wait_until(PATIENCE, good), "not repaired: {damage}\n{:#?}", table(host, "spa"));
        assert!(grant(host, Family::V4).unwrap().expires < Some(300), "{damage}: a whole new time");
    }
    hidden(&scene, &net.stranger);
    both(|family| {
        assert!(scene.is_open(family, SSH), "{family}");
        scene.client.must_open("ssh", family, &[]);
    });
}

#[test]
fn a_restart_keeps_the_grants() {
    need_namespaces!();
    const TTL: u64 = 20;
    let net = lan();
    let host = &net.server;
    let mut scene = Scene::new(host, &net.client, &config(20), &["ssh"]);
    scene.server.wait_fence();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let mut held = Family::BOTH.map(|family| hold(&net.client, host.at(family, SSH), PATIENCE));
    let whole = table(host, "spa").unwrap();
    let grants = |scene: &Scene| {
        let status = scene.server.status();
        let grants = status["grants"].as_array().unwrap().iter();
        let mut grants: Vec<_> = grants
            .map(|g| format!("{} {} {} {}", g["grant"], g["client"], g["service"], g["source"]))
            .collect();
        grants.sort();
        grants
    };
    let known = grants(&scene);
    assert_eq!(known.len(), 2, "{known:?}");
    for crash in [false, true] {
        both(|family| {
            run_down(host, family, TTL - if crash { 4 } else { 2 });
        });
        let before = Family::BOTH.map(|family| left(host, family).unwrap());
        if crash {
            scene.server.kill9();
            scene.server.launch();
        } else {
            scene.server.restart();
        }
        for (family, before) in Family::BOTH.into_iter().zip(before) {
            let after = left(host, family).unwrap();
            assert!(
                after <= before && after + 3 >= before,
                "{family}, crash {crash}: {before} s, then {after} s"
            );
        }
        assert_eq!(table(host, "spa").unwrap(), whole, "crash {crash}");
        assert_eq!(grants(&scene), known, "crash {crash}");
        assert!(held.iter_mut().all(|held| held.is_alive(PATIENCE)), "crash {crash}: connections were cut");
        both(|family| assert!(scene.is_open(family, SSH), "{family}, crash {crash}"));
        hidden(&scene, &net.stranger);
    }
    // The grants are its own again: it renews them, and puts them back.
    let mark = scene.server.log().mark();
    nft::load(host, "flush ruleset");
    scene.server.log().wait_since(mark, &["event=firewall-restored", "grants=2"]);
    assert_eq!(grants(&scene), known);
    both(|family| {
        // It may have to wait for the fence after the crash, in which the grant runs down.
        scene.client.must_open("ssh", family, &["--ttl", "40s"]);
        assert!(grant(host, family).unwrap().timeout >= Some(TTL), "{family}");
        let source = format!("source={} ", net.client.address(family));
        scene.server.log().wait_since(mark, &[" service=ssh ", &source, "ttl=40s"]);
    });
}

#[test]
fn a_killed_server_closes_on_time() {
    need_namespaces!();
    const TTL: u64 = 3;
    let net = lan();
    let host = &net.server;
    let mut scene = Scene::new(host, &net.client, &config(3), &["ssh"]);
    scene.server.wait_fence();
    let begun = Instant::now();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    scene.server.kill9();
    let mut held = Family::BOTH.map(|family| hold(&net.client, host.at(family, SSH), PATIENCE));
    hidden(&scene, &net.stranger);
    let closed = || Family::BOTH.iter().all(|family| grant(host, *family).is_none());
    assert!(wait_until(PATIENCE, closed), "never closes");
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_secs(TTL) && lasted < Duration::from_secs(TTL + 2), "{lasted:?}");
    hidden(&scene, &net.client);
    hidden(&scene, &net.stranger);
    assert!(held.iter_mut().all(|held| held.is_alive(PATIENCE)), "connections were cut");
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
    });
    hidden(&scene, &net.client);
    scene.server.launch();
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}");
    });
}

#[test]
fn a_clean_stop() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let mut scene = Scene::new(host, &net.client, &config(30), &["ssh"]);
    scene.server.wait_fence();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let whole = table(host, "spa").unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let socket = scene.server.folder().join("control.sock");
        assert!(socket.exists());
        let mark = scene.server.log().mark();
        scene.server.signal(signal);
        scene.server.log().wait_since(mark, &["event=stopped", "grants=2"]);
        assert_eq!(scene.server.stop().code(), Some(0), "{signal}");
        assert!(!socket.exists(), "{signal}");
        let status = scene.server.control(&["status"]);
        assert_eq!(status.status.code(), Some(3), "{signal}: {status:?}");
        // What is hidden stays hidden, what is open stays open for its time.
        assert_eq!(table(host, "spa").unwrap(), whole, "{signal}");
        hidden(&scene, &net.stranger);
        both(|family| assert!(scene.is_open(family, SSH), "{family}, {signal}"));
        scene.server.launch();
    }
}

#[test]
fn a_second_daemon_does_not_begin() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let first = config(60);
    let scene = Scene::new(host, &net.client, &first, &["ssh"]);
    scene.server.wait_fence();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let whole = table(host, "spa").unwrap();
    let mark = scene.server.log().mark();
    let other_control =
        first.clone().set("server.control", "\"{dir}/other.sock\"").service("more", "ports = [\"tcp/99\"]");
    let other_state = other_control.clone().set("server.state", "\"{dir}/other\"");
    let seconds: [(&Config, &str); 3] = [
        (&first, "another spa-server answers"),
        (&other_control, "another spa-server"),
        // Nothing in common but the firewall.
        (&other_state, "another spa-server"),
    ];
    for (second, words) in seconds {
        scene.server.configure(second);
        let mut command = host.command("timeout");
        command.arg("10").arg(binary("spa-server")).args(["run", "--config"]);
        let output = command.arg(scene.server.folder().join("server.toml")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output).contains(words), "{output:?}");
        scene.server.configure(&first);
        assert_eq!(table(host, "spa").unwrap(), whole, "{output:?}");
        assert_eq!(scene.server.status()["grants"].as_array().map(Vec::len), Some(2), "{output:?}");
        both(|family| {
            assert!(scene.is_open(family, SSH), "{family}");
            scene.client.must_open("ssh", family, &[]);
        });
        hidden(&scene, &net.stranger);
    }
    let lines = scene.server.log().lines().split_off(mark);
    assert!(
        !lines.iter().any(|line| line.contains("firewall-restored")),
        "the second one has changed the table: {lines:?}"
    );
}

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

/// A disk of the daemon's own, seen from outside.
struct Disk {
    root: PathBuf,
}

impl Disk {
    fn of(server: &mut Server) -> Disk {
        let inside = server.folder().join("disk");
        let root = PathBuf::from(format!("/proc/{}/root", server.daemon().pid()));
        Disk { root: root.join(inside.strip_prefix("/").unwrap()) }
    }

    /// Takes all the room, down to the last byte.
    fn fill(&self) {
        let mut ballast = File::create(self.root.join("ballast")).unwrap();
        for size in [65536, 4096, 1] {
            while ballast.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.root.join("ballast")).unwrap();
    }
}

#[test]
fn a_full_disk() {
    need_namespaces!();
    let net = lan();
    let config = config(2).set("server.state", "\"{dir}/disk/state\"");
    let script = "mkdir -p \"$0\" && mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\" && exec \"$@\"";
    let server = Server::prepare(&net.server, &config).with_wrapper(&["sh", "-c", script, "{dir}/disk"]);
    let mut scene = Scene::of(server, &net.client, &["ssh"]);
    scene.server.wait_fence();
    let disk = Disk::of(&mut scene.server);
    assert!(disk.root.join("state/spa.redb").exists(), "the store is not on the small disk");

    // Time stamps of the first two seconds are covered by what the start has written.
    assert!(wait_until(PATIENCE, || scene.server.status()["up-s"].as_u64() >= Some(3)));
    // The store's file has room for some more records inside itself; without the file there is none.
    disk.fill();
    fs::rename(disk.root.join("state/spa.redb"), disk.root.join("state/away")).unwrap();
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        assert_eq!(opened.status.code(), Some(1), "{family}: {opened:?}");
        let service = &opened.json["services"][0];
        assert_eq!((&service["granted"], &service["reason"]), (&false.into(), &"store".into()), "{opened:?}");
        assert!(opened.stderr.contains("store"), "{family}: {opened:?}");
        let source = format!("source={} ", net.client.address(family));
        let line = scene.server.wait_log(&["event=failed", "client=laptop ", &source, "reason=store"]);
        assert!(line.contains("space"), "{family}: {line}");
        assert_eq!(grant(&net.server, family), None, "{family}");
        assert!(scene.is_hidden(family, SSH), "{family}");
    });
    scene.server.wait_log(&["event=store", "level=error", "space"]);

    disk.free();
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH) && scene.is_hidden(family, WEB), "{family}");
    });
    assert!(disk.root.join("state/spa.redb").exists(), "the store was not made anew");
}
