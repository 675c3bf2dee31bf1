//! Text from files or the network, made safe for a terminal.

use std::fmt::{self, Write};

use super::clean::acts_on_terminal;

/// Text that is shown without control characters, see [`printable`].
pub struct Printable<'a>(&'a str);

/// Wraps text that came from a file or the network: control characters and Unicode's direction
/// overrides, which could move the cursor, recolour or reorder what the user reads, are shown as
/// `\u{…}`.
#[must_use]
pub fn printable(text: &str) -> Printable<'_> {
    Printable(text)
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if acts_on_terminal(c) { write!(f, "{}", c.escape_unicode()) } else { f.write_char(c) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_shown_not_obeyed() {
        let cases = [
            ("gate.example.org", "gate.example.org"),
            ("Zürich", "Zürich"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r", "a\\u{a}b\\u{d}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}cba", "abc\\u{202e}cba"),
        ];
        for (raw, shown) in cases {
            assert_eq!(printable(raw).to_string(), shown);
        }
    }
}
