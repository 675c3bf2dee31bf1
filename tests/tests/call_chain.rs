//! The call chain of one knock in ARCHITECTURE.md names every function that runs during a knock.
//!
//! Client, broker and listener are built with counters (`tests/instrument.sh`), one real knock is
//! made, and what was executed meanwhile is compared. Start-up of the daemon does not count: its
//! counters are read right before the knock and right after it.
//!
//! A *stop* is a visit to a file, with the functions by which it is entered: those that other
//! files can call. Functions private to a file belong to the visit. A *leaf* is a file or a folder
//! that a reader need not enter: a codec, a book of plain values, a log line. Leaves use nothing
//! but leaves; the test holds them to that, so no step of the chain can be declared one. A *duty*
//! is a file or a folder that runs at every turn of a loop, with a knock or without.
//!
//! `SPA_CHAIN=print cargo test -p spa-tests --test call_chain -- --nocapture` prints what ran.
//! `SPA_CHAIN=order` prints the stops of a knock in their order, with the returns to a file; it
//! needs uprobes and a mounted tracefs, so it is no test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use spa_tests::coverage::{Place, Program};
use spa_tests::daemon::{binary, profile_folder, use_programs_of};
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, config};
use spa_tests::survey::Package;
use spa_tests::survey::arrows::arrows;
use spa_tests::survey::functions::{Function, Items};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces};

/// Most visits to files that a knock may take: as many as today, so that they only get fewer.
const MAX_STOPS: usize = 45;
/// Knocks of which one must be as the document says.
const KNOCKS: u32 = 10;

/// Functions of at most so many lines are accessors, constructors and conversions: not listed.
const MAX_ACCESSOR_LINES: usize = 3;

/// Executed functions by file.
type Chain = BTreeMap<PathBuf, BTreeSet<String>>;

/// The block of ARCHITECTURE.md.
struct Told {
    stops: Vec<(PathBuf, BTreeSet<String>)>,
    /// Files, or folders with a slash at the end.
    leaves: BTreeSet<String>,
    /// Files with duties that come up at every turn of a loop, with a knock or without.
    duties: BTreeSet<String>,
}

/// The sources: functions by file, arrows between files.
struct Sources {
    functions: BTreeMap<PathBuf, Vec<Function>>,
    arrows: BTreeSet<(PathBuf, PathBuf)>,
    /// Traits of our own: their methods are steps like others.
    traits: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

impl Sources {
    fn read(packages: &[Package]) -> Self {
        let mut sources =
            Self { functions: BTreeMap::new(), arrows: BTreeSet::new(), traits: BTreeSet::new() };
        for package in packages {
            for file in &package.files {
                let items = Items::read(file);
                sources.functions.insert(file.path.clone(), items.functions);
                sources.traits.extend(items.trait_names);
            }
            for arrow in arrows(package) {
                let [from, to] = [arrow.from, arrow.to].map(|at| package.files[at].path.clone());
                sources.arrows.insert((from, to));
            }
        }
        sources
    }

