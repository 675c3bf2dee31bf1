//! Arrows between modules run down, in the order that ARCHITECTURE.md shows, without cycles.
//!
//! What counts as an arrow is said in `spa_tests::survey::arrows`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use spa_tests::survey::layers::{Order, read_orders, violations};
use spa_tests::survey::{PACKAGES, Package};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn every_package_keeps_its_layers() {
    let orders = read_orders(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap());
    let found: Vec<String> = Package::read_all(root())
        .iter()
        .flat_map(|package| match orders.get(&package.folder) {
            Some(order) => violations(package, order),
            None => vec![format!("{} has no layers in ARCHITECTURE.md", package.folder)],
        })
        .collect();
    assert!(found.is_empty(), "{} violations\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_member_of_the_workspace_is_read() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    let members: Vec<&str> = members.split(',').map(|m| m.trim().trim_matches('"')).collect();
    let of_tests = ["", "tests", "fuzz"];
    for member in members.into_iter().filter(|member| !of_tests.contains(member)) {
        assert!(PACKAGES.iter().any(|(folder, _)| *folder == member), "{member}");
    }
}

/// Violations of a made-up package `p`, library `p_lib`, with the order `low < middle < high`.
fn check(files: &[(&str, &str)]) -> Vec<String> {
    let texts: HashMap<_, _> = files.iter().map(|(path, text)| (Path::new(path), *text)).collect();
    let read = |path: &Path| texts.get(path).map(|text| (*text).to_owned());
    let package = Package::parse("p", "p_lib", &read);
    let order: Order = ["low", "middle", "high"].map(|name| vec![name.into()]).into();
    violations(&package, &order)
}

const LIB: (&str, &str) = ("p/src/lib.rs", "mod low; mod middle; mod high;");
const LOW: (&str, &str) = ("p/src/low.rs", "pub struct Low; pub fn low() {}");
const MIDDLE: (&str, &str) = ("p/src/middle.rs", "use crate::low::Low; pub struct Middle(Low);");
const HIGH: (&str, &str) = ("p/src/high.rs", "use crate::{low::Low, middle::{self, Middle}};");

fn assert_one(found: &[String], expected: &[&str]) {
    assert_eq!(found.len(), 1, "{found:?}");
    for part in expected {
        assert!(found[0].contains(part), "{part} in {found:?}");
    }
}

#[test]
fn arrows_down_are_fine() {
    assert_eq!(check(&[LIB, LOW, MIDDLE, HIGH]), Vec::<String>::new());
}

#[test]
fn arrows_up_are_found_however_they_are_written() {
    for text in [
        "use crate::high::High;",
        "use super::high::High;",
        "use crate::{low::Low, high::{High as H}};",
        "use crate::high::*;",
        "use p_lib::high::High;",
        "pub struct M(crate::high::High);",
        "fn m() { super::high::run(1) }",
        "fn m() { println!(\"{}\", crate::high::run(1)) }",
        "macro_rules! m { () => { $crate::high::run() } }",
        "fn m() { use crate::high; }",
        "impl crate::high::Trait for () {}",
        "mod inner { use super::super::high::High; }",
        "use crate::high; fn m() -> u8 { high::run() }",
        "use crate::Shown;",
    ] {
        let lib = ("p/src/lib.rs", "mod low; mod middle; mod high; pub use high::Shown;");
        let found = check(&[lib, LOW, ("p/src/middle.rs", text), ("p/src/high.rs", "")]);
        assert!(!found.is_empty(), "{text}");
        for line in &found {
            assert!(line.starts_with("up middle → high: p/src/middle.rs:1 "), "{text}: {line}");
        }
    }
}

#[test]
fn tests_may_use_everything() {
    let middle = "#[cfg(test)] mod tests { use crate::high::High; }
        #[cfg(test)] mod files; #[cfg(test)] use crate::high::Other;";
    let high = "use crate::middle::Middle;";
    let files = [LIB, LOW, ("p/src/middle.rs", middle), ("p/src/high.rs", high)];
    assert_eq!(check(&files), Vec::<String>::new());
}

#[test]
fn cycles_of_siblings_are_found() {
    let one = ("p/src/low/one.rs", "use super::two::Two; pub struct One;");
    for two in ["use super::one::One;", "use super::One;", "fn f(one: super::one::One) {}"] {
        let low = ("p/src/low/mod.rs", "mod one; mod two; pub use one::One;");
        let found = check(&[LIB, low, MIDDLE, HIGH, one, ("p/src/low/two.rs", two)]);
        assert_one(&found, &["cycle of 2 files", "low/one.rs:1", "low/two.rs:1"]);
    }
}

#[test]
fn cycles_through_other_modules_children_are_found() {
    // A child of `middle` uses `high`, which uses `middle`: up, and a cycle.
    let middle = ("p/src/middle/mod.rs", "mod inner; use inner::Inner; pub struct Middle(Inner);");
    let inner = ("p/src/middle/inner.rs", "use crate::high::High; pub struct Inner;");
    let found = check(&[LIB, LOW, middle, inner, HIGH]);
    assert!(found.iter().any(|line| line.starts_with("up middle → high")), "{found:?}");
    assert!(found.iter().any(|line| line.contains("cycle of 3 files")), "{found:?}");
}

#[test]
fn parents_and_children_share_declarations() {
    let low = ("p/src/low/mod.rs", "mod part; pub use part::Part; pub struct Low(part::Part);");
    let part = ("p/src/low/part.rs", "use super::Low; pub struct Part; impl Low {}");
    assert_eq!(check(&[LIB, low, part, MIDDLE, HIGH]), Vec::<String>::new());
}

#[test]
fn modules_and_layers_are_the_same() {
    let lib = ("p/src/lib.rs", "mod low; mod middle; mod unknown;");
    let found = check(&[lib, LOW, MIDDLE, ("p/src/unknown.rs", "")]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("unknown has no layer"), "{found:?}");
    assert!(found[1].contains("high in ARCHITECTURE.md is no module"), "{found:?}");
}

#[test]
fn orders_are_read_from_the_document() {
    let orders = read_orders("text\n```layers\na: x, y < z\nb: p\n  < q\n```\n");
    assert_eq!(orders["a"], [vec!["x", "y"], vec!["z"]]);
    assert_eq!(orders["b"], [["p"], ["q"]]);
}
