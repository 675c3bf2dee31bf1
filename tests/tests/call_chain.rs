//! The call chain of one knock in ARCHITECTURE.md names every function that runs during a knock.
//!
//! Client, broker and listener are built with counters (`tests/instrument.sh`), one real knock is
//! made, and what was executed meanwhile is compared. Start-up of the daemon does not count: its
//! counters are read right before the knock and right after it.
//!
//! `SPA_CHAIN=print cargo test -p spa-tests --test call_chain -- --nocapture` prints what ran.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use spa_tests::coverage::{Place, Program};
use spa_tests::daemon::{binary, profile_folder, use_programs_of};
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, config};
use spa_tests::survey::Package;
use spa_tests::survey::functions::{Function, Items};
use spa_tests::{Family, need_namespaces};

/// Most visits to files that a knock may take.
const MAX_STOPS: usize = 45;

/// Functions of at most so many lines are accessors, constructors and conversions: not listed.
const MAX_ACCESSOR_LINES: usize = 3;

/// Functions that run beside a knock, not for it.
const EXEMPT: [(&str, &str); 0] = [];

/// Executed functions by file.
type Chain = BTreeMap<PathBuf, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Product functions by file.
fn functions() -> BTreeMap<PathBuf, Vec<Function>> {
    let packages = Package::read_all(root());
    let files = packages.iter().flat_map(|package| &package.files);
    files.map(|file| (file.path.clone(), Items::read(file).functions)).collect()
}

/// Names of the functions at these places, accessors and what traits prescribe left out.
fn name(places: &BTreeSet<Place>, known: &BTreeMap<PathBuf, Vec<Function>>) -> Chain {
    let mut chain = Chain::new();
    for (path, line) in places {
        let path = path.strip_prefix(root()).unwrap_or(path);
        let Some(functions) = known.get(path) else { continue };
        // The innermost, for functions within functions.
        let around = functions.iter().filter(|f| (f.line..f.line + f.lines).contains(line));
        let Some(function) = around.min_by_key(|function| function.lines) else { continue };
        let exempt = EXEMPT.contains(&(path.to_str().unwrap(), &function.name));
        if function.lines > MAX_ACCESSOR_LINES && !function.in_trait_impl && !exempt {
            chain.entry(path.to_owned()).or_default().insert(function.name.clone());
        }
    }
    chain
}

/// Functions executed during one knock by client, broker and listener.
fn record_knock() -> BTreeSet<Place> {
    let server_program = Program::read(&binary("spa-server")).expect("built with counters");
    let client_program = Program::read(&binary("spa-client")).expect("built with counters");
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    let daemon = scene.server.daemon();
    let processes = [daemon.pid(), daemon.listener()];
    let before = processes.map(|pid| server_program.snapshot(pid));
    let profile = scene.client.folder().join("client.profraw");
    let mut open = scene.client.command("spa-client");
    open.env("LLVM_PROFILE_FILE", &profile).args(["open", "ssh@server", Family::V4.switch()]);
    let output = open.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut places = BTreeSet::new();
    for (pid, before) in processes.into_iter().zip(before) {
        places.extend(server_program.executed(&before, &server_program.snapshot(pid)));
    }
    let client = client_program.read_profile(&profile);
    places.extend(client_program.executed(&client_program.nothing(), &client));
    places
}

#[test]
fn the_chain_names_what_runs() {
    need_namespaces!();
    use_programs_of(profile_folder().parent().unwrap().join("coverage/debug"));
    let known = functions();
    let ran = name(&record_knock(), &known);
    if std::env::var_os("SPA_CHAIN").is_some_and(|mode| mode == "print") {
        for (path, names) in &ran {
            println!("{}: {}", path.display(), names.iter().cloned().collect::<Vec<_>>().join(", "));
        }
        let count: usize = ran.values().map(BTreeSet::len).sum();
        println!("{count} functions in {} files", ran.len());
    }
}