    /// Names of the functions at these places that can be called from other files; accessors and
    /// methods of foreign traits left out.
    fn name(&self, places: &BTreeSet<Place>) -> Chain {
        let mut chain = Chain::new();
        for (path, line) in places {
            let path = path.strip_prefix(root()).unwrap_or(path);
            let Some(functions) = self.functions.get(path) else { continue };
            // The innermost, for functions within functions.
            let around = functions.iter().filter(|f| (f.line..f.line + f.lines).contains(line));
            let Some(function) = around.min_by_key(|function| function.lines) else { continue };
            let entry = match &function.of_trait {
                Some(name) => self.traits.contains(name),
                None => function.is_public || function.name == "main",
            };
            if entry && function.lines > MAX_ACCESSOR_LINES {
                chain.entry(path.to_owned()).or_default().insert(function.name.clone());
            }
        }
        chain
    }
}

/// Functions executed during one knock, by process.
fn record_knock() -> [(&'static str, BTreeSet<Place>); 3] {
    let server_program = Program::read(&binary("spa-server")).expect("built with counters");
    let client_program = Program::read(&binary("spa-client")).expect("built with counters");
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    let daemon = scene.server.daemon();
    let processes = [daemon.listener(), daemon.pid()];
    let before = processes.map(|pid| server_program.snapshot(pid));
    let profile = scene.client.folder().join("client.profraw");
    let mut open = scene.client.command("spa-client");
    open.env("LLVM_PROFILE_FILE", &profile).args(["open", "ssh@server", Family::V4.switch()]);
    let output = open.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let after = processes.map(|pid| server_program.snapshot(pid));
    let client = client_program.read_profile(&profile);
    [
        ("client", client_program.executed(&client_program.nothing(), &client)),
        ("listener", server_program.executed(&before[0], &after[0])),
        ("broker", server_program.executed(&before[1], &after[1])),
    ]
}

/// The block of the chain: lines `file: function, function`, one a stop, and lines
/// `leaf: file, folder/` and `duty: file, folder/`. A line that begins with blanks continues the
/// one before.
fn read_chain(document: &str) -> Told {
    let block = document.split_once("```chain\n").expect("ARCHITECTURE.md has a call chain").1;
    let block = block.split_once("```").expect("the call chain ends").0;
    let mut told = Told { stops: vec![], leaves: BTreeSet::new(), duties: BTreeSet::new() };
    let joined = block.replace("\n ", " ");
    for line in joined.lines().filter(|line| !line.is_empty()) {
        let (file, names) = line.split_once(':').expect("`file: functions`");
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names = names.map(str::to_owned);
        match file {
            "leaf" => told.leaves.extend(names),
            "duty" => told.duties.extend(names),
            file => told.stops.push((file.into(), names.collect())),
        }
    }
    told
}

impl Told {
    fn is_duty(&self, file: &Path) -> bool {
        self.duties.iter().any(|duty| covers(duty, file))
    }
}

/// Set where the entry of a leaf or a duty is this file or a folder around it.
fn covers(entry: &str, file: &Path) -> bool {
    let file = file.to_str().unwrap();
    file == entry || (entry.ends_with('/') && file.starts_with(entry))
}

/// Everything in which the chain contradicts what ran and what is declared.
fn contradictions(told: &Told, ran: &Chain, sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    let stops = &told.stops;
    if stops.len() > MAX_STOPS {
        found.push(format!("{} stops; a knock may take {MAX_STOPS}", stops.len()));
    }
    for pair in stops.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        found.push(format!("{}: two stops in a row are one", pair[0].0.display()));
    }
    let mut named = Chain::new();
    for (file, names) in stops {
        named.entry(file.clone()).or_default().extend(names.iter().cloned());
        let declared = sources.functions.get(file).map_or(&[][..], Vec::as_slice);
        let missing = |name: &&String| !declared.iter().any(|function| function.name == **name);
        for name in names.iter().filter(missing) {
            found.push(format!("{}: {name} is not there", file.display()));
        }
    }

    let is_leaf = |file: &Path| told.leaves.iter().any(|leaf| covers(leaf, file));
    for leaf in told.leaves.iter().filter(|leaf| !ran.keys().any(|file| covers(leaf, file))) {
        found.push(format!("{leaf}: a leaf of which nothing ran"));
    }
    for (from, to) in &sources.arrows {
        if ran.contains_key(from) && ran.contains_key(to) && is_leaf(from) && !is_leaf(to) {
            found.push(format!("{}: no leaf, it uses {}", from.display(), to.display()));
        }
    }
    let is_there = |duty: &&String| sources.functions.keys().any(|file| covers(duty, file));
    for duty in told.duties.iter().filter(|duty| !is_there(duty)) {
        found.push(format!("{duty} is not there"));
    }
    for (file, names) in ran.iter().filter(|(file, _)| !is_leaf(file) && !told.is_duty(file)) {
        let told = named.get(file);
        for name in names.iter().filter(|name| !told.is_some_and(|told| told.contains(*name))) {
            found.push(format!("{}: {name} ran, and the chain does not name it", file.display()));
        }
    }
    found
}

/// Entries into functions during a knock, in their order: process and place. The kernel's uprobes
/// tell them.
fn trace_knock(places: &BTreeSet<Place>) -> Vec<(String, Place)> {
    let tracing = Path::new("/sys/kernel/tracing");
    let write = |file: &str, text: &str| {
        let path = tracing.join(file);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{text} to {}: {e}", path.display()));
    };
    let mut probed = Vec::new();
    let mut events = String::new();
    for program in ["spa-client", "spa-server"] {
        let program = Program::read(&binary(program)).expect("built with counters");
        for (place, offset) in program.entries().iter().filter(|(place, _)| places.contains(place))
        {
            let (index, path) = (probed.len(), program.path().display());
            events.push_str(&format!("p:spa/f{index} {path}:0x{offset:x}\n"));
            probed.push(place.clone());
        }
    }
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    write("tracing_on", "0");
    write("trace_clock", "mono");
    write("trace", "");
    events.lines().for_each(|event| {
        let path = tracing.join("uprobe_events");
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, format!("{event}\n").as_bytes()).unwrap();
    });
    // One by one: the kernel cannot probe every instruction.
    let enable =
        |index: &usize| fs::write(tracing.join(format!("events/spa/f{index}/enable")), "1");
    let (probes, refused): (Vec<_>, Vec<_>) =
        (0..probed.len()).partition(|index| enable(index).is_ok());
    println!("{} functions are traced, {} cannot be", probes.len(), refused.len());
    write("tracing_on", "1");
    scene.client.must_open("ssh", Family::V4, &[]);
    // At once: to take the probes away lasts.
    write("tracing_on", "0");
    write("events/spa/enable", "0");
    let trace = fs::read_to_string(tracing.join("trace")).unwrap();
    write("uprobe_events", "");
    let entries = trace.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        // `   spa-client-123 [001] ..... 4.5: f12: (0x55)`
        let (head, rest) = line.split_once(": f")?;
        let index: usize = rest.split(':').next()?.parse().ok()?;
        Some((head.split_whitespace().next()?.to_owned(), probed[index].clone()))
    });
    entries.collect()
}

