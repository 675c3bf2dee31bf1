//! Looking into a running server and stepping in: the commands of the control socket, in the words
//! that they print.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Shutdown};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;

use spa_tests::config::Config;
use spa_tests::daemon::{Client, binary};
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{self, PATIENCE, SSH, Scene, WEB, both};
use spa_tests::session::Session;
use spa_tests::{Family, need_namespaces, wait_until};

/// A port that nobody hides and nobody serves.
const CLOSED: u16 = 9;

struct House {
    scene: Scene,
    net: Lan,
}

fn house(config: &Config) -> House {
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, config, &["ssh", "web"]);
    scene.server.wait_fence();
    House { scene, net }
}

#[test]
fn what_is_open_is_told_opened_and_closed() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let Scene { server, client, .. } = &scene;
    let mut session = Session::new();
    session.run(server, "grants");
    client.must_open("ssh", Family::V4, &[]);
    client.must_open("ssh", Family::V6, &[]);
    both(|family| assert!(scene.is_open(family, SSH), "{family}"));
    session.run(server, "grants");

    // Without a knock, for somebody who has no key.
    for family in Family::BOTH {
        assert_eq!(scene.seen(&net.stranger, family, WEB), TcpProbe::Silent, "{family}");
        let stranger = net.stranger.address(family);
        session.run(server, &format!("open web --for {stranger} --ttl 5m"));
        assert_eq!(scene.seen(&net.stranger, family, WEB), TcpProbe::Open, "{family}");
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
        let source = format!("source={stranger} ");
        server.wait_log(&[
            "event=granted",
            "client=:admin",
            "service=web",
            &source,
            "ttl=300s",
            "by=0",
        ]);
    }
    session.run(server, "open web --for 203.0.113.66 --ttl 6m --json");
    session.run(server, "grants");
    session.run(server, "grants --json");
    for wrong in [
        "wbe --for 203.0.113.66",
        "web --for 203.0.113.66 --ttl 25h",
        "web --for 0.0.0.0",
        "web --for ff02::1 --json",
        "web --for nowhere",
        "web",
    ] {
        session.run(server, &format!("open {wrong}"));
    }

    // Closed at once, in the engine's book as well: the next knock opens a new grant.
    session.run(server, "close g1");
    assert!(scene.is_hidden(Family::V4, SSH));
    server.wait_log(&["event=closed", "client=laptop", "grant=g1", "by=0"]);
    session.run(server, "close g1");
    client.must_open("ssh", Family::V4, &[]);
    assert!(scene.is_open(Family::V4, SSH));
    session.run(server, "close --client laptop");
    both(|family| assert!(scene.is_hidden(family, SSH), "{family}"));
    session.run(server, "close --client laptop");
    session.run(server, "close --all");
    both(|family| assert_eq!(scene.seen(&net.stranger, family, WEB), TcpProbe::Silent, "{family}"));
    session.run(server, "close --all --json");
    session.run(server, "close");
    session.run(server, "close g1 --all");
    session.run(server, "close gg1");
    both(|family| drop(client.must_open("ssh", family, &[])));
    session.end("control-grants");
}

#[test]
fn who_is_banned_is_told_banned_and_pardoned() {
    need_namespaces!();
    let House { net, scene } =
        house(&scene::config(600).set("ban.never", "[\"198.51.100.0/24\", \"2001:db8:c::10\"]"));
    let server = &scene.server;
    let seen = |family| scene.seen(&net.stranger, family, CLOSED);
    let mut session = Session::new();
    session.run(server, "bans");
    both(|family| assert_eq!(seen(family), TcpProbe::Refused, "{family}"));
    session.run(server, "ban 203.0.113.66 --time 10m");
    session.run(server, "ban 2001:db8:5::66");
    both(|family| assert_eq!(seen(family), TcpProbe::Silent, "{family}"));
    server.wait_log(&["event=banned", "network=2001:db8:5::/64", "time=3600s", "by=0"]);
    session.run(server, "bans");
    session.run(server, "bans --json");
    for wrong in [
        "198.51.100.10",
        "2001:db8:c::77",
        "10.0.0.0/8",
        "nowhere",
        "192.0.2.9 --time 400d",
        "192.0.2.9 --time 9",
    ] {
        session.run(server, &format!("ban {wrong}"));
    }
    session.run(server, "unban 203.0.113.66");
    session.run(server, "unban 203.0.113.66");
    assert_eq!((seen(Family::V4), seen(Family::V6)), (TcpProbe::Refused, TcpProbe::Silent));
    server.wait_log(&["event=unbanned", "network=203.0.113.66/32", "by=0"]);
    session.run(server, "ban 203.0.113.66 --json");
    session.run(server, "unban --all");
    both(|family| assert_eq!(seen(family), TcpProbe::Refused, "{family}"));
    session.run(server, "unban --all --json");
    session.run(server, "unban");
    session.end("control-bans");
}

