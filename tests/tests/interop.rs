//! Client and server checks in another language, on another crypto library, written from
//! `docs/protocol.md` alone, make and refuse the same bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use spa_tests::python::{python, run};

#[test]
fn python_makes_the_same_bytes() {
    let Some(python) = python() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let vectors = root.join("spa-proto/tests/vectors").display().to_string();
    let formats = root.join("docs/formats.md").display().to_string();
    assert!(run(python, "vectors.py", &[&vectors, &formats]).contains("agree"));
}