/// Prints the stops of a knock: process, file, functions.
fn print_order(places: &BTreeSet<Place>, sources: &Sources) {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let told = read_chain(&document);
    let mut stops: Vec<(String, PathBuf, Vec<String>)> = Vec::new();
    for (process, place) in trace_knock(places) {
        let chain = sources.name(&BTreeSet::from([place]));
        let Some((file, names)) = chain.into_iter().next() else { continue };
        if told.leaves.iter().any(|leaf| covers(leaf, &file)) || told.is_duty(&file) {
            continue;
        }
        let same = stops.last().is_some_and(|last| (&last.0, &last.1) == (&process, &file));
        if !same {
            stops.push((process, file, Vec::new()));
        }
        let last = &mut stops.last_mut().unwrap().2;
        last.extend(names.into_iter().filter(|name| !last.contains(name)).collect::<Vec<_>>());
    }
    for (process, file, names) in &stops {
        println!("{process:18} {}: {}", file.display(), names.join(", "));
    }
    println!("{} stops", stops.len());
}

#[test]
fn the_chain_names_what_runs() {
    need_namespaces!();
    use_programs_of(profile_folder().parent().unwrap().join("coverage/debug"));
    // Each instrumented program leaves a profile where it ends.
    let folder = TempDir::new();
    std::env::set_current_dir(folder.path()).unwrap();
    let sources = Sources::read(&Package::read_all(root()));
    let mode = std::env::var("SPA_CHAIN").unwrap_or_default();
    if mode == "order" {
        let places = record_knock().into_iter().flat_map(|(_, places)| places).collect();
        print_order(&places, &sources);
        return;
    }
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let told = read_chain(&document);
    let mut found = Vec::new();
    // On a busy machine a turn of the clock falls into a knock: then another one is looked at.
    for _ in 0..KNOCKS {
        found = contradictions(&told, &name_knock(&sources, mode == "print"), &sources);
        if found.is_empty() {
            return;
        }
    }
    panic!("{} contradictions\n{}", found.len(), found.join("\n"));
}

/// Makes a knock, and names what ran in each process.
fn name_knock(sources: &Sources, printed: bool) -> Chain {
    let mut ran = Chain::new();
    for (process, places) in record_knock() {
        let chain = sources.name(&places);
        // A measure that sees nothing of a process would pass everything.
        assert!(chain.len() > 5, "{process}: {chain:?}");
        if printed {
            println!("\n{process}: {} files", chain.len());
        }
        for (file, names) in chain {
            if printed {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                println!("{}: {}", file.display(), names.join(", "));
            }
            ran.entry(file).or_default().extend(names);
        }
    }
    if printed {
        let count: usize = ran.values().map(BTreeSet::len).sum();
        println!("\n{count} functions in {} files", ran.len());
    }
    ran
}

#[test]
fn contradictions_are_found() {
    let package = Package::parse("p", "p_lib", &|path| match path.to_str().unwrap() {
        "p/src/lib.rs" => Some("mod a; pub fn one() { a::x() } pub fn two() {}".into()),
        "p/src/a.rs" => Some("pub fn x() { super::two() }".into()),
        _ => None,
    });
    let sources = Sources::read(&[package]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let ran = Chain::from([
        ("p/src/lib.rs".into(), names(&["one", "two"])),
        ("p/src/a.rs".into(), names(&["x"])),
    ]);
    let check = |chain: &str| {
        contradictions(&read_chain(&format!("text\n```chain\n{chain}```\n")), &ran, &sources)
    };
    let whole = "p/src/lib.rs: one,\n  two\np/src/a.rs: x\n";
    assert_eq!(check(whole), Vec::<String>::new());
    assert_eq!(check("p/src/lib.rs: one, two\nleaf: p/src/a.rs\n"), Vec::<String>::new());
    for (chain, expected) in [
        ("p/src/lib.rs: one\np/src/a.rs: x\n", "two ran"),
        ("p/src/lib.rs: one, two\n", "x ran"),
        ("p/src/lib.rs: one, two, three\np/src/a.rs: x\n", "three is not there"),
        ("p/src/lib.rs: one\np/src/lib.rs: two\nleaf: p/src/a.rs\n", "two stops in a row"),
        ("leaf: p/src/lib.rs\np/src/a.rs: x\n", "no leaf, it uses p/src/a.rs"),
        ("p/src/lib.rs: one, two\nleaf: p/src/a.rs, q/\n", "q/: a leaf of which nothing ran"),
        (&whole.repeat(MAX_STOPS / 2 + 1), &format!("{} stops", MAX_STOPS / 2 * 2 + 2)),
    ] {
        let found = check(chain);
        assert!(found.len() == 1 && found[0].contains(expected), "{chain}: {found:?}");
    }
}
