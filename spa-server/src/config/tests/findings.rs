//! The text of findings: every one at once, with the exact place.

use super::{SMALL, findings, good};
use crate::config::{Surroundings, parse};
use crate::domain::ports::PortRange;

const BROKEN: &str = include_str!("snapshots/broken.toml");
const BROKEN_FINDINGS: &str = include_str!("snapshots/broken.txt");

#[test]
fn everything_that_is_wrong_at_once() {
    let found = findings(BROKEN).to_string();
    assert!(
        found == BROKEN_FINDINGS,
        "if this is better than tests/snapshots/broken.txt, replace that:\n{found}"
    );
    assert!(parse("spa.toml", BROKEN, &Surroundings::none()).0.is_none());
}

/// The caret points at what the column says, however wide the characters before it are.
#[test]
fn carets() {
    for (line, expected) in [
        ("porst = 1", "2:1: error: unknown key `porst`|    porst = 1|    ^^^^^"),
        ("\tporst = 1", "2:2: error: unknown key `porst`|    \tporst = 1|    \t^^^^^"),
        (
            "hosts = [\"é\", \"a b\"]",
            "2:10: error: `é` is not a host|    hosts = [\"é\", \"a b\"]|             ^^^",
        ),
        (
            "hosts = [\"a\", \"é b\"]",
            "2:15: error: `é b` is not a host|    hosts = [\"a\", \"é b\"]|                  ^^^^^",
        ),
        (
            "hosts = [\"敲门\"]",
            "2:10: error: `敲门` is not a host|    hosts = [\"敲门\"]|             ^^^^^^",
        ),
        (
            "ack = \"on\" ; \"敲门\"",
            "2:12: error: this is not valid TOML|    ack = \"on\" ; \"敲门\"|               ^",
        ),
        ("\"敲门\" = 1 # é", "2:1: error: unknown key `敲门`|    \"敲门\" = 1 # é|    ^^^^^^"),
        (
            "a = { \"é\" = \"x\", b = 1",
            "2:23: error: this is not valid TOML|    a = { \"é\" = \"x\", b = 1|\
             \x20                         ^",
        ),
    ] {
        let found = findings(&format!("[server]\n{line}\n{}", "")).to_string();
        let parts: Vec<&str> = expected.split('|').collect();
        let lines: Vec<&str> = found.lines().collect();
        let at = lines.iter().position(|l| l.starts_with(&format!("spa.toml:{}", parts[0])));
        let at = at.unwrap_or_else(|| panic!("no {expected:?} in\n{found}"));
        assert_eq!(&lines[at + 1..at + 3], &parts[1..], "{found}");
    }
}

#[test]
fn long_lines_are_cut_around_the_caret() {
    let text = format!("[server]\nhosts = [{}\"a b\", \"c\"]\n{SMALL}", "\"x\", ".repeat(1000));
    let found = findings(&text).to_string();
    let lines: Vec<&str> = found.lines().skip_while(|l| !l.contains("`a b`")).collect();
    assert!(lines[0].starts_with("spa.toml:2:5010: error: `a b`"), "{}", lines[0]);
    let caret = lines[2].find('^').unwrap();
    assert!(lines[1].chars().count() <= 4 + 122);
    assert_eq!(lines[1].chars().skip(caret).take(5).collect::<String>(), "\"a b\"");
}

#[test]
fn every_syntax_error() {
    let found = findings("[server]\nkey = \nack = \"on\n[log]\n").to_string();
    assert!(found.matches("this is not valid TOML").count() >= 2, "{found}");
    let found = findings("a = 1\na = 2\n").to_string();
    assert!(
        found.contains("spa.toml:2:1: error: this is not valid TOML: duplicate key"),
        "{found}"
    );
    let deep = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(findings(&deep).has_errors());
}

