use std::time::{Duration, Instant};

use spa_proto::service_id;

use super::super::super::{Findings, KeyText, Surroundings, parse as parse_config};
use super::super::{Client, MAX_GRANTS, parse_clients};
use crate::domain::rotation::Rotation;
use spa_keys::Failure;

const CONFIG: &str = "[sequence]\nports = [1]\n[[service]]\nname = \"ssh\"\nports = \
    [\"tcp/22\"]\n[[service]]\nname = \"web\"\nports = [\"tcp/80\"]\n";

fn read(text: &str) -> (Option<Vec<Client>>, Findings) {
    let config = parse_config("spa.toml", CONFIG, &Surroundings::none()).0.unwrap();
    let check = |key: KeyText<'_>| match key {
        KeyText::Public(text) if !text.starts_with("spa1") => {
            Err(Failure::failed("this is no public key: it starts with `spa1`"))
        }
        KeyText::Psk(text) if !text.starts_with("SPA-PSK-1") => {
            Err(Failure::failed("this is no pair key"))
        }
        _ => Ok(()),
    };
    parse_clients(
        "clients.toml",
        text,
        Some(&config.services),
        &Surroundings { check_key: &check, ..Surroundings::none() },
    )
}

#[test]
fn stanzas() {
    let text = r#"
        [[client]]
        name = "alice"
        public = "spa1alice"
        psk = "SPA-PSK-1SECRET"
        services = ["web", "ssh", "web"]
        from = ["198.51.100.0/24", "2001:db8::1"]
        hours = "Mon-Fri 08:00-18:00"
        expires = 2027-01-31
        ttl = "1h"
        max-ttl = "8h"
        max-grants = 4
        grant-prefix-v4 = 24
        grant-prefix-v6 = 56
        third-party = true
        rotate = "same-kind"
        [[client]]
        name = "bob@example.org"
        public = "spa1bob"
        psk = "SPA-PSK-1OTHER"
        services = ["ssh"]
        expires = "2027-01-31T00:00:00Z"
    "#;
    let (clients, findings) = read(text);
    assert!(findings.is_empty(), "{findings}");
    let clients = clients.unwrap();
    let alice = &clients[0];
    let mut both = vec![service_id("ssh"), service_id("web")];
    both.sort_unstable();
    assert_eq!(&*alice.services, both);
    assert_eq!(
        alice.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["198.51.100.0/24", "2001:db8::1/128"]
    );
    assert_eq!(alice.expires, Some(1_801_440_000_000));
    assert_eq!(
        (alice.ttl, alice.max_ttl),
        (Some(Duration::from_secs(3600)), Some(Duration::from_secs(8 * 3600)))
    );
    assert_eq!(alice.max_grants, 4);
    assert!(alice.hours.is_some());
    assert_eq!(&text[alice.psk.span.clone()], "\"SPA-PSK-1SECRET\"");
    assert_eq!(alice.psk.value.reveal(), "SPA-PSK-1SECRET");
    assert!(!format!("{alice:?}").contains("SECRET"));
    let bob = &clients[1];
    let wide = (alice.grant_prefix_v4, alice.grant_prefix_v6, alice.third_party);
    assert_eq!(
        (wide, (bob.grant_prefix_v4, bob.grant_prefix_v6, bob.third_party)),
        ((24, 56, true), (32, 128, false))
    );
    assert_eq!((alice.rotate, bob.rotate), (Some(Rotation::SameKind), None));
    assert_eq!(
        (bob.ttl, bob.max_ttl, bob.max_grants, bob.hours.is_none()),
        (None, None, MAX_GRANTS, true)
    );
    assert!(read("").0.unwrap().is_empty());
}

