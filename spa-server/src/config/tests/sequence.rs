//! `[sequence]`, its overlap, and what clients were told of it.

use super::{SMALL, findings, good};
use crate::config::clients::parse_clients;
use crate::config::{Client, Lockout, Stages, Surroundings};

fn small(lines: &str) -> String {
    SMALL.replace("[888, 555, 222]\n", &format!("[888, 555, 222]\n{lines}\n"))
}

#[test]
fn previous_ports_are_as_many_as_the_stages() {
    let config = good(&small("previous-ports = [1, 2, 3]"));
    assert_eq!(config.sequence.previous, [1, 2, 3]);
    assert!([888, 1].iter().all(|port| config.sequence.may_use(*port)));
    assert!(!config.sequence.may_use(4));
    for (lines, expected) in [
        ("previous-ports = [1, 2]", "error: 2 ports, and the sequence has 3 stages"),
        ("previous-ports = [1, 1, 2]", "error: port 1 is there twice"),
        ("previous-ports = [1, 2, 0]", "error: 0 does not fit `previous-ports`"),
        ("previous-ports = [888, 555, 222]", "warning: `previous-ports` are the same"),
        ("timeout = \"1s\"\nreorder = \"2s\"", "warning: `reorder` is longer than `timeout`"),
    ] {
        let found = findings(&small(lines)).to_string();
        assert!(found.contains(expected), "{lines}: {found}");
    }
}

#[test]
fn a_bait_at_a_knock_port_is_told() {
    for ports in ["udp/555", "udp/500-600", "udp/7"] {
        let bait = format!("[[bait]]\nname = \"b\"\nban = \"1m\"\nports = [\"{ports}\"]");
        let found = findings(&(small("previous-ports = [7, 8, 9]") + &bait)).to_string();
        assert!(found.contains("warning: the knock port udp/"), "{ports}: {found}");
    }
    let bait = "[[bait]]\nname = \"b\"\nban = \"1m\"\nports = [\"tcp/555\"]";
    assert!(!findings(&(SMALL.to_owned() + bait)).to_string().contains("knock port"));
}

fn clients(stanzas: &[(&str, &str)]) -> Vec<Client> {
    let text: String = stanzas
        .iter()
        .map(|(name, sequence)| {
            format!(
                "[[client]]\nname = \"{name}\"\npublic = \"spa1{name}\"\npsk = \"p\"\n\
                 services = [\"ssh\"]\n{sequence}\n"
            )
        })
        .collect();
    let (clients, findings) = parse_clients("clients", &text, None, &Surroundings::none());
    clients.unwrap_or_else(|| panic!("{findings}"))
}

#[test]
fn clients_are_told_apart_by_what_they_know() {
    let config = good(&small("previous-ports = [1, 2, 3]"));
    let known = clients(&[
        ("now", "sequence = { ports = [888, 555, 222] }"),
        ("before", "sequence = { ports = [1, 2, 3] }"),
        ("other", "sequence = { ports = [1, 3, 2] }"),
        ("hops", "sequence = { hop = \"20000-29999\", stages = 3 }"),
        ("old", ""),
    ]);
    let lockout = Lockout::find(&config, &known, &[]);
    assert_eq!(
        lockout.locked_out().unwrap(),
        "locked out are other, hops: enrolled with other knock ports; give each a new line: \
         spa-server client line NAME"
    );
    assert!(lockout.previous().unwrap().starts_with("before still knocks at previous-ports"));
    assert!(lockout.unknown().unwrap().contains(": old, enrolled before"));
    let remedy = Lockout::find(&good(SMALL), &known, &[]).locked_out().unwrap();
    assert!(remedy.contains("write previous-ports = [1, 2, 3] in [sequence]"), "{remedy}");
    let crowd: Vec<(String, &str)> =
        (0..30).map(|n| (format!("c{n}"), "sequence = { ports = [9] }")).collect();
    let crowd: Vec<(&str, &str)> =
        crowd.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let crowd = Lockout::find(&config, &clients(&crowd), &[]).locked_out().unwrap();
    assert!(crowd.contains("c7 and 22 more"), "{crowd}");
}

#[test]
fn a_hop_range_is_the_same_however_its_exceptions_are_written() {
    let hop = |exclude: &str| {
        format!(
            "[sequence]\nhop = \"20000-29999\"\nhop-exclude = [{exclude}]\n[[service]]\n\
             name = \"ssh\"\nports = [\"tcp/22\"]\n"
        )
    };
    let config = good(&hop("\"25000-25009\", \"20000\""));
    assert_eq!(config.sequence, good(&hop("20000, \"25005-25009\", \"25000-25004\"")).sequence);
    let known = clients(&[(
        "a",
        "sequence = { hop = \"20000-29999\", stages = 3, hop-exclude = [\"20000\", \
         \"25000-25009\"] }",
    )]);
    assert_eq!(Lockout::find(&config, &known, &[]), Lockout::default());
    assert!(matches!(known[0].sequence.as_deref(), Some(Stages::Hop { .. })));
}
