//! What the programs say, compared with what they said before.

use super::*;

#[test]
fn the_programs_say_what_they_said_before() {
    for (name, make) in transcript::ALL {
        let (now, stored) = (make(), transcript::stored(name));
        let at = now.lines().zip(stored.lines()).take_while(|(now, stored)| now == stored).count();
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        assert!(
            now == stored,
            "{name}.txt differs in line {}:\n  now:    {}\n  stored: {}\nIf it shall be so: cargo \
             run -p spa-tests --example \
             update_snapshots",
            at + 1,
            line(&now),
            line(&stored)
        );
    }
}

/// The commands below one, by its own help: `["hosts", "add"]`.
fn commands(program: &str, above: &[String], found: &mut Vec<Vec<String>>) {
    let output = Command::new(binary(program))
        .args(above)
        .arg("--help")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {above:?}: {output:?}");
    let help = String::from_utf8(output.stdout).unwrap();
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        found.push(above.to_vec());
        return;
    };
    let names = list.lines().take_while(|line| !line.is_empty());
    // Deeper lines go on with what a command is for.
    let names =
        names.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    for name in names.filter_map(|line| line.split_whitespace().next()) {
        commands(program, &[above, &[name.to_owned()]].concat(), found);
    }
}

/// Help, an answer, JSON where there is JSON, and a failure with its exit code, of each command of
/// both programs.
#[test]
fn every_command_of_a_client_has_its_snapshots() {
    let stored: Vec<String> = fs::read_dir(transcript::SNAPSHOTS)
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    // A line of a session, and everything that it printed.
    let runs: Vec<&str> = stored.iter().flat_map(|text| text.split("$ ").skip(1)).collect();
    let mut missing = Vec::new();
    for program in ["spa", "spa-client"] {
        let mut all = Vec::new();
        commands(program, &[], &mut all);
        assert!(all.len() > 10, "{program}: {all:?}");
        for command in all {
            let line = format!("{program} {}", command.join(" "));
            let of: Vec<&str> = runs
                .iter()
                .filter(|run| {
                    run.strip_prefix(&line).is_some_and(|rest| rest.starts_with([' ', '\n']))
                })
                .copied()
                .collect();
            let help = of.iter().find(|run| run.starts_with(&format!("{line} --help\n")));
            let has_json = help.is_some_and(|help| help.contains("--json"));
            let first = |run: &str| run.lines().next().unwrap_or_default().to_owned();
            let fails = |run: &str| run.contains("[exit code ");
            let asks = |run: &str| first(run).contains("--help");
            // Long scripts, tried in the shells themselves; and what not every kernel grants
            // (`keys/tests/passphrase.rs`).
            let elsewhere =
                ["completions", "unlock"].contains(&command.last().map_or("", String::as_str));
            for (what, there) in [
                ("help", help.is_some()),
                ("answer", elsewhere || of.iter().any(|run| !fails(run) && !asks(run))),
                (
                    "json",
                    !has_json || of.iter().any(|run| first(run).contains("--json") && !fails(run)),
                ),
                ("failure", of.iter().any(|run| fails(run))),
            ] {
                if !there {
                    missing.push(format!("{line}: no {what}"));
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no snapshot in {}:\n{}",
        transcript::SNAPSHOTS,
        missing.join("\n")
    );
}
