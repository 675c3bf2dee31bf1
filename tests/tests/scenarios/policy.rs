//! What an access stanza says no to, and in which words the log and the client hear of it.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use spa_proto::{ClientSecret, Request, Session, SessionParts};
use spa_tests::config::Config;
use spa_tests::daemon::{Client, Opened, Server};
use spa_tests::knocker::{Knocker, Sender, now_ms};
use spa_tests::netns::lan;
use spa_tests::nft::Element;
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// Exit codes of the client, as the manual has them.
const DENIED: i32 = 1;
const UNREACHABLE: i32 = 3;

fn grants(server: &Server, family: Family) -> Vec<Element> {
    let set = format!("grant{}", family.digit());
    nft::elements(server.host(), "inet", "spa", &set).expect("the set of grants")
}

/// The named client knocks and is denied for this reason: in the log, in the answer, in the exit
/// code; nothing opens.
fn denied(scene: &Scene, client: &Client, name: &str, family: Family, what: &[&str], reason: &str) {
    let (service, arguments) = what.split_first().unwrap();
    let mark = scene.server.log().mark();
    let before = grants(&scene.server, family).len();
    let opened = client.open(service, family, arguments);
    assert_eq!(opened.status.code(), Some(DENIED), "{reason}, {family}: {opened:?}");
    assert_eq!(answer(&opened), (Some(false), Some(reason.to_owned())), "{family}: {opened:?}");
    let one = &opened.json["services"][0];
    assert!(one["ttl"].is_null(), "{reason}, {family}: {opened:?}");
    assert_eq!(one["families"][0]["reason"], reason, "{family}: {opened:?}");
    assert_eq!(
        one["families"][0]["address"],
        scene.server.host().address(family).to_string(),
        "{opened:?}"
    );
    let (client_word, source) =
        (format!("client={name} "), format!("source={} ", client.host().address(family)));
    let reason_word = format!("reason={reason}");
    scene.server.log().wait_since(mark, &["event=denied", &client_word, &source, &reason_word]);
    assert_eq!(grants(&scene.server, family).len(), before, "{reason}, {family}: something opened");
}

/// The client knocks, hears nothing, and nothing opens: for the server it is a stranger.
fn unheard(scene: &Scene, client: &Client, family: Family) {
    let opened = client.open("ssh", family, &["--timeout", "1s"]);
    assert_eq!(opened.status.code(), Some(UNREACHABLE), "{family}: {opened:?}");
    assert_eq!(
        answer(&opened),
        (Some(false), Some("no-answer".to_owned())),
        "{family}: {opened:?}"
    );
    assert!(
        opened.stderr.contains("spa-server client list"),
        "{family}: no word about the likely causes: {opened:?}"
    );
    assert!(grants(&scene.server, family).is_empty(), "{family}");
}

fn answer(opened: &Opened) -> (Option<bool>, Option<String>) {
    let one = &opened.json["services"][0];
    (one["granted"].as_bool(), one["reason"].as_str().map(str::to_owned))
}

#[test]
fn the_stanza_says_no() {
    need_namespaces!();
    let net = lan();
    let config =
        config(30).service("short", "ports = [\"tcp/25\"]\nttl = \"30s\"\nmax-ttl = \"60s\"");
    // Everybody is added while the server runs and can knock, or be denied, at once.
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let add = |name: &str, arguments: &[&str]| {
        Client::enrolled_with(
            &net.client,
            &scene.server,
            name,
            &[&["--service", "ssh"], arguments].concat(),
        )
    };
    let now: u32 = local_hour();
    let other_hour = format!("{:02}:00-{:02}:00", (now + 11) % 24, (now + 13) % 24);
    let this_hour = format!("{:02}:00-{:02}:00", (now + 23) % 24, (now + 2) % 24);

    let expired = add("expired", &["--expires", "2024-02-29"]);
    let hours = add("hours", &["--hours", &other_hour]);
    let from = add("from", &["--from", "203.0.113.0/24", "--from", "2001:db8:5::/48"]);
    let short = add("short", &["--service", "short", "--max-ttl", "40s"]);
    both(|family| {
        denied(&scene, &expired, "expired", family, &["ssh"], "expired");
        denied(&scene, &hours, "hours", family, &["ssh"], "hours");
        denied(&scene, &from, "from", family, &["ssh"], "from");
        // Not its own, and nobody's.
        denied(&scene, &scene.client, "laptop", family, &["web"], "service");
        denied(&scene, &scene.client, "laptop", family, &["no-such-service"], "service");
        // Above the service's maximum, and above the client's own.
        denied(&scene, &short, "short", family, &["short", "--ttl", "61s"], "ttl");
        denied(&scene, &short, "short", family, &["ssh", "--ttl", "41s"], "ttl");
        assert!(scene.is_hidden(family, SSH) && scene.is_hidden(family, WEB), "{family}");
    });

    // The same rules, kept: nobody was denied for anything else.
    let kept = add(
        "kept",
        &[
            "--expires",
            "2099-12-31",
            "--hours",
            &this_hour,
            "--from",
            "198.51.100.0/24",
            "--from",
            "2001:db8:c::/64",
        ],
    );
    both(|family| {
        kept.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH) && scene.is_hidden(family, WEB), "{family}");
    });
}

