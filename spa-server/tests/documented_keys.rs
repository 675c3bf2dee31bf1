//! Every key that the configuration knows stands in `docs/configuration.md` and in the manual page.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use spa_server::config::{Surroundings, clients, parse};

/// What the finding about an unknown key says that the section knows.
fn known(findings: &str) -> Vec<String> {
    let (_, list) = findings.split_once("; it knows ").expect("a finding that lists the keys");
    list.lines().next().unwrap_or_default().split(", ").map(str::to_owned).collect()
}

#[test]
fn in_both_references() {
    let around = Surroundings::none();
    let mut keys = Vec::new();
    for header in [
        "[server]",
        "[audit]",
        "[metrics]",
        "[log]",
        "[capture]",
        "[sequence]",
        "[firewall]",
        "[[enforcer]]",
        "[[service]]",
        "[[bait]]",
        "[ban]",
    ] {
        let (_, findings) = parse("x.toml", &format!("{header}\nzzzzzzzzzzzz = 1\n"), &around);
        keys.extend(known(&findings.to_string()).into_iter().map(|key| (header, key)));
    }
    let (_, findings) =
        clients::parse_clients("x.toml", "[[client]]\nzzzzzzzzzzzz = 1\n", None, &around);
    keys.extend(known(&findings.to_string()).into_iter().map(|key| ("[[client]]", key)));
    assert!(keys.len() > 30, "{keys:?}");

    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let markdown = std::fs::read_to_string(docs.join("configuration.md")).unwrap();
    let page = std::fs::read_to_string(docs.join("man/spa-server.toml.5")).unwrap();
    for (header, key) in keys {
        let part = markdown
            .split("\n## ")
            .find(|part| part.lines().next().is_some_and(|l| l.contains(header)));
        let part = part.unwrap_or_else(|| panic!("{header} is not in docs/configuration.md"));
        assert!(
            part.contains(&format!("| `{key}` |")),
            "{key} of {header} is not in docs/configuration.md"
        );
        let term = format!(".TP\n\\fB{}\\fR\n", key.replace('-', "\\-"));
        assert!(page.contains(&term), "{key} of {header} is not in docs/man/spa-server.toml.5");
    }
}
