#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod arbitrary;
mod enforcers;
mod examples;
mod findings;
mod forwarding;
mod hooks;
mod loading;
mod sequence;
mod values;

use super::{Config, Findings, Surroundings, parse};

/// The findings of a text.
fn findings(text: &str) -> Findings {
    parse("spa.toml", text, &Surroundings::none()).1
}

/// A configuration without errors.
fn good(text: &str) -> Config {
    let (config, findings) = parse("spa.toml", text, &Surroundings::none());
    config.unwrap_or_else(|| panic!("{findings}"))
}

/// A small one to be varied.
const SMALL: &str =
    "[sequence]\nports = [888, 555, 222]\n[[service]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n";