/// The hour of the day here, as the server's local time has it.
fn local_hour() -> u32 {
    let output = Command::new("date").arg("+%H").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn as_many_grants_as_the_stanza_says() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(4), &["ssh"]);
    let one = Family::BOTH.map(|family| {
        let name = format!("one{}", family.digit());
        let arguments = ["--service", "ssh", "--service", "web", "--max-grants", "1"];
        Client::enrolled_with(&net.client, &scene.server, &name, &arguments)
    });
    both(|family| {
        let (client, name) = match family {
            Family::V4 => (&one[0], "one4"),
            Family::V6 => (&one[1], "one6"),
        };
        client.must_open("ssh", family, &[]);
        denied(&scene, client, name, family, &["web"], "max-grants");
        // To renew what it has is no second grant.
        client.must_open("ssh", family, &[]);
        denied(&scene, client, name, family, &["web"], "max-grants");
        assert!(
            wait_until(PATIENCE, || grants(&scene.server, family).is_empty()),
            "{family}: never closes"
        );
        client.must_open("web", family, &[]);
        assert!(scene.is_open(family, WEB), "{family}");
    });
}

#[test]
fn how_long_it_opens() {
    need_namespaces!();
    let net = lan();
    let config = Config::default()
        .service("ssh", "ports = [\"tcp/22\"]\nttl = \"100s\"\nmax-ttl = \"200s\"")
        .service("web", "ports = [\"tcp/80\"]");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
    let brief = Client::enrolled_with(
        &net.client,
        &scene.server,
        "brief",
        &["--service", "ssh", "--service", "web", "--ttl", "50s", "--max-ttl", "60s"],
    );
    both(|family| {
        let opens = |client: &Client, what: &[&str], seconds: u64| {
            let (service, arguments) = what.split_first().unwrap();
            let json = client.must_open(service, family, arguments);
            assert_eq!(json["services"][0]["ttl"], seconds, "{what:?}, {family}: {json}");
            let port = if *service == "ssh" { SSH } else { WEB };
            let live = grants(&scene.server, family);
            let live = live.iter().find(|live| live.key[2] == port.to_string()).unwrap();
            // What another client's grant holds longer stays as it is.
            assert_eq!(live.timeout, Some(seconds), "{what:?}, {family}");
        };
        opens(&brief, &["ssh"], 50);
        opens(&brief, &["ssh", "--ttl", "60s"], 60);
        opens(&brief, &["ssh", "--ttl", "1s"], 1);
        opens(&scene.client, &["ssh"], 100);
        opens(&scene.client, &["ssh", "--ttl", "200s"], 200);
        // Half an hour is the server's own default.
        opens(&scene.client, &["web"], 1800);
    });
}

#[test]
fn removed_and_replaced_clients_are_strangers() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(2), &["ssh"]);
    let client = &scene.client;
    both(|family| {
        client.must_open("ssh", family, &[]);
    });
    let removed = scene.server.control(&["client", "remove", "laptop"]);
    assert!(removed.status.success(), "{removed:?}");
    both(|family| {
        // What was open is closed with it.
        assert!(
            wait_until(PATIENCE, || grants(&scene.server, family).is_empty()),
            "{family}: never closes"
        );
        unheard(&scene, client, family);
    });

    // The name is another key's now.
    let other = Client::enrolled(&net.client, &scene.server, "laptop", &["ssh"]);
    both(|family| {
        unheard(&scene, client, family);
        other.must_open("ssh", family, &[]);
        assert!(
            wait_until(PATIENCE, || grants(&scene.server, family).is_empty()),
            "{family}: never closes"
        );
    });

    // The old key is enrolled again, so its old enrolment line holds another pair key than the
    // server.
    let line = client.folder().join("hosts/server.host");
    let old = fs::read(&line).unwrap_or_else(|error| panic!("{}: {error}", line.display()));
    client.enrol(&scene.server, "tablet", &["ssh"]);
    let new = fs::read(&line).unwrap();
    fs::write(&line, old).unwrap();
    both(|family| unheard(&scene, client, family));
    fs::write(&line, new).unwrap();
    both(|family| {
        client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}");
    });
}