#[test]
fn everything_that_is_wrong_at_once() {
    let text = r#"[[client]]
name = "alice"
public = "ssh-ed25519 AAAA"
psk = "TOPSECRET123"
services = ["ssh", "wbe"]
from = ["198.51.100.7/24", "home"]
hours = "9 to 5"
expires = "31.1.2027"
ttl = "9h"
max-ttl = "8h"
max-grants = 0
grant-prefix-v4 = 15
grant-prefix-v6 = 129
third-party = "yes"
rotate = "refesh"
psl = 1
[[client]]
name = "alice"
public = "spa1x"
psk = 5
services = []
[[client]]
name = "né"
public = "spa1x"
services = ["ssh"]
"#;
    let (clients, findings) = read(text);
    assert!(clients.is_none());
    let found = findings.to_string();
    let expected = [
        "clients.toml:3:10: error: this is no public key",
        "clients.toml:4:7: error: this is no pair key",
        "clients.toml:5:20: error: there is no service `wbe` in the configuration; did you mean \
         `web`?",
        "clients.toml:6:9: warning: `198.51.100.7/24` means the network `198.51.100.0/24`; for the \
         one address write `198.51.100.7`",
        "clients.toml:6:28: error: `home` is not a network",
        "clients.toml:7:9: error: `9 to 5` names no hours",
        "clients.toml:8:11: error: `31.1.2027` is not a moment",
        "clients.toml:9:1: error: ttl = \"9h\" is longer than max-ttl = \"8h\"",
        "clients.toml:11:14: error: 0 does not fit `max-grants`",
        "clients.toml:12:19: error: 15 does not fit `grant-prefix-v4`: write a whole number from \
         16 to 32",
        "clients.toml:13:19: error: 129 does not fit `grant-prefix-v6`: write a whole number from \
         48 to 128",
        "clients.toml:14:15: error: `third-party` is a text: write true or false, without quotes",
        "clients.toml:15:10: error: `refesh` is not a value of `rotate`: write \"never\", \
         \"refresh\", \"same-kind\" or \"any\"; did you mean `refresh`?",
        "clients.toml:16:1: error: unknown key `psl` in [[client]]; did you mean `psk`?",
        "clients.toml:18:1: error: client `alice` in line 2 has the same name",
        "clients.toml:20:7: error: `psk` is a bare number",
        "clients.toml:21:1: error: the client may open nothing",
        "clients.toml:22:1: error: [[client]] lacks `psk`",
        "clients.toml:23:8: error: `né` is not a client's name",
        "clients.toml:24:10: error: client `alice` in line 19 has the same key",
    ];
    let heads: Vec<&str> = found.lines().filter(|l| l.starts_with("clients.toml:")).collect();
    assert_eq!(heads.len(), expected.len(), "{found}");
    for (head, expected) in heads.iter().zip(expected) {
        assert!(head.starts_with(expected), "{head}\n{expected}");
    }
}

/// A finding is pasted into tickets: no part of a pair key may be in it.
#[test]
fn no_secret_in_a_finding() {
    for text in [
        "[[client]]\npsk = \"TOPSECRET123\"\n",
        "[[client]]\npsk = \"spa-psk-1TOPSECRET123\" garbage\n",
        "[[client]]\npsk = TOPSECRET123\n",
        "[[client]]\npsk=\"SPA-PSK-1TOPSECRET123\n",
        "client = [{ name = 1, psk = \"TOPSECRET123\", public = 1 }]\n",
        "[[client]]\npublic = \"SPA-PSK-1TOPSECRET123\"\n",
        "[[client]]\n\"psk\" = [\"TOPSECRET123\"]\n",
    ] {
        let found = read(text).1.to_string();
        assert!(found.contains("error") && found.contains('^'), "{found}");
        assert!(!found.to_uppercase().contains("SECRET"), "{found}");
    }
}

#[test]
fn a_hundred_thousand() {
    let mut text = String::new();
    for i in 0..100_000 {
        text.push_str(&format!(
            "[[client]]\nname = \"client-{i}\"\npublic = \"spa1{i:060}\"\npsk = \
             \"SPA-PSK-1{i:050}\"\nservices = [\"ssh\", \"web\"]\nfrom = \
             [\"198.51.100.0/24\"]\nhours = \"Mon-Fri 08:00-18:00\"\nexpires = \"2027-01-31\"\n\n"
        ));
    }
    let start = Instant::now();
    let (clients, findings) = read(&text);
    assert!(findings.is_empty());
    assert_eq!(clients.unwrap().len(), 100_000);
    // Shown by --nocapture; a limit would fail on a busy machine.
    println!("100 000 clients: {:?}", start.elapsed());
}
