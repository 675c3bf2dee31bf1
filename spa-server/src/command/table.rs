//! Text for the terminal: rows in columns, numbers with their noun.

use std::time::Duration;

use serde_json::Value;
use spa_keys::printable;

use spa_keys::duration;

/// Columns under their heads, two spaces between them. What an answer carries is shown without
/// control characters.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let clean = |row: &Vec<String>| -> Vec<String> {
        row.iter()
            .map(|cell| printable(cell).to_string())
            .map(|cell| if cell.is_empty() { "-".to_owned() } else { cell })
            .collect()
    };
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(rows.iter().map(clean)).collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            lines
                .iter()
                .filter_map(|line| line.get(at))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// `1 client`, `2 clients`.
pub(super) fn count(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// The rows of an answer.
pub(super) fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A text of a row; `-` when there is none.
pub(super) fn word(row: &Value, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or("-").to_owned()
}

/// The same for the eye, without control characters.
pub(super) fn shown(row: &Value, name: &str) -> String {
    printable(&word(row, name)).to_string()
}

/// A number of a row; 0 when there is none.
pub(super) fn number(row: &Value, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// Several words of a row, joined by commas; `-` when there are none.
pub(super) fn words(row: &Value, name: &str) -> String {
    let words: Vec<&str> = rows(row, name).iter().filter_map(Value::as_str).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

/// Seconds of a row as `29m58s`.
pub(super) fn time(row: &Value, name: &str) -> String {
    duration::format(Duration::from_secs(number(row, name)))
}

/// The source of a grant: an address, or a network where more than one address may pass.
pub(super) fn source(grant: &Value) -> String {
    let source = word(grant, "source");
    let alone = if source.contains(':') { 128 } else { 32 };
    match grant.get("prefix").and_then(Value::as_u64) {
        Some(prefix) if prefix != alone => format!("{source}/{prefix}"),
        _ => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_clean() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["laptop", "2001:db8::1", "1h"]), row(["\u{1b}[2Jx", "", "20s"])];
        let expected = "NAME        SOURCE       LEFT\nlaptop      2001:db8::1  1h\n\\u{1b}[2Jx  -            20s\n";
        assert_eq!(table(&["NAME", "SOURCE", "LEFT"], &rows), expected);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [count(0_u64, "ban"), count(1_u64, "ban"), count(2_u64, "ban")],
            ["0 bans", "1 ban", "2 bans"]
        );
    }
}
