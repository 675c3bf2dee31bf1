//! Whatever the text, the answer is a configuration or findings.

use proptest::prelude::*;

use super::findings;
use crate::config::{Surroundings, clients, parse};
use spa_keys::duration;

const RECIPE: &str = include_str!("../../../../pkg/examples/recipe.toml");
const GATEWAY: &str = include_str!("../../../../pkg/examples/gateway.toml");
const BROKEN: &str = include_str!("snapshots/broken.toml");

/// Pieces that mean something, in any order, and values of every kind behind every key.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[server]",
        "[sequence]",
        "[[service]]",
        "[[bait]]",
        "[ban]",
        "[log]",
        "[capture]",
        "[firewall]",
        "[[client]]",
        "[[server]]",
        "key",
        "clients",
        "state",
        "hosts",
        "ack",
        "window-past",
        "format",
        "ports",
        "hop",
        "stages",
        "hop-exclude",
        "timeout",
        "mode",
        "name",
        "ttl",
        "max-ttl",
        "unless",
        "ban",
        "never",
        "limit",
        "public",
        "psk",
        "services",
        "from",
        "hours",
        "expires",
        "max-grants",
        "grant-prefix-v4",
        "grant-prefix-v6",
        "third-party",
        "rotate",
        " = ",
        " = ",
        "\n",
        "\n",
        "[",
        "]",
        ",",
        "\"",
        "\"tcp/22\"",
        "\"all\"",
        "\"1-65535\"",
        "[1, 2, 3]",
        "\"30s\"",
        "9999999999999999999",
        "true",
        "2027-01-31",
        "1.5",
        "{ a = 1 }",
        "\"\\u0000\"",
        "\"é\"",
        "'''",
        "# x",
        "\t",
        "\r\n",
        "\u{feff}",
        "\"Mon-Fri 08:00-18:00\"",
    ]);
    prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        findings(&text).to_string();
        let _ = clients::parse_clients("c", &text, None, &Surroundings::none()).1.to_string();
        if let Ok(time) = duration::parse(&text) {
            prop_assert_eq!(duration::parse(&duration::format(time)), Ok(time));
        }
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        let (config, found) = parse("spa.toml", &text, &Surroundings::none());
        prop_assert_eq!(config.is_none(), found.has_errors());
        prop_assert!(found.to_string().lines().count() >= found.iter().count());
        let (list, found) = clients::parse_clients("c", &text, None, &Surroundings::none());
        prop_assert_eq!(list.is_none(), found.has_errors());
        found.to_string();
    }

    /// A good file with a piece cut out or something put in.
    #[test]
    fn damaged_files(
        which in 0..3_usize,
        at in any::<prop::sample::Index>(),
        cut in 0..40_usize,
        put in piece(),
    ) {
        let text: Vec<char> = [RECIPE, GATEWAY, BROKEN][which].chars().collect();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        let damaged: String = text[..at].iter().copied().chain(put.chars()).chain(text[end..].iter().copied()).collect();
        let (config, found) = parse("spa.toml", &damaged, &Surroundings::none());
        prop_assert_eq!(config.is_none(), found.has_errors());
        for finding in found.iter() {
            let Some(at) = &finding.place.excerpt else { continue };
            let line = damaged.split('\n').nth(at.line - 1).unwrap();
            prop_assert!(at.column <= line.chars().count() + 1, "{:?}", finding);
        }
        found.to_string();
    }
}