/// Checks across sections: a text that is put behind `SMALL`, and a finding, or none.
#[test]
fn across_sections() {
    let table = [
        (
            "[firewall]\nhide = \"drop\"",
            "spa.toml:7:1: note: to a scan tcp/22 and the knock ports stay silent",
        ),
        ("[firewall]\nhide = \"closed\"", "note: to a scan tcp/22 look closed"),
        (
            "[firewall]\nhide = \"drop\"\n[[bait]]\nname = \"b\"\nban = \"1m\"\n\
             ports = [\"tcp/23\"]",
            "note: to a scan tcp/22, the knock ports and the bait ports stay silent",
        ),
        (
            "[firewall]\nmode = \"standalone\"\nhide = \"closed\"",
            "note: every port is refused like a closed one",
        ),
        (
            "[capture]\nmode = \"udp\"\ninterfaces = [\"eth0\"]",
            "spa.toml:8:1: error: capture mode \"udp\" listens on all interfaces",
        ),
        ("[server]\nauthenticated = \"strict\"", "note: strict: one packet"),
        (
            "[[bait]]\nname = \"b\"\nban = \"1m\"\nports = [\"tcp/20-30\"]",
            "warning: bait `b` covers tcp/22 of service `ssh`",
        ),
        (
            "[[service]]\nname = \"dns\"\nports = [\"udp/500-600\"]",
            "error: udp/555 is a knock port too",
        ),
        (
            "[[service]]\nname = \"ssh\"\nports = [\"tcp/23\"]",
            "error: there is a service `ssh` already, in line 4: rename one",
        ),
        ("[ban]\nnever = [\"::/0\"]", "warning: `::/0` is every address: nobody is ever banned"),
        (
            "[[service]]\nname = \"a\"\nports = [\"tcp/1-9\", \"tcp/5-7\"]",
            "note: 3 of these ports are there twice",
        ),
        ("[ban]\nnever = [\"192.0.2.5\", \"192.0.2.5\"]", "note: `192.0.2.5` is there twice"),
        (
            "[firewall]\ninterfaces = [\"wan0\", \"wan0\"]",
            "spa.toml:7:23: note: `wan0` is there twice: take one out",
        ),
        (
            "[server]\nhosts = [\"127.0.0.1\"]",
            "warning: no other machine reaches this host as `127.0.0.1`",
        ),
        ("[server]\nhosts = [\"fe80::1\"]", "warning: no other machine reaches"),
        ("[server]\nhosts = [\"Localhost.\"]", "warning: no other machine reaches"),
        (
            "[ban]\nnever = [\"192.0.2.5/24\"]",
            "warning: `192.0.2.5/24` means the network `192.0.2.0/24`",
        ),
        (
            "[[bait]]\nname = \"a\"\nban = \"1m\"\nports = [\"tcp/50-60\"]\n[[bait]]\nname = \
             \"b\"\nban = \"1m\"\nports = [\"tcp/55-70\"]",
            "note: 6 of these ports belong to bait `a` above",
        ),
    ];
    for (more, expected) in table {
        let found = findings(&format!("{SMALL}{more}\n")).to_string();
        assert!(found.contains(expected), "{more}\n{found}");
    }
    // What must not be complained about.
    let silent = [
        ("[firewall]", "to a scan"),
        (
            "[[bait]]\nname = \"b\"\nban = \"1m\"\nunless = [\"secured\"]\nports = [\"tcp/20-30\"]",
            "covers",
        ),
        ("[[bait]]\nname = \"b\"\nban = \"1m\"\nports = [\"udp/1-1000\"]", "covers"),
        ("[[service]]\nname = \"dns\"\nports = [\"tcp/555\"]", "is a knock port"),
        ("[firewall]\nbackend = \"observe\"", "to a scan"),
        ("[firewall]\nmode = \"standalone\"", "scan"),
    ];
    for (more, unexpected) in silent {
        let found = findings(&format!("{SMALL}{more}\n")).to_string();
        assert!(!found.contains(unexpected), "{more}\n{found}");
    }
}

/// A value of any length is quoted in part.
#[test]
fn no_message_is_longer_than_anybody_reads() {
    let long = "1".repeat(100_000);
    let found = findings(&format!("{SMALL}[server]\nhosts = [\"{long}\"]\n"));
    let message = &found.iter().next().unwrap().problem;
    assert!(message.chars().count() < 700, "{message}");
    assert!(message.ends_with("write a name or an address, without a port"), "{message}");
}

/// What has ended is told where the time is known, and only there.
#[test]
fn moments_that_have_passed() {
    let text =
        format!("{SMALL}[server]\nprevious-key = \"/old\"\nprevious-key-until = \"2020-01-31\"\n");
    for (now_ms, told) in [(None, false), (Some(0), false), (Some(1_900_000_000_000), true)] {
        let around = Surroundings { now_ms, ..Surroundings::none() };
        let found = parse("spa.toml", &text, &around).1.to_string();
        assert_eq!(found.contains("note: this moment has passed"), told, "{found}");
    }
}

