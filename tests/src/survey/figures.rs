//! The figures of a whole tree, one row each.

use std::fs;
use std::path::Path;

use super::Package;
use super::arrows::{arrows, cycles, file_pairs, room_pairs};
use super::functions::{Function, Items};
use super::lists::{duplicate_types, is_named_freely, is_one_word};
use super::text::{doc_openings, is_question, lines, markdown_files, markdown_lines};

/// Name of a figure and its value.
pub type Row = (&'static str, String);

/// All figures, in the order of the table.
pub fn measure(root: &Path, packages: &[Package]) -> Vec<Row> {
    let files: Vec<_> = packages.iter().flat_map(|package| &package.files).collect();
    let items: Vec<Items> = files.iter().map(|file| Items::read(file)).collect();
    let file_lines: Vec<usize> = files.iter().map(|file| file.lines().count()).collect();
    let total: usize = file_lines.iter().sum();
    let functions: Vec<&Function> = items.iter().flat_map(|items| &items.functions).collect();
    let bodies: Vec<&Function> = functions.iter().copied().filter(|f| f.lines > 0).collect();
    let free: Vec<&Function> = functions.iter().copied().filter(|f| is_named_freely(f)).collect();
    let public: Vec<bool> = items.iter().flat_map(|i| &i.public).map(|(_, doc)| *doc).collect();
    let openings: Vec<_> = files.iter().flat_map(|file| doc_openings(file)).collect();
    let (comments, code): (Vec<_>, Vec<_>) =
        files.iter().flat_map(|file| lines(file)).partition(|line| line.is_comment);
    let wide = |lines: &[super::text::Line], most| share(lines, |line| line.width() > most);
    let prose: Vec<usize> = markdown_files(root)
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(root.join(path)).unwrap();
            let lines = markdown_lines(&text);
            lines.into_iter().map(|(_, line)| line.chars().count()).collect::<Vec<_>>()
        })
        .collect();
    let tuple_returns = functions.iter().filter(|f| f.returns_tuple).count();
    let sum = |count: fn(&Items) -> usize| items.iter().map(count).sum::<usize>().to_string();

    vec![
        ("product lines", total.to_string()),
        ("product files", files.len().to_string()),
        ("lines per file, median / p90 / max", spread(file_lines)),
        (
            "lines per function, median / p90 / max",
            spread(bodies.iter().map(|f| f.lines).collect()),
        ),
        ("functions of more than 50 lines", share(&bodies, |f| f.lines > 50)),
        ("functions with nesting of 4 or more", share(&bodies, |f| f.nesting >= 4)),
        ("public items documented", share(&public, |documented| *documented)),
        ("doc comments led by What, Whether, Its, How", share(&openings, |(_, d)| is_question(d))),
        ("comment lines wider than 100", wide(&comments, 100)),
        ("code lines wider than 100", wide(&code, 100)),
        ("Markdown lines wider than 100", share(&prose, |width| *width > 100)),
        ("Markdown lines wider than 150", share(&prose, |width| *width > 150)),
        ("function names of one word", share(&free, |f| is_one_word(f))),
        (
            "type names declared more than once in a crate",
            packages.iter().map(|p| duplicate_types(p).len()).sum::<usize>().to_string(),
        ),
        (
            "constant names of one word",
            sum(|items| items.constants.iter().filter(|c| !c.name.contains('_')).count()),
        ),
        ("tuple-pattern parameters", sum(|i| i.functions.iter().map(|f| f.tuple_parameters).sum())),
        ("functions that return tuples, per 1000 lines", per_thousand(tuple_returns, total)),
        ("`Result<_, String>`", sum(|items| items.string_errors.len())),
        (
            "files in import cycles, per crate",
            per_package(packages, |package| sizes(&cycles(&file_pairs(&arrows(package))))),
        ),
        (
            "top-level modules in import cycles, per crate",
            per_package(packages, |package| sizes(&cycles(&room_pairs(package, &arrows(package))))),
        ),
        ("traits", sum(|items| items.trait_names.len())),
        ("unsafe blocks", sum(|items| items.unsafe_blocks)),
    ]
}

fn per_package(packages: &[Package], figure: impl Fn(&Package) -> String) -> String {
    let each = packages.iter().map(|package| format!("{} {}", package.folder, figure(package)));
    each.collect::<Vec<_>>().join(", ")
}

fn sizes<N>(cycles: &[Vec<N>]) -> String {
    let sizes: Vec<String> = cycles.iter().map(|cycle| cycle.len().to_string()).collect();
    if sizes.is_empty() { "0".into() } else { sizes.join("+") }
}

/// Median, ninth decile and maximum.
fn spread(mut values: Vec<usize>) -> String {
    values.sort_unstable();
    let at = |tenths: usize| values[(values.len() * tenths / 10).min(values.len() - 1)];
    format!("{} / {} / {}", at(5), at(9), at(10))
}

fn share<T>(all: &[T], choose: impl Fn(&T) -> bool) -> String {
    let chosen = all.iter().filter(|one| choose(one)).count();
    let tenths = (chosen * 1000 + all.len() / 2) / all.len().max(1);
    format!("{}.{} % ({chosen})", tenths / 10, tenths % 10)
}

fn per_thousand(count: usize, lines: usize) -> String {
    let tenths = (count * 10_000 + lines / 2) / lines;
    format!("{}.{}", tenths / 10, tenths % 10)
}
