//! What is different in every run, taken out of what is compared.

use serde_json::Value;

/// Numbers that pass with time become `N`, moments `WHEN`.
pub(crate) fn still(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(still),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.as_str();
                let passes = ["left-s", "up-s", "ms"].contains(&name)
                    || (name.ends_with("-ms") && name != "expires-ms");
                match value {
                    // A busy machine sends packets again; nobody knows how its clock is kept;
                    // random ports.
                    Value::Object(counts) if name == "packets" => {
                        counts.values_mut().for_each(|count| *count = "N".into());
                    }
                    value if ["synchronised", "knock-ports"].contains(&name) => *value = "N".into(),
                    Value::String(text) if name == "text" && text.starts_with("# HELP") => {
                        let lines: Vec<String> = text.lines().map(still_line).collect();
                        *text = lines.join("; ");
                    }
                    Value::Number(_) if passes => *value = "N".into(),
                    Value::String(text) if ["at", "when"].contains(&name) => {
                        *text = "WHEN".to_owned()
                    }
                    Value::String(text) => *text = still_line(text),
                    other => still(other),
                }
            }
        }
        _ => {}
    }
}

/// The same in text. Columns move with what is in them, so runs of spaces become one.
pub(crate) fn still_line(line: &str) -> String {
    // Random ports, when `init` has chosen them.
    if let Some((before, after)) = line.split_once(" must reach this host")
        && let Some((before, _)) = before.split_once("UDP ports ")
    {
        return format!("{before}UDP ports N must reach this host{after}");
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    if let [name, _] = words.as_slice()
        && name.starts_with("spa_")
        && ["seconds", "packets", "stages", "replay"].iter().any(|part| name.contains(part))
    {
        return format!("{name} N");
    }
    // A busy machine sends packets again.
    let units: &[&str] =
        if words.first() == Some(&"packets:") { &["in", "replayed,"] } else { &["ms", "s"] };
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let (core, end) = match word.strip_suffix([',', ';']) {
            Some(core) => (core, &word[core.len()..]),
            None => (*word, ""),
        };
        let asked = at > 0 && ["for", "from", "to"].contains(&words[at - 1]);
        if ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&core)
            && words
                .get(at + 1)
                .is_some_and(|date| date.len() == 10 && date.matches('-').count() == 2)
        {
            // The weekday, the date, the time and the zone, which may carry the comma.
            let zone = words.get(at + 3).unwrap_or(&"");
            let comma = if zone.ends_with(',') { "," } else { "" };
            out.push(format!("WHEN{comma}"));
            at += 4;
            continue;
        }
        let is_years = |word: &&str| word.starts_with("years");
        if core == "about" && words.get(at + 2).is_some_and(is_years) {
            out.push("TIME".to_owned());
            at += 3;
            continue;
        }
        if let Some(masked) = moment(core) {
            out.push(format!("{masked}{end}"));
        } else if is_time(core) && !asked {
            out.push(format!("TIME{end}"));
        } else if words.get(at + 1).is_some_and(|unit| units.contains(unit))
            && core.parse::<i64>().is_ok()
        {
            out.push("N".to_owned());
        } else {
            out.push((*word).to_owned());
        }
        at += 1;
    }
    out.join(" ")
}

/// Days and times of day, and the names of key files that have a number or a fingerprint in them.
fn moment(word: &str) -> Option<String> {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let masked = match shape.as_str() {
        "0000-00-00" => "DAY".to_owned(),
        "00:00:00" => "TIME".to_owned(),
        "0000-00-00T00:00:00Z)" => "WHEN)".to_owned(),
        _ => {
            let end = if word.ends_with(':') { ":" } else { "" };
            let (folder, name) = word.strip_suffix(end)?.strip_suffix(".key")?.rsplit_once('/')?;
            if name == "server" {
                return None;
            }
            let name = if name.starts_with("new-") { "new-N" } else { "CHECK" };
            format!("{folder}/{name}.key{end}")
        }
    };
    Some(masked)
}

/// `29m58s` and the like.
fn is_time(word: &str) -> bool {
    let rest = word.trim_end_matches(['d', 'h', 'm', 's']);
    rest.len() < word.len()
        && word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_digit() || "dhms".contains(c))
}

#[cfg(test)]
mod tests {
    use super::still_line;

    #[test]
    fn what_passes_is_taken_out() {
        for (line, still) in [
            ("laptop  ssh  192.0.2.1   9m59s  1   g1", "laptop ssh 192.0.2.1 TIME 1 g1"),
            (
                "opened ssh for 192.0.2.1 for 10m; to end",
                "opened ssh for 192.0.2.1 for 10m; to end",
            ),
            ("1s ago, 192.0.2.1", "TIME ago, 192.0.2.1"),
            ("up 12s, firewall nftables", "up TIME, firewall nftables"),
            (
                "Thu 2026-12-24 22:00:00 UTC is outside Mon-Fri 08:00-18:00",
                "WHEN is outside Mon-Fri 08:00-18:00",
            ),
            ("new ones in about 2 years", "new ones in TIME"),
            ("none  -12 ms", "none N ms"),
            ("a trial is running, for 299 s more", "a trial is running, for N s more"),
            ("ssh hs", "ssh hs"),
            ("laptop 2026-11-23 01:47:27 open", "laptop DAY TIME open"),
            ("packets: 6 in all, 1 replayed, 0 lost", "packets: N in all, N replayed, 0 lost"),
            ("spa_knock_open_seconds_sum 0.04", "spa_knock_open_seconds_sum N"),
            ("spa_clients 1", "spa_clients 1"),
        ] {
            assert_eq!(still_line(line), still);
        }
    }
}