#[test]
fn clients_are_told_with_their_last_knock() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let arguments = [
        "--service",
        "web",
        "--hours",
        "mon-sun 00:00-24:00",
        "--expires",
        "2100-01-01T00:00:00Z",
        "--from",
        "198.51.100.0/24",
        "--from",
        "2001:db8:c::/48",
    ];
    let desktop = Client::enrolled_with(&net.client, server, "desktop", &arguments);
    let mut session = Session::new();
    session.run(server, "clients");
    scene.client.must_open("ssh", Family::V6, &[]);
    desktop.must_open("web", Family::V4, &[]);
    session.run(server, "clients");
    session.run(server, "clients --json");
    // Removed, it has nothing open any more.
    session.run(server, "client remove desktop");
    assert!(scene.is_hidden(Family::V4, WEB));
    session.run(server, "clients");
    session.run(server, "grants");
    session.end("control-clients");
}

#[test]
fn a_reload_tells_what_came_of_it() {
    need_namespaces!();
    let House { net: _net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let mut session = Session::new();
    session.run(server, "reload");
    session.run(server, "reload --json");
    // A part that is for the next start.
    server.configure(&scene::config(600).set("log.level", "\"debug\""));
    session.run(server, "reload");
    server.configure(&scene::config(600).append("[[service]]\nname = \"ssh\"\n"));
    session.run(server, "reload");
    session.run(server, "reload --json");
    server.wait_log(&["event=reload-asked", "by=0"]);
    // A broken file keeps nobody from looking in and stepping in.
    let status = String::from_utf8(server.control(&["status"]).stdout).unwrap();
    assert!(status.contains("ago, was refused and changed nothing"), "{status}");
    session.run(server, "close --all");
    server.configure(&scene::config(600));
    session.run(server, "reload");
    assert_eq!(server.status()["reload"]["ok"], true);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    session.end("control-reload");
}

#[test]
fn another_firewall_is_named_as_long_as_it_is_in_the_way() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let of_other = |found: &serde_json::Value| found["chain"] == "inet other input";
    let obstacles = || {
        let status = server.status();
        status["obstacles"].as_array().unwrap().iter().filter(|found| of_other(found)).count()
    };
    assert_eq!(obstacles(), 0);
    let nft = |text: &str| {
        assert!(net.server.command("nft").arg(text).status().unwrap().success(), "{text}")
    };
    nft("table inet other { chain input { type filter hook input priority 0; policy drop; }; }");
    assert!(wait_until(PATIENCE, || obstacles() == 1), "{}", server.status());
    let text = String::from_utf8(server.control(&["status"]).stdout).unwrap();
    assert!(text.contains("warning: inet other input: "), "{text}");
    nft("delete table inet other");
    assert!(wait_until(PATIENCE, || obstacles() == 0), "{}", server.status());
}

