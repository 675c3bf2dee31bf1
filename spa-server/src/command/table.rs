//! Text for the terminal: rows in columns, numbers with their noun.

use std::time::Duration;

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

/// The text; `-` when there is none.
pub(super) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

/// Words joined by commas; `-` when there are none.
pub(super) fn words(words: &[impl ToString]) -> String {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

/// Seconds as `29m58s`, roughly where they are many.
pub(super) fn time(seconds: u64) -> String {
    duration::format_roughly(Duration::from_secs(seconds))
}

/// Seconds of a JSON answer, as [`time`].
pub(super) fn time_left(seconds: f64) -> String {
    duration::format_roughly(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Tells the UDP ports that whatever stands before this host must let through.
pub(super) fn describe_way_in(ports: &str) -> String {
    format!(
        "UDP ports {ports} must reach this host: let them through in its router, the provider's \
         firewall or security group"
    )
}

/// Time between two moments in unix milliseconds, as `29m58s`.
pub(super) fn elapsed(since_ms: u64, now_ms: u64) -> String {
    time(now_ms.saturating_sub(since_ms) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_clean() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["laptop", "2001:db8::1", "1h"]), row(["\u{1b}[2Jx", "", "20s"])];
        let expected = "NAME        SOURCE       LEFT\n\
            laptop      2001:db8::1  1h\n\
            \\u{1b}[2Jx  -            20s\n";
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
