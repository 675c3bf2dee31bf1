//! What the documents point at is there: files, tests, dependencies.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// The items of a text's lists, each with its indented lines; other lines stand for themselves.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        match items.last_mut().filter(|item| item.starts_with("- ") && line.starts_with("  ")) {
            Some(item) => *item += &format!("\n{line}"),
            None => items.push(line.to_owned()),
        }
    }
    items
}

/// Tests that an item names: a file, then its functions, all in backticks.
fn named_tests(item: &str) -> Vec<(String, String)> {
    let (mut file, mut tests) = (None, Vec::new());
    for span in item.split('`').skip(1).step_by(2) {
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if span.ends_with(".rs") {
            let path = span.replace("…/engine", "spa-server/tests/engine");
            file = Some(path.replace("…/scenarios", "tests/tests/scenarios"));
        } else if let Some(file) = file.clone().filter(|_| span.chars().all(name)) {
            tests.push((file, span.to_owned()));
        }
    }
    tests
}

/// Every *cannot* of the threat model stands in an item that says which tests try it.
#[test]
fn each_cannot_of_the_threat_model_is_tried() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let (_, attackers) = text.split_once("## Attackers").unwrap();
    let says = |item: &&String| item.contains("annot*");
    let cannots: Vec<String> = items(attackers).iter().filter(says).cloned().collect();
    assert!(cannots.len() > 50, "{}", cannots.len());
    for item in cannots {
        let tests = named_tests(&item);
        assert!(!tests.is_empty(), "no test tries: {item}");
        for (file, test) in tests {
            let source = fs::read_to_string(root().join(&file)).unwrap_or_default();
            assert!(source.contains(&format!("fn {test}(")), "{file} has no {test}: {item}");
        }
    }
}

/// Every row of the page on compatibility names tests or scripts that are there, or says why it was
/// not tried; ten rows at most do that.
#[test]
fn what_is_compatible_was_tried() {
    let text = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("|---");
    let (mut tried, mut not_tried) = (0, 0);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_head = lines.peek().is_some_and(|next| next.starts_with("|---"));
        if is_head || !is_row(&line) {
            continue;
        }
        if line.contains("not tried: ") {
            not_tried += 1;
            continue;
        }
        tried += 1;
        let scripts = line.split('`').skip(1).step_by(2).filter(|span| span.ends_with(".sh"));
        let scripts: Vec<&str> = scripts.collect();
        for script in &scripts {
            assert!(root().join(script).exists(), "{script} is not there: {line}");
        }
        let tests = named_tests(line);
        assert!(!tests.is_empty() || !scripts.is_empty(), "no test: {line}");
        for (file, test) in tests {
            let source = fs::read_to_string(root().join(&file)).unwrap_or_default();
            assert!(source.contains(&format!("fn {test}(")), "{file} has no {test}: {line}");
        }
    }
    assert!(tried > 30 && not_tried <= 10, "{tried} rows tried, {not_tried} not");
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

/// Opens the first `{a,b}` of a word.
fn expand(word: &str) -> Vec<String> {
    let Some((before, (inside, after))) =
        word.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return vec![word.to_owned()];
    };
    let each = inside.split(',').map(|part| format!("{before}{}{after}", part.trim()));
    each.flat_map(|word| expand(&word)).collect()
}

/// Paths of sources and folders that a text names. Those of other machines begin with `/` or `~`.
fn named_paths(text: &str) -> Vec<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || "…_./{},-*~<>:".contains(c);
    let words = text.split(|c| !part(c)).map(|word| word.trim_matches(['.', ',', ':']));
    let ours =
        ["spa-server/", "spa-client/", "spa-proto/", "keys/", "tests/", "docs/", "pkg/", "…/"];
    let ends = [".rs", ".py", ".sh"];
    let is_path = |word: &String| {
        (ours.iter().any(|top| word.starts_with(top)) || ends.iter().any(|end| word.ends_with(end)))
            && !word.starts_with(['/', '~', '.'])
            && !word.contains(['*', '<', ':', '{'])
    };
    words.flat_map(expand).filter(is_path).collect()
}

/// A path in a document is that of a file or folder, or its end behind `…/` or without a folder.
/// ARCHITECTURE.md leaves out `spa-server/src/` and its like, so there it is an end below a `src`.
#[test]
fn paths_that_the_documents_name_exist() {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut places: Vec<String> = listed.lines().map(|line| format!("/{line}")).collect();
    let folders: BTreeSet<String> = places
        .iter()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned()))
        .collect();
    places.extend(folders);
    let (mut missing, mut count) = (String::new(), 0);
    for (path, text) in documents() {
        let page = path.strip_prefix(root()).unwrap().to_owned();
        if page == Path::new("CHANGELOG.md") {
            continue;
        }
        let in_sources = page == Path::new("ARCHITECTURE.md");
        for word in named_paths(&text) {
            let end = format!("/{}", word.trim_start_matches("…/").trim_end_matches('/'));
            let found = places.contains(&end)
                || places
                    .iter()
                    .any(|place| place.ends_with(&end) && (!in_sources || place.contains("/src/")));
            count += 1;
            if !found {
                missing += &format!("{}: {word} is not there\n", page.display());
            }
        }
    }
    assert!(count > 300, "{count} paths");
    assert!(missing.is_empty(), "\n{missing}");
}

/// The normative text is to be read in one sitting: its words without the worked examples, and its
/// lines, those of code too, but not of tables.
#[test]
fn the_protocol_is_short() {
    let text = fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        assert!(line.starts_with('|') || columns <= 100, "line {number}: {columns} columns");
    }
    let parts = text.split("<!-- worked: ");
    let prose = parts.map(|part| part.split_once("<!-- end -->").map_or(part, |(_, rest)| rest));
    let is_word = |word: &&str| word.contains(char::is_alphanumeric);
    let words = prose.flat_map(str::split_whitespace).filter(is_word).count();
    assert!((3000..=4500).contains(&words), "{words} words");
}
