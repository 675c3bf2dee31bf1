//! The source line of a finding and the carets under it.

use std::cell::OnceCell;

use spa_keys::{acts_on_terminal, find_secret};

use super::span::Span;

/// Longest piece of a line that is shown, in characters.
const MAX_SHOWN_CHARS: usize = 120;
/// Characters kept in front of the caret when the line is longer than that.
const CHARS_BEFORE: usize = 40;

/// Place of a finding, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, counted in characters.
    pub column: usize,
    /// The line, or the piece of it around the finding; secrets are masked.
    pub source: String,
    /// Carets, as wide as the characters that they point at.
    pub caret: String,
}

/// A text by lines.
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: OnceCell<Vec<usize>>,
}

impl<'t> Lines<'t> {
    /// Takes the whole text of a file.
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, starts: OnceCell::new() }
    }

    fn find_line_starts(&self) -> &[usize] {
        self.starts.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        })
    }

    /// Number of the line with the byte `offset`, from 1.
    pub(crate) fn number(&self, offset: usize) -> usize {
        self.find_line_starts().partition_point(|start| *start <= offset).max(1)
    }

    /// Excerpt of the line in which a span begins.
    pub(crate) fn excerpt(&self, span: &Span) -> Excerpt {
        let mut line = self.number(span.start);
        let mut start = self.find_line_starts().get(line - 1).copied().unwrap_or(0);
        let mut at = span.start;
        // An unexpected end of file stands behind the last newline, where there is nothing to see.
        if start == self.text.len() && line > 1 {
            line -= 1;
            start = self.find_line_starts().get(line - 1).copied().unwrap_or(0);
            at = self.text.len() - 1;
        }
        let raw = self.text.get(start..).unwrap_or("");
        let raw = raw.split('\n').next().unwrap_or("").trim_end_matches('\r');
        let before = raw.char_indices().take_while(|(i, _)| start + i < at).count();
        let marked = raw
            .char_indices()
            .skip(before)
            .take_while(|(i, _)| start + i < span.end)
            .count()
            .max(1);

        let masked = mask_secrets(raw);
        let skip =
            if masked.len() > MAX_SHOWN_CHARS { before.saturating_sub(CHARS_BEFORE) } else { 0 };
        let mut source: String = masked.iter().skip(skip).take(MAX_SHOWN_CHARS).collect();
        if masked.len() > skip + MAX_SHOWN_CHARS {
            source.push('…');
        }
        let mut caret = String::new();
        if skip > 0 {
            source.insert(0, '…');
            caret.push(' ');
        }
        for c in masked.iter().skip(skip).take(before - skip) {
            // A tab is as wide as the terminal likes: the same tab below it always fits.
            if *c == '\t' {
                caret.push('\t');
            } else {
                caret.extend(std::iter::repeat_n(' ', display_width(*c)));
            }
        }
        let shown = marked.min((MAX_SHOWN_CHARS + skip).saturating_sub(before)).max(1);
        let carets: usize = masked.iter().skip(before).take(shown).map(|c| display_width(*c)).sum();
        caret.extend(std::iter::repeat_n('^', carets.max(1)));
        Excerpt { line, column: before + 1, source, caret }
    }
}

/// The line with pair keys starred out, one character for one. A finding ends up in terminals,
/// tickets and logs; the secret on the line it points at must not.
fn mask_secrets(line: &str) -> Vec<char> {
    let lower = line.to_ascii_lowercase();
    // To the end of the line: a text that was broken on the way into the file is secret as well.
    let secret_from = [find_secret(line), value_of_psk(&lower)];
    let from = secret_from.into_iter().flatten().min().unwrap_or(line.len());
    line.char_indices()
        .map(|(at, c)| match c {
            c if at >= from && c.is_alphanumeric() => '*',
            '\t' => '\t',
            c if acts_on_terminal(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Offset at which the value of a key `psk` starts.
fn value_of_psk(lower: &str) -> Option<usize> {
    let key = lower.find("psk")?;
    let rest = lower.get(key..)?;
    rest.find('=').map(|at| key + at + 1)
}

/// Cells of a terminal that a character takes (the coarse ranges of Unicode TR 11 and of the
/// combining marks).
fn display_width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}
