//! Text on its way to a terminal, a log or a file: secrets are masked by their form wherever they
//! stand, and what acts on a terminal is escaped.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::form::Kind;

/// Finds where the body of a secret text begins in `text`, in whatever case.
#[must_use]
pub fn find_secret(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find_map(|at| {
        let rest = bytes.get(at..)?;
        let starts = |kind: &Kind| {
            let prefix = kind.prefix().as_bytes();
            rest.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        // All of them begin alike, and most bytes do not.
        if !rest.first()?.eq_ignore_ascii_case(&b's') {
            return None;
        }
        let kind =
            Kind::ALL_KINDS.iter().filter(|kind| kind.is_secret()).find(|kind| starts(kind))?;
        Some(at + kind.prefix().len())
    })
}

/// Replaces the body of each secret text by `…`: whatever field, argument or file it was pasted
/// into, it must not reach terminals, tickets and logs.
#[must_use]
pub fn mask_secrets(text: &str) -> Cow<'_, str> {
    let Some(mut at) = find_secret(text) else { return Cow::Borrowed(text) };
    let (mut masked, mut rest) = (String::new(), text);
    loop {
        let (shown, body) = rest.split_at(at);
        masked.push_str(shown);
        let after = body.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        if after.len() < body.len() {
            masked.push('…');
        }
        rest = after;
        match find_secret(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Tells whether a terminal or a viewer acts on a character rather than showing it: controls,
/// line separators, what turns the writing direction, and what is not seen at all.
#[must_use]
pub fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes what acts on a terminal, as JSON does (`\u202e`), so that JSON stays JSON. Lines, tabs,
/// and colours, which only our own texts have, stay.
#[must_use]
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| acts_on_terminal(c) && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if !acts_on_terminal(c) || c == '\n' || c == '\t' || is_colour(text, at) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _infallible = write!(safe, "\\u{unit:04x}");
        }
    }
    Cow::Owned(safe)
}

/// Tells whether a colour begins here: `ESC [`, digits and semicolons, `m` (ECMA-48, SGR).
fn is_colour(text: &str, at: usize) -> bool {
    let Some(rest) = text.get(at..).and_then(|rest| rest.strip_prefix("\u{1b}[")) else {
        return false;
    };
    rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
}

/// Longest message that is shown whole, in characters.
const MAX_MESSAGE_CHARS: usize = 2048;

/// Cuts a message that quotes more than anybody reads.
#[must_use]
pub fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (text, masked) in [
            ("nothing", "nothing"),
            ("begins with SPA-PSK-1", "begins with SPA-PSK-1"),
            ("`SPA-PSK-1QQQ` is", "`SPA-PSK-1…` is"),
            ("ää spa-secret-key-1abc, SPA-HOST-1Q9M\n", "ää spa-secret-key-1…, SPA-HOST-1…\n"),
            ("SPA-SERVER-KEY-1Q SPA-PSK-1Q", "SPA-SERVER-KEY-1… SPA-PSK-1…"),
            ("spa1qqqq is public", "spa1qqqq is public"),
        ] {
            assert_eq!(mask_secrets(text), masked);
        }
    }

    #[test]
    fn controls_are_escaped_and_colours_stay() {
        for (text, safe) in [
            ("plain\n\ttext", "plain\n\ttext"),
            ("\u{1b}[1;31merror\u{1b}[0m \u{1b}[2J", "\u{1b}[1;31merror\u{1b}[0m \\u001b[2J"),
            ("a\u{202e}b\r\u{0}", "a\\u202eb\\u000d\\u0000"),
            ("\u{e0041}", "\\udb40\\udc41"),
        ] {
            assert_eq!(escape_controls(text), safe);
        }
    }
}
