//! Each target over its corpus, and over bytes around it: what the fuzzer has found stays found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use spa_fuzz::TARGETS;

#[test]
fn every_target_over_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut folders: Vec<String> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort_unstable();
    let mut known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(folders, known, "one folder for each target");
    for (name, run) in TARGETS {
        let mut files = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            println!("{}", path.display());
            run(&bytes);
            // A cut and a changed one of each: the corpus need not hold what is next to it.
            run(&bytes[..bytes.len() / 2]);
            let mut changed = bytes;
            if let Some(byte) = changed.last_mut() {
                *byte ^= 1;
                run(&changed);
            }
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}
