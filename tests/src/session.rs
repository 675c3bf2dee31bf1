//! A terminal session with a running server, as text that is kept in a file and compared.
//!
//! `SPA_SNAPSHOTS=write cargo test -p spa-tests --test scenarios NAME` writes the files anew; read the difference before
//! you commit it.

use std::path::Path;
use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::daemon::{Client, Server};
use crate::process;
use crate::transcript::{shorten, store, stored};

/// What is written down, line by line, without what is different in every run.
#[derive(Debug, Default)]
pub struct Session {
    text: String,
}

impl Session {
    /// Nothing yet.
    pub fn new() -> Session {
        Session::default()
    }

    /// Runs `spa-server ARGUMENTS` (double quotes keep words together) on the server's host and writes down the line, what
    /// it prints (on standard error behind `! `) and its exit code unless that is 0. Returns what it printed, as it was.
    pub fn run(&mut self, server: &Server, arguments: &str) -> String {
        let words: Vec<&str> = arguments
            .split('"')
            .enumerate()
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            })
            .collect();
        let output = server.control(&words);
        let folder = server.folder().display().to_string();
        self.ended(&format!("spa-server {arguments}"), &folder, &output)
    }

    /// The same with a line of `spa` or `spa-client`, and what it reads from standard input.
    pub fn client(&mut self, client: &Client, line: &str, input: &str) -> String {
        self.client_until(client, line, input, None)
    }

    /// The same with a command that goes on until it gets this signal; sent when it has said these words.
    pub fn client_until(
        &mut self,
        client: &Client,
        line: &str,
        input: &str,
        end: Option<(&str, Signal)>,
    ) -> String {
        let mut words = line.split_whitespace();
        let mut command = client.command(words.next().expect("a program"));
        command.args(words).env("TZ", "UTC").env_remove("LC_ALL").env_remove("LANG");
        let output = match end {
            None => process::piped(&mut command, input),
            Some((words, signal)) => process::signalled(&mut command, words, signal),
        };
        let shown = if input.is_empty() { line.to_owned() } else { format!("{line} < LINE") };
        let folder = client.folder();
        let home = folder.parent().and_then(Path::parent).expect("a home").display().to_string();
        self.ended(&shown, &home, &output)
    }

    /// Notes a line and how it ended; a folder that has another name in every run is `DIR`.
    fn ended(&mut self, line: &str, folder: &str, output: &Output) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("our programs print UTF-8");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        self.text.push_str(&format!("$ {line}\n"));
        out.lines().for_each(|line| self.note(&line.replace(folder, "DIR")));
        err.lines().for_each(|line| self.note(&format!("! {}", line.replace(folder, "DIR"))));
        match output.status.code() {
            Some(0) => {}
            code => self.text.push_str(&format!("[exit code {code:?}]\n")),
        }
        self.text.push('\n');
        out
    }

    fn note(&mut self, line: &str) {
        match serde_json::from_str::<Value>(line) {
            Ok(mut value) if value.is_object() => {
                still(&mut value);
                let pretty = serde_json::to_string_pretty(&value).expect("JSON");
                self.text.push_str(&shorten(&pretty));
            }
            _ => self.text.push_str(&shorten(&still_line(line))),
        }
        self.text.push('\n');
    }

    /// Compares with the file of this name, or writes it.
    pub fn end(self, name: &str) {
        let now = self.text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        if std::env::var_os("SPA_SNAPSHOTS").is_some_and(|word| word == "write") {
            store(name, &now).expect("the snapshot can be written");
            return;
        }
        let before = stored(name);
        let at = now.lines().zip(before.lines()).take_while(|(now, before)| now == before).count();
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        assert!(
            now == before,
            "{name}.txt differs in line {}:\n  now:    {}\n  stored: {}\nIf it shall be so: SPA_SNAPSHOTS=write\n{now}",
            at + 1,
            line(&now),
            line(&before)
        );
    }
}

/// Numbers that pass with time become `N`, moments `WHEN`.
fn still(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(still),
        Value::Object(fields) => {
            for (name, value) in fields {
                let passes =
                    ["left-s", "ms", "at-ms", "now-ms", "skew-ms", "rtt-ms", "up-s"].contains(&name.as_str());
                match value {
                    Value::Number(_) if passes => *value = "N".into(),
                    Value::String(text) if ["at", "when"].contains(&name.as_str()) => {
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
fn still_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let (core, end) = match word.strip_suffix([',', ';']) {
            Some(core) => (core, &word[core.len()..]),
            None => (*word, ""),
        };
        let asked = at > 0 && ["for", "from", "to"].contains(&words[at - 1]);
        if ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&core)
            && words.get(at + 1).is_some_and(|date| date.len() == 10 && date.matches('-').count() == 2)
        {
            // The weekday, the date, the time and the zone, which may carry the comma.
            let zone = words.get(at + 3).unwrap_or(&"");
            let comma = if zone.ends_with(',') { "," } else { "" };
            out.push(format!("WHEN{comma}"));
            at += 4;
            continue;
        }
        if let Some(masked) = moment(word) {
            out.push(masked);
        } else if is_time(core) && !asked {
            out.push(format!("TIME{end}"));
        } else if words.get(at + 1).is_some_and(|unit| ["ms", "s"].contains(unit))
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
        _ => {
            let end = if word.ends_with(':') { ":" } else { "" };
            let (folder, name) = word.strip_suffix(end)?.strip_suffix(".key")?.rsplit_once('/')?;
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
            ("opened ssh for 192.0.2.1 for 10m; to end", "opened ssh for 192.0.2.1 for 10m; to end"),
            ("1s ago, 192.0.2.1", "TIME ago, 192.0.2.1"),
            ("up 12s, firewall nftables", "up TIME, firewall nftables"),
            (
                "Thu 2026-12-24 22:00:00 UTC is outside Mon-Fri 08:00-18:00",
                "WHEN is outside Mon-Fri 08:00-18:00",
            ),
            ("none  -12 ms", "none N ms"),
            ("a trial runs, for 299 s more", "a trial runs, for N s more"),
            ("ssh hs", "ssh hs"),
        ] {
            assert_eq!(still_line(line), still);
        }
    }
}
