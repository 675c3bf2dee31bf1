//! `cargo run -p spa-proto --example vectors -- --write` writes the vector files and the worked
//! examples of `docs/protocol.md` and `docs/formats.md` anew. Without `--write` it only says which differ.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{env, fs};

use support::{document, vectors};

fn main() {
    let write = env::args().any(|argument| argument == "--write");
    let mut wanted: Vec<_> = vectors::all()
        .iter()
        .map(|vector| (vectors::folder().join(&vector.name), vector.text()))
        .collect();
    for (page, _) in document::pages() {
        let old = fs::read_to_string(&page).unwrap();
        wanted.push((page, document::rewritten(&old)));
    }
    if write {
        fs::create_dir_all(vectors::folder()).unwrap();
        for path in vectors::files() {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, text) in wanted {
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            println!("{}", path.display());
            if write {
                fs::write(path, text).unwrap();
            }
        }
    }
}
