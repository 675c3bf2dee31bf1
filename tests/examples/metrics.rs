//! `metrics`: measures the product sources and prints a Markdown table, or with `--list` the
//! places behind a figure, one `file:line` each.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use clap::Parser;
use spa_tests::survey::{Package, figures, lists};

#[derive(Parser)]
struct Args {
    /// Root of the tree to measure; a git repository
    #[arg(long)]
    root: Option<PathBuf>,
    /// List instead of table: duplicates, one-word, constants, undocumented, questions, cycles,
    /// wide, long, nested, tuple-parameters, tuple-returns, string-errors, or all
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
    println!("| figure | now |\n|---|---|");
    for (name, value) in figures::measure(root, packages) {
        println!("| {name} | {value} |");
    }
}
