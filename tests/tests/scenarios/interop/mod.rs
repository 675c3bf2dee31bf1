//! Two implementations from the text alone, over UDP: `tests/interop` knocks at the real server,
//! and the real client at `tests/interop`.

mod client;
mod server;

use std::path::Path;

use spa_tests::python::Script;

/// Each line is answered with the words behind it.
#[track_caller]
fn expect(script: &mut Script, words: &[(&str, &str)]) {
    for (line, answer) in words {
        assert_eq!(script.ask(line), *answer, "{line}");
    }
}

/// The python that runs the scripts; a test without one does not run.
fn python() -> Option<&'static Path> {
    spa_tests::python::python()
}
