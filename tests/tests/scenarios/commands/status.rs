//! What a running server tells, and what may be changed meanwhile.

use super::*;

#[test]
fn status_tells_grants_bans_and_counts() {
    need_namespaces!();
    let config = scene::config(600).bait("telnet", "ports = [\"tcp/23\"]\nban = \"1h\"");
    let house = house(&config);
    let server = &house.scene.server;
    both(|family| {
        house.scene.client.must_open("ssh", family, &[]);
        let _ = house.scene.seen(&house.net.stranger, family, 23);
        // Not from the stranger, who is banned: what the firewall drops is counted there.
        send_udp(&house.net.client, 0, house.net.server.at(family, 40_001), &[7; 144]);
    });
    assert!(
        wait_until(PATIENCE, || server.status()["packets"]["strangers"] == 2),
        "{}",
        server.status()
    );
    let status = server.status();
    for (pointer, value) in [
        ("/version", 1.into()),
        ("/ok", true.into()),
        ("/server-version", env!("CARGO_PKG_VERSION").into()),
        ("/backend", "nftables".into()),
        ("/capture", "ring".into()),
        ("/clients", 1.into()),
        ("/bans", 2.into()),
        ("/fence-left-s", Value::from(0.0)),
        ("/knocks/granted", 2.into()),
        ("/knocks/denied", 0.into()),
        ("/knocks/stale", 0.into()),
        ("/knocks/failed", 0.into()),
        ("/packets/lost", 0.into()),
        ("/packets/replayed", 0.into()),
    ] {
        assert_eq!(status.pointer(pointer), Some(&value), "{pointer} in {status}");
    }
    assert!(status["up-s"].is_u64() && status["packets"]["all"].as_u64() >= Some(8), "{status}");
    let grants = status["grants"].as_array().unwrap();
    assert_eq!(grants.len(), 2, "{status}");
    for family in Family::BOTH {
        let source = house.net.client.address(family).to_string();
        let grant = grants.iter().find(|grant| grant["source"] == *source).unwrap();
        assert_eq!((&grant["client"], &grant["service"]), (&"laptop".into(), &"ssh".into()));
        assert!(
            grant["left-s"].as_u64().is_some_and(|left| (500..=600).contains(&left)),
            "{grant}"
        );
        assert!(grant["grant"].as_str().is_some_and(|id| id.starts_with('g')), "{grant}");
    }
    let text = String::from_utf8(server.control(&["status"]).stdout).unwrap();
    for words in [
        "firewall nftables, capture ring, 1 client\n",
        "knocks: 2 granted",
        "2 bans",
        "laptop -> ssh",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
}

#[test]
fn a_client_is_listed_and_removed_while_the_server_runs() {
    need_namespaces!();
    let house = house(&scene::config(600));
    let server = &house.scene.server;
    let desktop = Client::enrolled(&house.net.client, server, "desktop", &["web"]);
    desktop.must_open("web", Family::V4, &[]);
    let list = || -> Value {
        serde_json::from_slice(&server.control(&["client", "list", "--json"]).stdout).unwrap()
    };
    let names = |list: &Value| -> Vec<String> {
        let clients = list["clients"].as_array().unwrap().iter();
        clients.map(|client| client["name"].as_str().unwrap().to_owned()).collect()
    };
    let listed = list();
    assert_eq!(names(&listed), ["laptop", "desktop"]);
    assert_eq!(listed["clients"][0]["services"], serde_json::json!(["ssh", "web"]));
    assert_eq!(listed["clients"][1]["services"], serde_json::json!(["web"]));
    let text = String::from_utf8(server.control(&["client", "list"]).stdout).unwrap();
    let table = String::from_utf8(server.control(&["clients"]).stdout).unwrap();
    assert_eq!((text.lines().count(), &text), (3, &table));

    assert_eq!(server.control(&["client", "remove", "desktop"]).status.code(), Some(0));
    assert_eq!(names(&list()), ["laptop"]);
    both(|family| {
        let opened = desktop.open("web", family, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
        house.scene.client.must_open("ssh", family, &[]);
    });
    let again = server.control(&["client", "remove", "desktop"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is no client `desktop`"));
}
