//! Running programs to their end, with their output in the message when they fail.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

/// Runs it without input; panics when it cannot be started.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs it and returns its stdout; panics with its stderr unless it succeeds.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = output(command);
    text(command, &output)
}

/// Runs it with this input and returns its stdout; panics with its stderr unless it succeeds.
pub(crate) fn feed(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // A program that dies early closes the pipe: its exit status says more than our write error.
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let output =
        child.wait_with_output().unwrap_or_else(|error| panic!("cannot wait for {command:?}: {error}"));
    let _ = writer.join();
    text(command, &output)
}

fn text(command: &Command, output: &Output) -> String {
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
