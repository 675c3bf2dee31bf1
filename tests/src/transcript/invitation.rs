//! Invitations and rotation, as far as nobody knocks.

use super::{Transcript, configured};

pub(super) fn help() -> String {
    let mut session = Transcript::new();
    session.runs(&[
        "spa-server invite --help",
        "spa-server invitations --help",
        "spa join --help",
        "spa-client join --help",
        "spa rotate gate --help",
    ]);
    session.end()
}

pub(super) fn invitations() -> String {
    let mut session = Transcript::new();
    configured(&mut session);
    session.run("spa keygen --server -o server.key");
    session.run("spa-server invitations --config server.toml");
    let line = session.run(
        "spa-server invite phone --service ssh --from 192.0.2.0/24 --png phone.png --config \
         server.toml",
    );
    assert_eq!(line.lines().count(), 1, "one line: {line}");
    session.name("LINE", &line);
    session.runs(&[
        "spa-server invite tablet --service ssh --service vpn --expires 7d --json --config \
         server.toml",
        "spa-server invitations --config server.toml",
        "spa-server invitations --json --config server.toml",
        "spa-server client list --config server.toml",
        "spa-server check server.toml",
        // What goes wrong.
        "spa-server invite phone --service ssh --config server.toml",
        "spa-server invite --service ssh --config server.toml",
        "spa-server invite laptop --config server.toml",
        "spa-server invite laptop --service sssh --config server.toml",
        "spa-server invite laptop --service ssh --expires 31d --config server.toml",
        "spa-server invite laptop --service ssh --png phone.png --config server.toml",
        "spa-server invite --revoke phone --config server.toml",
        "spa-server invite --revoke phone --config server.toml",
        "spa-server invite --revoke tablet --json --config server.toml",
        "spa-server invitations --json --config server.toml",
        "spa host add - < $LINE",
        "spa inspect - < $LINE",
        "spa join - < $LINE --timeout 1s --address 127.0.0.1",
        "spa join - --timeout 1s",
        "spa rotate gate.example.org",
        "spa rotate",
    ]);
    times(&session.end())
}

/// Days, times and unix milliseconds are others in every run.
fn times(text: &str) -> String {
    let digit = |c: char| c.is_ascii_digit();
    let masked = |word: &str| {
        let shape: String = word.chars().map(|c| if digit(c) { '0' } else { c }).collect();
        match shape.as_str() {
            "0000-00-00" => "DAY".to_owned(),
            "00:00" | "00:00:00" => "TIME".to_owned(),
            _ if ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&word) => {
                "WEEKDAY".to_owned()
            }
            _ => word.to_owned(),
        }
    };
    let lines = text.lines().map(|line| {
        let line = line.split(' ').map(masked).collect::<Vec<_>>().join(" ");
        match line.split_once("\"until-ms\":") {
            None => line,
            Some(_) => {
                let mut parts = line.split("\"until-ms\":");
                let first = parts.next().unwrap_or_default().to_owned();
                parts.fold(first, |text, part| {
                    text + "\"until-ms\":MS" + part.trim_start_matches(digit)
                })
            }
        }
    });
    lines.map(|line| line + "\n").collect()
}
