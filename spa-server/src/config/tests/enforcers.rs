//! `[[enforcer]]`, and `enforcers` of a service: what they become, and what is wrong with them.

use std::time::Duration;

use super::{SMALL, findings, good};
use crate::config::{EnforcerKind, HookPart, Surroundings, parse};
use spa_keys::Failure;

const ENFORCER: &str = "[[enforcer]]\nname = \"desk\"\nkind = \"exec\"\n";
const COMMAND: &str = "command = [\"/bin/x\", \"a b\"]\n";

fn used(enforcer: &str) -> String {
    format!("{SMALL}enforcers = [\"desk\"]\n{enforcer}")
}

#[test]
fn what_they_become() {
    let config = good(&used(&format!("{ENFORCER}{COMMAND}expires = true\nends-flows = true\n")));
    let enforcer = &config.enforcers[0];
    assert_eq!((&*enforcer.name, enforcer.timeout), ("desk", Duration::from_secs(3)));
    assert!(enforcer.capabilities().takes_provisional());
    let EnforcerKind::Exec { command, .. } = &enforcer.kind;
    assert_eq!(command, &["/bin/x", "a b"]);
    assert_eq!(&*config.services[0].enforcers[0], "desk");
    assert_eq!(good(SMALL).services[0].enforcers, []);
}

#[test]
fn what_is_wrong() {
    let exec = format!("{ENFORCER}{COMMAND}");
    for (text, words) in [
        (used(ENFORCER), "lacks `command`"),
        (used(&exec.replace("kind = \"exec\"\n", "")), "lacks `kind`"),
        (used(&exec.replace("\"exec\"", "\"pf\"")), "`pf` is not a value of `kind`"),
        (used(&exec.replace("name = \"desk\"\n", "")), "lacks `name`"),
        (used(&exec.replace("/bin/x", "bin/x")), "not an absolute path"),
        (used(&exec.replace(COMMAND, "command = []\n")), "no program"),
        (used(&format!("{exec}timeout = \"1m\"\n")), "write a time from 1s to 10s"),
        (used(&format!("{exec}expires = \"yes\"\n")), "write true or false"),
        (used(&format!("{exec}shell = true\n")), "unknown key `shell`"),
        (used(&format!("{exec}{exec}")), "there is an enforcer `desk` already"),
        (used(""), "there is no [[enforcer]] `desk`"),
        (used(&exec.replace("desk", "desks")), "did you mean"),
        (format!("{SMALL}{exec}"), "no service uses it"),
        (used(&exec), "opens after the client's CONFIRM"),
        (
            used(&exec).replace("[sequence]", "[firewall]\nbackend = \"observe\"\n[sequence]"),
            "no enforcer is started",
        ),
    ] {
        let said = findings(&text).to_string();
        assert!(said.contains(words), "{text}: {said}");
        assert!(said.contains('^'), "a place: {said}");
    }
}

#[test]
fn a_program_that_would_not_run_is_a_warning() {
    let check = |_: HookPart<'_>| Err(Failure::failed("it is not there"));
    let around = Surroundings { check_hook: &check, ..Surroundings::none() };
    let (config, findings) = parse("x", &used(&format!("{ENFORCER}{COMMAND}")), &around);
    let said = findings.to_string();
    assert!(config.is_some() && said.contains("opens nothing: it is not there"), "{said}");
}