/// What the server says to lines that are sent as they are.
fn talk(stream: &mut UnixStream, lines: &str) -> Vec<serde_json::Value> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may close the door before all is written.
    let _ = stream.write_all(lines.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let answers = BufReader::new(stream).lines().map_while(Result::ok);
    answers.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

#[test]
fn nobody_can_keep_the_socket_from_others() {
    need_namespaces!();
    let House { net: _net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let connect = || UnixStream::connect(server.folder().join("control.sock")).unwrap();
    let error = |lines: &str| talk(&mut connect(), lines)[0]["error"].as_str().unwrap().to_owned();
    for (lines, words) in [
        (
            "{\"version\":1,\"command\":\"dance\"}\n",
            "this server knows status, reload, grants, open, close,",
        ),
        (
            "{\"version\":2,\"command\":\"status\"}\n",
            "version 1 of the control socket, and was asked in version 2",
        ),
        ("hello\n", "not understood"),
        (&"x".repeat(70_000), "a line is at most 65536 bytes"),
    ] {
        assert!(error(lines).contains(words), "{words}: {}", error(lines));
    }
    // Several on one connection, answered in their order.
    let line = |command: &str| format!("{{\"version\":1,\"command\":\"{command}\"}}\n");
    let answers = talk(&mut connect(), &(line("grants") + &line("bans") + &line("metrics")));
    let has = |at: usize, name: &str| answers[at]["ok"] == true && !answers[at][name].is_null();
    assert!(
        answers.len() == 3 && has(0, "grants") && has(1, "bans") && has(2, "text"),
        "{answers:?}"
    );

    // One user's silent connections are bounded, and neither knocks nor a stop wait for them.
    let silent: Vec<UnixStream> = (0..16).map(|_| connect()).collect();
    let full = || {
        talk(&mut connect(), "").first().is_some_and(|a| {
            a["error"] == "too many connections to the control socket: close some, or wait"
        })
    };
    assert!(wait_until(PATIENCE, full));
    let refused = server.control(&["status"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    drop(silent);
    assert!(wait_until(PATIENCE, || server.control(&["status"]).status.success()));
}

#[test]
fn the_socket_is_for_its_group_and_says_who_asked() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let socket = server.folder().join("control.sock");
    let config = server.folder().join("server.toml");
    // Where a developer builds, others may have no way in. Copied by another process: a file that
    // this one has open for writing, in a child of another test's thread as well, cannot be
    // run.
    let program = server.folder().join("spa-server");
    assert!(Command::new("cp").arg(binary("spa-server")).arg(&program).status().unwrap().success());
    for (path, mode) in
        [(server.folder(), 0o711), (config.as_path(), 0o644), (program.as_path(), 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let group = fs::metadata(&socket).unwrap().gid().to_string();
    let open = |groups: &[&str]| {
        let mut command = net.server.command("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--inh-caps=-all"])
            .args(groups)
            .arg(&program);
        command
            .args(["open", "web", "--for", "203.0.113.66", "--config"])
            .arg(&config)
            .output()
            .unwrap()
    };
    let outside = open(&["--clear-groups"]);
    assert_eq!(outside.status.code(), Some(77), "{outside:?}");
    assert!(
        String::from_utf8_lossy(&outside.stderr).contains("member of the socket's group"),
        "{outside:?}"
    );
    // Somebody has loosened the mode: the server looks for itself.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let outside = open(&["--clear-groups"]);
    assert_eq!(outside.status.code(), Some(77), "{outside:?}");
    assert!(
        String::from_utf8_lossy(&outside.stderr)
            .contains("not permitted: the control socket is for root"),
        "{outside:?}"
    );
    server.wait_log(&["event=control-refused", "by=65534"]);
    let member = open(&["--groups", &group]);
    assert!(member.status.success(), "{member:?}");
    server.wait_log(&["event=granted", "client=:admin", "by=65534"]);
}

#[test]
fn pages_join_without_a_gap() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let server = &scene.server;
    for name in ["b", "a", "c"] {
        Client::enrolled(&net.client, server, name, &["ssh"]);
    }
    for ban in ["203.0.113.9", "203.0.113.66", "2001:db8:5::66", "2001:db8:9::1"] {
        assert!(server.control(&["ban", ban]).status.success());
    }
    let ask = |line: String| {
        let mut stream = UnixStream::connect(server.folder().join("control.sock")).unwrap();
        talk(&mut stream, &format!("{line}\n")).remove(0)
    };
    let pages = |command: &str, name: &str, limit: usize| {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = ask(format!(
                "{{\"version\":1,\"command\":\"{command}\",\"limit\":{limit}{after}}}"
            ));
            let rows = page[command].as_array().unwrap_or_else(|| panic!("{page}"));
            assert!(rows.len() <= limit, "{page}");
            found.extend(rows.iter().map(|row| row[name].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!(",\"after\":\"{next}\""),
                None => return found,
            }
        }
    };
    for limit in [1, 2, 3, 4, 5] {
        assert_eq!(pages("clients", "name", limit), ["laptop", "b", "a", "c"]);
        let bans = ["203.0.113.9/32", "203.0.113.66/32", "2001:db8:5::/64", "2001:db8:9::/64"];
        assert_eq!(pages("bans", "network", limit), bans);
    }
    let gone = ask("{\"version\":1,\"command\":\"clients\",\"after\":\"desktop\"}".to_owned());
    assert!(
        gone["error"].as_str().is_some_and(|error| error.contains("ask again from the start")),
        "{gone}"
    );
}

#[test]
fn metrics_are_told() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let server = &scene.server;
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let stranger: IpAddr = net.stranger.address(Family::V4);
    assert!(server.control(&["ban", &stranger.to_string()]).status.success());
    let output = server.control(&["metrics"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "spa_knocks_total{verdict=\"granted\",reason=\"none\"} 2",
        "spa_grants{service=\"ssh\"} 2",
        "spa_clients 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in: {text}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&server.control(&["metrics", "--json"]).stdout).unwrap();
    assert!(
        json["version"] == 1
            && json["text"]
                .as_str()
                .is_some_and(|text| text.contains("spa_grants{service=\"ssh\"} 2"))
    );
}
