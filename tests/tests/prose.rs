//! Every Markdown file keeps the rules of `spa_tests::prose`, every other source those of
//! `spa_tests::columns`.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use spa_tests::columns::{find_wide_lines, is_source};
use spa_tests::prose::find_breaches;

/// Folders whose lines are not counted yet.
const WIDE_FOLDERS: [&str; 5] = [
    "spa-proto/",
    "spa-server/src/engine/",
    "spa-server/src/listener/",
    "spa-server/src/broker/",
    "spa-server/tests/engine/",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Names of all files that git lists, below the root.
fn listed_files() -> Vec<String> {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output().unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn markdown_is_one_sentence_per_line() {
    let names: Vec<String> =
        listed_files().into_iter().filter(|name| name.ends_with(".md")).collect();
    let mut breaches = String::new();
    for name in &names {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        for breach in find_breaches(&text) {
            breaches += &format!("{name}:{}: {}\n", breach.line, breach.what);
        }
    }
    assert!(names.len() > 20, "git lists no documents");
    assert!(breaches.is_empty(), "\n{breaches}");
}

#[test]
fn sources_are_a_hundred_columns_wide() {
    let names: Vec<String> = listed_files()
        .into_iter()
        .filter(|name| is_source(name) && !WIDE_FOLDERS.iter().any(|at| name.starts_with(at)))
        .collect();
    let mut wide = String::new();
    for name in &names {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        for (line, columns) in find_wide_lines(name, &text) {
            wide += &format!("{name}:{line}: {columns} columns wide\n");
        }
    }
    assert!(names.len() > 300, "git lists no sources");
    assert!(wide.is_empty(), "\n{wide}");
}
