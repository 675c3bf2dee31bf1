//! What the documents point at is there: files, tests, dependencies.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below a folder whose names end like this, but those of builds.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str().unwrap();
        let is_folder = entry.file_type().unwrap().is_dir();
        if is_folder && !name.starts_with('.') && !name.starts_with("target") {
            files(&path, end, found);
        } else if !is_folder && name.ends_with(end) {
            found.push(path);
        }
    }
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root(), ".md", &mut found);
    assert!(found.len() > 8, "{found:?}");
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(
                path.parent().unwrap().join(target).exists(),
                "{}: {link} is not there",
                path.display()
            );
        }
    }
}

#[test]
fn tests_of_the_threat_model_exist() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let mut sources = Vec::new();
    files(&root(), ".rs", &mut sources);
    let sources: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let word = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let named: Vec<&str> = text.split(word).filter(|w| w.matches('_').count() >= 2).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(
            sources.contains(&format!("fn {name}(")),
            "docs/threat-model.md names the test {name}, which is not there"
        );
    }
}

#[test]
fn every_dependency_has_its_line() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let (_, dependencies) = manifest.split_once("[workspace.dependencies]\n").unwrap();
    let lines = dependencies.lines().take_while(|line| !line.starts_with('['));
    let names: Vec<&str> =
        lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names.iter().filter(|name| !name.starts_with("spa-") && !name.starts_with('#')) {
        let told = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
        assert!(
            text.split(told).any(|word| word == *name),
            "{name} has no line in CONTRIBUTING.md"
        );
    }
}

/// Every event that the user documentation names is one that the server logs.
#[test]
fn events_of_the_user_documentation_exist() {
    let page = |name: &str| fs::read_to_string(root().join("docs").join(name)).unwrap();
    let text: String = [
        "troubleshooting.md",
        "hide-a-service.md",
        "people.md",
        "monitoring.md",
        "maintenance.md",
        "sandbox.md",
        "control.md",
    ]
    .map(page)
    .concat();
    let mut sources = Vec::new();
    files(&root().join("spa-server/src"), ".rs", &mut sources);
    let sources: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let (_, table) = text.split_once("## What happens when…").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 8, "{rows:?}");
    // The second column; and `event=NAME` wherever it stands.
    let column = rows
        .iter()
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let elsewhere = text
        .split("event=")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next());
    let names: Vec<&str> = column.chain(elsewhere).filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 15, "{names:?}");
    let keys = ["cause", "reason=store", "skew-ms", "another spa-server"];
    for name in names.iter().filter(|name| !keys.contains(name)) {
        assert!(
            sources.contains(&format!("\"{name}\"")),
            "the pages in docs name the event {name}, which the server does not log"
        );
    }
}