/// Whoever has stolen the pair key, but not the signing key, is refused and told of.
#[test]
fn a_wrong_signature() {
    need_namespaces!();
    let net = lan();
    // A client for each family: the log has one line about a client's wrong signatures in a while.
    let (scene, more) = Scene::crowd(&net.server, &net.client, &config(30), &["ssh"], &["phone"]);
    scene.server.wait_fence();
    both(|family| {
        let knocker = Knocker::of(if family == Family::V4 { &scene.client } else { &more[0] });
        let thief = ClientSecret::generate().unwrap();
        let ports = knocker.ports();
        let request = Request {
            service: spa_proto::service_id("ssh"),
            ttl_s: 0,
            op: spa_proto::Op::Open,
            want_ack: true,
            bind_src: None,
            for_addr: None,
            all: false,
            ports: &ports,
            padding: &[],
        };
        let parts = SessionParts { signer: &thief, ..knocker.parts() };
        let session = Session::new(&parts, &request, now_ms()).unwrap();
        let sender = Sender::new(&net.client, &net.server, family);
        sender.all(&session);
        let source = format!("source={} ", sender.source());
        scene.server.wait_log(&[
            "event=bad-signature",
            &format!("client={} ", knocker.name()),
            &source,
        ]);
        knocker.settle(&scene.server, &sender);
        assert_eq!(sender.ack(&session, std::time::Duration::from_millis(300)), None, "{family}");
        assert!(
            grants(&scene.server, family).is_empty() && scene.is_hidden(family, SSH),
            "{family}"
        );
        scene.client.must_open("ssh", family, &[]);
    });
}

#[test]
fn a_broken_clients_file_changes_nothing() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(30), &["ssh"]);
    scene.client.must_open("ssh", Family::V4, &[]);
    let path = scene.server.folder().join("clients.toml");
    let good = fs::read_to_string(&path).unwrap();
    let broken = [
        "[[client]\nname = \"laptop\"\n".to_owned(),
        String::from_utf8_lossy(&good.as_bytes()[..good.len() * 2 / 3]).into_owned(),
        format!("{good}\nservices = [\"no-such-service\"]\n"),
        format!("{good}\n{good}"),
        good.replace("SPA-PSK-1", "SPA-PSK-2"),
    ];
    for text in &broken {
        fs::write(&path, text).unwrap();
        let mark = scene.server.log().mark();
        scene.server.signal(Signal::SIGHUP);
        scene.server.log().wait_since(mark, &["event=reload-refused", "clients.toml"]);
        let added = scene.server.control(&["client", "remove", "laptop"]);
        assert_eq!(added.status.code(), Some(78), "{added:?}");
        assert_eq!(
            &fs::read_to_string(&path).unwrap(),
            text,
            "a command has changed a file that it cannot read"
        );
        // Live grants stay, and the client that was known is still known.
        assert!(scene.is_open(Family::V4, SSH));
        scene.client.must_open("ssh", Family::V6, &[]);
        assert_eq!(scene.seen(&net.stranger, Family::V6, SSH), TcpProbe::Silent);
        assert_eq!(scene.server.status()["clients"], 1);
    }

    fs::write(&path, &good).unwrap();
    let mark = scene.server.log().mark();
    scene.server.signal(Signal::SIGHUP);
    scene.server.log().wait_since(mark, &["event=reloaded", "clients=1"]);
    let more = Client::enrolled(&net.client, &scene.server, "more", &["web"]);
    both(|family| {
        more.must_open("web", family, &[]);
        scene.client.must_open("ssh", family, &[]);
    });
}

/// The client hears by how much its clock is off, and knocks once more by the server's.
#[test]
fn a_wrong_clock() {
    need_namespaces!();
    let net = lan();
    let config = config(30);
    let scene = Scene::aged(&net.server, &net.client, &config, &["ssh"]);
    for (offset, words, reason) in [
        (120, "behind", "reason=past"),
        (-120, "ahead of", "reason=future"),
        (240, "behind", "reason=past"),
    ] {
        scene.server.set_clock_offset(offset);
        both(|family| {
            let mark = scene.server.log().mark();
            let opened = scene.client.open("ssh", family, &[]);
            assert_eq!(opened.status.code(), Some(0), "{offset}, {family}: {opened:?}");
            assert_eq!(answer(&opened), (Some(true), None), "{family}: {opened:?}");
            assert!(opened.stderr.contains(words), "{offset}, {family}: {opened:?}");
            assert!(
                opened.stderr.contains(if offset == 240 { "4m" } else { "2m" }),
                "{offset}: {opened:?}"
            );
            let source = format!("source={} ", net.client.address(family));
            scene
                .server
                .log()
                .wait_since(mark, &["event=stale", "client=laptop ", &source, reason]);
            assert_eq!(grants(&scene.server, family).len(), 1, "{offset}, {family}");
        });
        assert!(scene.server.control(&["close", "--all"]).status.success());
    }
    scene.server.set_clock_offset(0);
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
    });
}
