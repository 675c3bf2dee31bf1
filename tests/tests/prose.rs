//! Every Markdown file keeps the rules of `spa_tests::prose`.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use spa_tests::prose::find_breaches;

/// Texts whose sentences are not counted yet.
const LONG_SENTENCES: [&str; 1] = ["docs/threat-model.md"];

#[test]
fn markdown_is_one_sentence_per_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let listed = Command::new("git").args(["ls-files", "*.md"]).current_dir(root).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let mut breaches = String::new();
    for name in names.lines() {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        for breach in find_breaches(&text, !LONG_SENTENCES.contains(&name)) {
            breaches += &format!("{name}:{}: {}\n", breach.line, breach.what);
        }
    }
    assert!(names.lines().count() > 20, "git lists no documents");
    assert!(breaches.is_empty(), "\n{breaches}");
}
