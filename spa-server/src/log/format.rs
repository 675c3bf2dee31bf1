//! An event as one line of logfmt or JSON.

use std::fmt::Write;

use spa_keys::acts_on_terminal;

use super::event::{FieldValue, Record};

/// Longest text of a field, in characters: no event can make a line without end.
const MAX_FIELD_CHARS: usize = 1024;

/// `time=… level=… event=… key=value`, without the newline.
pub(super) fn format_logfmt(time: &str, event: &Record) -> String {
    let mut line = format!("time={time} level={} event={}", event.level.word(), event.name);
    for (key, value) in &event.fields {
        // Writing to a String cannot fail.
        let _ = match value {
            FieldValue::Number(n) => write!(line, " {key}={n}"),
            FieldValue::Text(text) => write!(line, " {key}={}", logfmt_value(text)),
        };
    }
    line
}

fn logfmt_value(text: &str) -> String {
    let bare = |c: char| c.is_ascii_graphic() && !"=\"\\".contains(c);
    if !text.is_empty() && text.len() <= MAX_FIELD_CHARS && text.chars().all(bare) {
        text.to_owned()
    } else {
        quote_text(text)
    }
}

/// A JSON object without the newline. Times are texts, counts and durations numbers.
pub(super) fn format_json(time: &str, event: &Record) -> String {
    let mut line = format!(
        "{{\"time\":\"{time}\",\"level\":\"{}\",\"event\":\"{}\"",
        event.level.word(),
        event.name
    );
    for (key, value) in &event.fields {
        let _ = match value {
            FieldValue::Number(n) => write!(line, ",\"{key}\":{n}"),
            FieldValue::Text(text) => write!(line, ",\"{key}\":{}", quote_text(text)),
        };
    }
    line.push('}');
    line
}

/// A text in quotes, escaped as RFC 8259 section 7 says. Escaped are also the characters that a
/// terminal or a viewer acts upon: C1 controls, line separators and what turns the writing
/// direction.
fn quote_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars().take(MAX_FIELD_CHARS) {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if acts_on_terminal(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    if text.chars().nth(MAX_FIELD_CHARS).is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

/// Formats the line for the journal: without time and level, which it has by itself.
pub(super) fn format_message(event: &Record) -> String {
    let mut line = event.name.to_owned();
    for (key, value) in &event.fields {
        let _ = match value {
            FieldValue::Number(n) => write!(line, " {key}={n}"),
            FieldValue::Text(text) => write!(line, " {key}={}", logfmt_value(text)),
        };
    }
    line
}
