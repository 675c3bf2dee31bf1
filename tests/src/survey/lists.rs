//! Offenders, one a line: `file:line what`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::arrows::{Arrow, arrows, cycles, file_pairs, room_pairs};
use super::functions::{Function, Items};
use super::text::{MAX_WIDTH, is_question, lines, markdown_files, markdown_lines};
use super::{Package, SourceFile, layers, text};

/// Kinds of lists, in the order in which they are printed.
pub const KINDS: [&str; 13] = [
    "duplicates",
    "one-word",
    "constants",
    "undocumented",
    "questions",
    "cycles",
    "wide",
    "long",
    "nested",
    "tuple-parameters",
    "tuple-returns",
    "string-errors",
    "layers",
];

/// Names that the language prescribes.
const CLEAR_NAMES: [&str; 2] = ["new", "main"];

/// A function name without an underscore, unless a trait prescribes it or it is `new` or `main`.
pub fn is_one_word(function: &Function) -> bool {
    is_named_freely(function) && !function.name.contains('_')
}

/// Set where the author chose the name.
pub fn is_named_freely(function: &Function) -> bool {
    function.of_trait.is_none() && !CLEAR_NAMES.contains(&function.name.as_str())
}

/// One list of [`KINDS`].
pub fn list(kind: &str, root: &Path, packages: &[Package]) -> Vec<String> {
    match kind {
        "duplicates" => packages.iter().flat_map(duplicates).collect(),
        "layers" => packages.iter().map(layers::suggest).collect(),
        "cycles" => packages.iter().flat_map(cycle_arrows).collect(),
        "wide" => each(packages, wide).into_iter().chain(wide_markdown(root)).collect(),
        "questions" => each(packages, |file| {
            let doc = text::doc_openings(file).into_iter();
            doc.filter(|(_, doc)| is_question(doc)).map(|(n, doc)| (n, doc.to_owned())).collect()
        }),
        kind => each(packages, |file| of_items(kind, &Items::read(file))),
    }
}

fn each(packages: &[Package], read: impl Fn(&SourceFile) -> Vec<(usize, String)>) -> Vec<String> {
    let files = packages.iter().flat_map(|package| &package.files);
    files
        .flat_map(|file| {
            let lines = read(file).into_iter();
            lines.map(|(line, what)| format!("{}:{line} {what}", file.path.display()))
        })
        .collect()
}

fn of_items(kind: &str, items: &Items) -> Vec<(usize, String)> {
    let chosen = |choose: &dyn Fn(&Function) -> bool| -> Vec<(usize, String)> {
        let functions = items.functions.iter().filter(|function| choose(function));
        functions.map(|function| (function.line, format!("fn {}", function.name))).collect()
    };
    match kind {
        "one-word" => chosen(&is_one_word),
        "long" => chosen(&|function| function.lines > 50),
        "nested" => chosen(&|function| function.nesting >= 4),
        "tuple-parameters" => chosen(&|function| function.tuple_parameters > 0),
        "tuple-returns" => chosen(&|function| function.returns_tuple),
        "string-errors" => items.string_errors.iter().map(|n| (*n, "String".into())).collect(),
        "constants" => {
            let short = items.constants.iter().filter(|constant| !constant.name.contains('_'));
            short.map(|constant| (constant.line, constant.name.clone())).collect()
        }
        "undocumented" => {
            let bare = items.public.iter().filter(|(_, documented)| !documented);
            bare.map(|(item, _)| (item.line, item.name.clone())).collect()
        }
        kind => panic!("no list {kind}; there are {}", KINDS.join(", ")),
    }
}

/// Type names that a package declares more than once, with the places.
pub fn duplicate_types(package: &Package) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &package.files {
        for item in Items::read(file).types {
            let place = format!("{}:{}", file.path.display(), item.line);
            places.entry(item.name).or_default().push(place);
        }
    }
    places.retain(|_, places| places.len() > 1);
    places
}

fn duplicates(package: &Package) -> Vec<String> {
    let duplicate = duplicate_types(package).into_iter();
    duplicate
        .flat_map(|(name, places)| {
            let times = places.len();
            places.into_iter().map(move |place| format!("{place} {name} (×{times})"))
        })
        .collect()
}

fn wide(file: &SourceFile) -> Vec<(usize, String)> {
    let wide = lines(file).into_iter().filter(|line| line.width() > MAX_WIDTH);
    wide.map(|line| (line.number, format!("{} characters", line.width()))).collect()
}

fn wide_markdown(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in markdown_files(root) {
        let text = fs::read_to_string(root.join(&path)).unwrap();
        for (number, line) in markdown_lines(&text) {
            let width = line.chars().count();
            if width > MAX_WIDTH {
                found.push(format!("{}:{number} {width} characters", path.display()));
            }
        }
    }
    found
}

/// A line that says where an arrow leads.
pub fn describe(package: &Package, arrow: &Arrow) -> String {
    let (from, to) = (&package.files[arrow.from].path, &package.files[arrow.to].path);
    format!("{}:{} {} → {}", from.display(), arrow.line, arrow.path, to.display())
}

/// Cycles of files, each with the arrows within it, and of top-level modules.
fn cycle_arrows(package: &Package) -> Vec<String> {
    let arrows = arrows(package);
    let mut found = Vec::new();
    for circle in cycles(&file_pairs(&arrows)) {
        found.push(format!("{}: cycle of {} files", package.folder, circle.len()));
        let within = |arrow: &&Arrow| circle.contains(&arrow.from) && circle.contains(&arrow.to);
        found.extend(arrows.iter().filter(within).map(|arrow| describe(package, arrow)));
    }
    for circle in cycles(&room_pairs(package, &arrows)) {
        let rooms = circle.join(", ");
        found.push(format!("{}: cycle of {} modules: {rooms}", package.folder, circle.len()));
    }
    found
}
