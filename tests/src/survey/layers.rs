//! The order of a package's top-level modules, and what breaks it.

use std::collections::{BTreeMap, BTreeSet};

use super::Package;
use super::arrows::{arrows, cycles, file_pairs, room, room_pairs};
use super::lists::describe;

/// Opening of the block in ARCHITECTURE.md that holds the orders.
const BLOCK: &str = "```layers\n";

/// Layers of one package, lowest first. Modules of one layer do not use each other.
pub type Order = Vec<Vec<String>>;

/// Orders by package folder, from the block in ARCHITECTURE.md. A line `folder: a, b < c` begins
/// one, lines that follow and begin with blanks continue it.
pub fn read_orders(document: &str) -> BTreeMap<String, Order> {
    let block = document.split_once(BLOCK).expect("ARCHITECTURE.md has a block of layers").1;
    let block = block.split_once("```").expect("the block of layers ends").0;
    let mut texts: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.starts_with(' '), line.split_once(':')) {
            (false, Some((folder, rest))) => texts.push((folder.into(), rest.into())),
            (true, _) => texts.last_mut().expect("a folder first").1.push_str(line),
            (false, None) => panic!("not `folder: layers`: {line}"),
        }
    }
    let split = |text: &str, by: char| -> Vec<String> {
        text.split(by).map(|part| part.trim().to_owned()).collect()
    };
    texts
        .into_iter()
        .map(|(folder, text)| {
            let layers = split(&text, '<');
            (folder, layers.iter().map(|layer| split(layer, ',')).collect())
        })
        .collect()
}

/// Everything in a package that contradicts its order: arrows that do not run down, modules
/// without a layer, layers without a module, cycles of files.
pub fn violations(package: &Package, order: &Order) -> Vec<String> {
    let mut found = Vec::new();
    let ranked = order.iter().enumerate();
    let ranks: BTreeMap<&str, usize> = ranked
        .flat_map(|(rank, layer)| layer.iter().map(move |module| (module.as_str(), rank)))
        .collect();
    let rooms: BTreeSet<&str> =
        package.files.iter().filter(|file| file.module.len() > 1).map(room).collect();
    let folder = &package.folder;
    for module in rooms.iter().filter(|module| !ranks.contains_key(*module)) {
        found.push(format!("{folder}: module {module} has no layer in ARCHITECTURE.md"));
    }
    for module in ranks.keys().filter(|module| !rooms.contains(*module)) {
        found.push(format!("{folder}: {module} in ARCHITECTURE.md is no module"));
    }

    let mut arrows = arrows(package);
    // The first line of each pair of files is enough.
    arrows.sort_by_key(|arrow| (arrow.from, arrow.to, arrow.line));
    arrows.dedup_by_key(|arrow| (arrow.from, arrow.to));
    for arrow in &arrows {
        let [from, to] = [arrow.from, arrow.to].map(|index| &package.files[index]);
        if from.module.len() == 1 || to.module.len() == 1 || room(from) == room(to) {
            continue;
        }
        if let (Some(above), Some(below)) = (ranks.get(room(from)), ranks.get(room(to)))
            && below >= above
        {
            let direction = if below > above { "up" } else { "sideways" };
            let rooms = format!("{} → {}", room(from), room(to));
            found.push(format!("{direction} {rooms}: {}", describe(package, arrow)));
        }
    }

    for circle in cycles(&file_pairs(&arrows)) {
        let within = |index: usize| circle.contains(&index);
        let inside = arrows.iter().filter(|arrow| within(arrow.from) && within(arrow.to));
        let lines: Vec<String> = inside.map(|arrow| describe(package, arrow)).collect();
        let count = circle.len();
        found.push(format!("{folder}: cycle of {count} files:\n    {}", lines.join("\n    ")));
    }
    found
}

/// An order that fits the package as it is, with cycles in parentheses.
pub fn suggest(package: &Package) -> String {
    let pairs = room_pairs(package, &arrows(package));
    let circles = cycles(&pairs);
    let unit = |name: &str| -> String {
        let circle = circles.iter().find(|circle| circle.iter().any(|room| room == name));
        circle.map_or(name.to_owned(), |circle| format!("({})", circle.join(" ↔ ")))
    };
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in package.files.iter().filter(|file| file.module.len() > 1) {
        below.entry(unit(room(file))).or_default();
    }
    for (from, to) in &pairs {
        let (from, to) = (unit(from), unit(to));
        if from != to {
            below.entry(from).or_default().insert(to);
        }
    }
    let mut layers = Vec::new();
    while !below.is_empty() {
        let free: Vec<String> = below
            .iter()
            .filter(|(_, uses)| uses.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        below.retain(|name, _| !free.contains(name));
        below.values_mut().for_each(|uses| uses.retain(|name| !free.contains(name)));
        layers.push(free.join(", "));
    }
    format!("{}: {}", package.folder, layers.join(" < "))
}