#[test]
fn hopping() {
    let service = "[[service]]\nname = \"a\"\nports = [\"udp/25000\"]\n";
    let table = [
        (
            "hop = \"20000-29999\"",
            "error: udp/25000 is a knock port too, and knocks never reach a service: add it to \
             hop-exclude",
        ),
        (
            "hop = \"20000-29999\"\nports = [1]",
            "error: the stages go either to fixed `ports` or `hop`",
        ),
        ("hop = \"20000-20001\"", "error: 2 ports are left to hop over: at least 64 are needed"),
        (
            "hop = \"20000-20009\"\nstages = 8\nhop-exclude = [20000, \"20005-20006\"]",
            "error: 7 ports are left",
        ),
        ("hop = \"20000-20099\"", "warning: 100 ports are few"),
        ("hop = \"20000-29999\"\nhop-exclude = [\"30000\"]", "warning: 30000 lies outside hop"),
        ("hop = \"30000-39999\"", "warning: knock port 32768 lies in the range 32768-60999"),
        ("ports = [40000]", "warning: knock port 40000 lies in the range"),
        ("ports = [1, 2]\nstages = 2", "error: `stages` belongs to `hop`"),
        ("ports = [1,2,3,4,5,6,7,8,9]", "error: 9 stages: write 1 to 8 ports"),
        ("ports = []", "error: 0 stages: write 1 to 8 ports"),
        ("", "error: no knock ports: write ports = "),
        ("[log]", "error: no knock ports: write ports = "),
    ];
    let around = Surroundings {
        local_ports: Some(PortRange { first: 32768, last: 60999 }),
        ..Surroundings::none()
    };
    for (keys, expected) in table {
        let found =
            parse("spa.toml", &format!("[sequence]\n{keys}\n{service}"), &around).1.to_string();
        assert!(found.contains(expected), "{keys}\n{found}");
    }
    let bait = "[[bait]]\nname = \"b\"\nban = \"1m\"\nports = [\"udp/1-20010\"]";
    let hop = "[sequence]\nhop = \"20000-29999\"\nhop-exclude = [25000]\n";
    let found = findings(&format!("{hop}{service}{bait}")).to_string();
    assert!(found.contains("add 20000-20010 to hop-exclude"), "{found}");
    let found = findings(
        "[sequence]\nhop = \"20000-29999\"\nhop-exclude = [25000, \
        \"20000-20010\"]\n[[bait]]\nname = \"b\"\nban = \"1m\"\nports = \
        [\"udp/1-20010\"]",
    )
    .to_string();
    assert!(!found.contains("bait `b` covers"), "{found}");
}

#[test]
fn services_with_the_same_number() {
    // Found by search: two names whose SHA-256 begins alike.
    let mut seen = std::collections::HashMap::new();
    let (a, b) = (0..)
        .map(|i| format!("s{i}"))
        .find_map(|name| {
            seen.insert(spa_proto::service_id(&name), name.clone()).map(|other| (other, name))
        })
        .unwrap();
    let text = format!(
        "{SMALL}[[service]]\nname = \"{a}\"\nports = [\"tcp/1\"]\n[[service]]\nname = \
         \"{b}\"\nports = [\"tcp/2\"]\n"
    );
    let found = findings(&text).to_string();
    assert!(
        found.contains(&format!("error: `{b}` and `{a}` have the same number on the wire")),
        "{found}"
    );
}

#[test]
fn standalone_hides_at_once() {
    let text = "[sequence]\nports = [1]\n[firewall]\nmode = \"standalone\"\nprotect = \"always\"\n";
    good(text);
    let late = text.replace("always", "after-first-grant");
    assert!(
        findings(&late)
            .to_string()
            .contains("drops whatever is not granted, also what nobody has opened yet")
    );
    good(&late.replace("standalone", "guard"));
}

#[test]
fn guard_that_hides_nothing() {
    let text = "[sequence]\nports = [1]\n[[service]]\nname = \"all\"\nports = \"all\"\n";
    good(text);
    assert!(
        findings(text)
            .to_string()
            .contains("warning: mode = \"guard\" drops only the ports of services")
    );
    assert!(
        findings("[sequence]\nports = [1]\n")
            .to_string()
            .contains("spa.toml: warning: no [[service]]")
    );
    assert!(
        findings("")
            .to_string()
            .contains("spa.toml: error: no knock ports: write [sequence] with ports")
    );
}
