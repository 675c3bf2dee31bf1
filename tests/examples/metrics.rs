//! `metrics`: measures the product sources and prints a Markdown table, or with `--list` the
//! places behind a figure, one `file:line` each.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use clap::Parser;
use spa_tests::survey::{Package, figures, lists};

/// The figures of the tree before the rebuilding, commit 6afb4c7, by the same measure.
const BEFORE: [&str; 22] = [
    "43784",
    "334",
    "115 / 253 / 395",
    "7 / 26 / 117",
    "1.4 % (30)",
    "0.9 % (19)",
    "83.1 % (2292)",
    "12.9 % (552)",
    "12.5 % (731)",
    "3.3 % (1110)",
    "42.8 % (611)",
    "23.2 % (332)",
    "73.9 % (1514)",
    "61",
    "398",
    "22",
    "1.9",
    "53",
    "spa-proto 0, keys 5+2, spa-server 55+4+3+3+2+2+2, spa-client 11+2+2",
    "spa-proto 0, keys 5+2, spa-server 9, spa-client 11+2+2+2",
    "7",
    "18",
];

#[derive(Parser)]
struct Args {
    /// Root of the tree to measure; a git repository
    #[arg(long)]
    root: Option<PathBuf>,
    /// List instead of table: duplicates, one-word, constants, undocumented, questions, cycles,
    /// wide, long, nested, tuple-parameters, tuple-returns, string-errors,
    /// layers (an order that fits), or all
    #[arg(long)]
    list: Option<String>,
}

fn main() {
    let args = Args::parse();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let root = args.root.as_deref().unwrap_or(workspace);
    let packages = Package::read_all(root);
    match args.list.as_deref() {
        None => print_table(root, &packages),
        Some("all") => {
            for kind in lists::KINDS {
                println!("\n## {kind}");
                print_list(kind, root, &packages);
            }
        }
        Some(kind) => print_list(kind, root, &packages),
    }
}

fn print_list(kind: &str, root: &Path, packages: &[Package]) {
    lists::list(kind, root, packages).iter().for_each(|line| println!("{line}"));
}

fn print_table(root: &Path, packages: &[Package]) {
    println!("| figure | before 0.1 | now |\n|---|---|---|");
    for ((name, value), before) in figures::measure(root, packages).into_iter().zip(BEFORE) {
        println!("| {name} | {before} | {value} |");
    }
}
