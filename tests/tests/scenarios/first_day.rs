//! A new user's path: from nothing to a hidden ssh that works, by the lines of docs/first-day.md.

use spa_tests::first_day::FirstDay;
use spa_tests::machine::Installed;
use spa_tests::probe::TcpProbe;
use spa_tests::{Family, need_namespaces};

#[test]
fn four_lines_from_nothing_to_a_hidden_ssh() {
    need_namespaces!();
    let installed = Installed::new();
    // A name of one family, and of both: ssh uses what the name has, and both are hidden whatever
    // it has.
    for families in [&[Family::V4][..], &[Family::V6], &Family::BOTH] {
        let mut day = FirstDay::new(&installed, families);
        assert!(!day.server.etc("spa").exists() && !day.client.home().join(".config").exists());
        day.start();
        for family in Family::BOTH {
            // A mistake until here locks nobody out.
            assert_eq!(day.seen_by_a_stranger(family), TcpProbe::Open, "{families:?} {family}");
        }
        let (_, said) = day.join();
        assert!(said.contains("paste the line, then Enter:"), "{said}");
        let (_, ends) = day.ssh();
        let used = families.iter().find(|family| {
            let (ours, theirs) =
                (day.net.client.address(**family), day.net.server.address(**family));
            ends.starts_with(&format!("{ours} ")) && ends.ends_with(&format!(" {theirs} 22"))
        });
        let used = *used.unwrap_or_else(|| panic!("{families:?}: {ends}"));
        for family in Family::BOTH {
            // As a closed one of this host, which has no other firewall.
            assert_eq!(day.seen_by_a_stranger(family), TcpProbe::Refused, "{families:?} {family}");
        }
        assert_eq!(day.seen_by_the_client(used), TcpProbe::Open, "{families:?}: open for its time");
        // Closed, and the next ssh knocks by itself.
        let closed = day.client.shell("spa-client close ssh@gate.example.org").output().unwrap();
        assert!(closed.status.success(), "{closed:?}");
        assert!(
            day.ssh().1.starts_with(&format!("{} ", day.net.client.address(used))),
            "{families:?}"
        );
        let status = day.server.shell("spa-server status").output().unwrap();
        let status = String::from_utf8(status.stdout).unwrap();
        assert!(!status.contains("not hidden"), "{status}");
    }
}

#[test]
fn a_second_init_changes_nothing() {
    need_namespaces!();
    let installed = Installed::new();
    let day = FirstDay::new(&installed, &Family::BOTH);
    let files = || {
        let text = |name: &str| std::fs::read_to_string(day.server.etc(name)).unwrap();
        (text("spa/spa-server.toml"), text("spa/server.key"))
    };
    let init = |arguments: &str| {
        day.server.shell(&format!("spa-server init {arguments}")).output().unwrap()
    };
    let first = init("--json");
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let json: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    let addresses = Family::BOTH.map(|family| day.net.server.address(family).to_string());
    assert_eq!(json["hosts"], serde_json::json!(addresses), "its own addresses");
    assert_eq!(json["services"][0]["ports"], serde_json::json!(["tcp/22"]));
    let before = files();
    let second = init("");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("exists already"), "{second:?}");
    assert!(files() == before);
    // Interrupted between key and configuration: the key is kept.
    std::fs::remove_file(day.server.etc("spa/spa-server.toml")).unwrap();
    assert_eq!(init("--host gate.example.org").status.code(), Some(0));
    let after = files();
    assert!(after.1 == before.1 && after.0 != before.0, "{after:?}");
    let checked = day.server.shell("spa-server check --offline").output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}
