//! `on-open` and `on-close`: what is wrong with them.

use std::time::Duration;

use super::{SMALL, findings, good};

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
        ("{ run = [\"/bin/x\", \"{source\"] }", "a brace that is no placeholder"),
        ("{ run = [\"/bin/x\", \"{port}\"] }", "a brace that is no placeholder"),
        ("{ run = [\"/bin/x\"], user = \"root\" }", "never run as root"),
        ("{ run = [\"/bin/x\"], timeout = \"1h\" }", "write a time from 1s to 10m"),
        ("{ run = [\"/bin/x\"], shell = true }", "unknown key `shell`"),
        ("\"/bin/x\"", "is a text: write a table"),
    ] {
        let said = findings(&format!("{SMALL}on-open = {hook}\n")).to_string();
        assert!(said.contains(words) && said.contains("error"), "{hook}: {said}");
    }
}
