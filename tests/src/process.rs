//! Running programs to their end, with their output in the message when they fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Runs it without input; panics when it cannot be started.
pub fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs it and returns its stdout; panics with its stderr unless it succeeds.
pub fn succeed(command: &mut Command) -> String {
    let output = output(command);
    text(command, &output)
}

/// Runs it with this input and returns its stdout; panics with its stderr unless it succeeds.
pub(crate) fn feed(command: &mut Command, input: &str) -> String {
    let output = piped(command, input);
    text(command, &output)
}

/// Runs it with this input; panics when it cannot be started.
pub(crate) fn piped(command: &mut Command, input: &str) -> Output {
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
    let output = child
        .wait_with_output()
        .unwrap_or_else(|error| panic!("cannot wait for {command:?}: {error}"));
    let _ = writer.join();
    output
}

/// Runs it without input until its standard error or output has a line with these words, then sends
/// the signal and waits.
pub(crate) fn signalled(command: &mut Command, words: &str, signal: Signal) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let words = words.to_owned();
    let sent = Arc::new(AtomicBool::new(false));
    let gather = |stream: Box<dyn Read + Send>| {
        let (words, sent) = (words.clone(), Arc::clone(&sent));
        thread::spawn(move || {
            let mut all = Vec::new();
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                // Once: the second signal means something else.
                if String::from_utf8_lossy(&line).contains(&words)
                    && !sent.swap(true, Ordering::SeqCst)
                {
                    let _ = kill(pid, signal);
                }
                all.append(&mut line);
            }
            all
        })
    };
    let out = gather(Box::new(child.stdout.take().expect("piped")));
    let err = gather(Box::new(child.stderr.take().expect("piped")));
    let status =
        child.wait().unwrap_or_else(|error| panic!("cannot wait for {command:?}: {error}"));
    Output { status, stdout: out.join().expect("gathered"), stderr: err.join().expect("gathered") }
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
