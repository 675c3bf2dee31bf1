//! The configuration: TOML text to a checked value, with every finding at once.

pub mod hours;
