//! `on-open` and `on-close`: what is wrong with them.

use std::time::Duration;

use super::{SMALL, findings, good};
use crate::config::{HookPart, Surroundings, parse};
use spa_keys::Failure;

#[test]
fn what_they_become() {
    let text = format!("{SMALL}on-close = {{ run = [\"/bin/x\", \"a {{event}}={{client}}\"] }}\n");
    let service = good(&text).services.remove(0);
    let hook = service.on_close.unwrap();
    assert_eq!((hook.run.len(), hook.user, hook.timeout), (2, None, Duration::from_secs(10)));
    assert_eq!(service.on_open, None);
}

#[test]
fn what_is_wrong() {
    for (hook, words) in [
        ("{ user = \"nobody\" }", "lacks `run`"),
        ("{ run = [] }", "no program"),
        ("{ run = [\"bin/x\"] }", "not an absolute path"),
        ("{ run = [\"/bin/{client}\"] }", "the program's path is fixed"),
        ("{ run = [\"/bin/x\", \"{source\"] }", "a brace that is not a placeholder"),
        ("{ run = [\"/bin/x\", \"{port}\"] }", "a brace that is not a placeholder"),
        ("{ run = [\"/bin/x\"], user = \"root\" }", "never run as root"),
        ("{ run = [\"/bin/x\"], timeout = \"1h\" }", "write a time from 1s to 10m"),
        ("{ run = [\"/bin/x\"], shell = true }", "unknown key `shell`"),
        ("\"/bin/x\"", "is a text: write a table"),
    ] {
        let said = findings(&format!("{SMALL}on-open = {hook}\n")).to_string();
        assert!(said.contains(words) && said.contains("error"), "{hook}: {said}");
    }
}

#[test]
fn what_would_not_run_here() {
    let check = |part: HookPart<'_>| match part {
        HookPart::Program(path) if path.ends_with("gone") => {
            Err(Failure::failed("it does not exist"))
        }
        HookPart::User("ghost") => Err(Failure::failed("there is no user ghost")),
        _ => Ok(()),
    };
    let around = Surroundings { check_hook: &check, ..Surroundings::none() };
    let hook = "on-open = { run = [\"/bin/gone\", \"x\"], user = \"ghost\" }";
    let fine = "on-close = { run = [\"/bin/x\"], user = \"nobody\" }";
    let (config, findings) = parse("spa.toml", &format!("{SMALL}{hook}\n{fine}\n"), &around);
    // The server starts without them.
    assert!(config.is_some(), "{findings}");
    let said: Vec<String> = findings.to_string().lines().map(str::to_owned).collect();
    let at = said.iter().position(|line| line.contains("on-open would not run")).unwrap();
    assert_eq!(
        said[at..at + 6],
        [
            "spa.toml:6:20: warning: on-open would not run: it does not exist".to_owned(),
            format!("    {hook}"),
            format!("    {}^^^^^^^^^^^", " ".repeat(19)),
            "spa.toml:6:46: warning: on-open would not run: there is no user ghost".to_owned(),
            format!("    {hook}"),
            format!("    {}^^^^^^^", " ".repeat(45)),
        ]
    );
    assert_eq!(
        findings.iter().filter(|finding| finding.problem.contains("would not run")).count(),
        2
    );
}

#[test]
fn a_hook_without_a_user_is_told_where_the_server_is_root() {
    let root = |part: HookPart<'_>| match part {
        HookPart::NoUser => Err(Failure::failed("a hook never runs as root")),
        _ => Ok(()),
    };
    let around = Surroundings { check_hook: &root, ..Surroundings::none() };
    for (hook, told) in [
        ("on-open = { run = [\"/bin/x\"] }", true),
        ("on-open = { run = [\"/bin/x\"], user = \"nobody\" }", false),
    ] {
        let text = format!("{SMALL}{hook}\n");
        let said = parse("spa.toml", &text, &around).1.to_string();
        let warned = said.contains("warning: on-open would not run: a hook never runs as root");
        assert_eq!(warned, told, "{said}");
        assert!(!findings(&text).to_string().contains("would not run"));
    }
    for odd in ["a\\u001bb", "\\u0000"] {
        let text = format!("{SMALL}on-open = {{ run = [\"/bin/x\", \"{odd}\"] }}\n");
        assert!(findings(&text).to_string().contains("no control characters"), "{odd}");
    }
    for user in ["a b", &"a".repeat(33), "é"] {
        let text = format!("{SMALL}on-open = {{ run = [\"/bin/x\"], user = \"{user}\" }}\n");
        assert!(findings(&text).to_string().contains("error: this is no name of a user"));
    }
}
