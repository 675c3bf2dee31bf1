//! Kind `exec`: a program of the administrator's, asked by lines on its standard input.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use super::contract::{EnforcedEntry, EnforcerBackend, EnforcerError, EntryChange};
use super::exec_lines::{AnswerLine, write_apply, write_list};
use crate::host_check::hook;

/// Longest answer: a list of many thousand entries.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// `PATH` of the program.
const PROGRAM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Characters of a wrong answer that are shown.
const MAX_SHOWN_CHARS: usize = 80;

/// A program that enforces.
pub(crate) struct ExecEnforcer {
    command: Vec<String>,
    timeout: Duration,
    running: Option<RunningProgram>,
}

struct RunningProgram {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// Bytes behind the last whole line.
    unread: Vec<u8>,
}

impl ExecEnforcer {
    /// A program that does not run yet.
    pub(crate) fn new(command: Vec<String>, timeout: Duration) -> Self {
        Self { command, timeout, running: None }
    }

    /// One request and its answer. Whatever goes wrong in between ends the program: the next answer
    /// would be that to another question.
    fn ask(&mut self, request: &str) -> Result<AnswerLine, EnforcerError> {
        let end = Instant::now() + self.timeout;
        let Some(program) = &mut self.running else {
            return Err(EnforcerError::Lost("the program does not run".to_owned()));
        };
        let answer = program.send_line(request, end).and_then(|()| program.read_line(end));
        let answer = answer.and_then(|line| {
            serde_json::from_str::<AnswerLine>(&line).map_err(|error| {
                let shown: String = line.chars().take(MAX_SHOWN_CHARS).collect();
                format!("not an answer ({error}): `{}`", shown.escape_debug())
            })
        });
        match answer {
            Ok(answer) if answer.ok => Ok(answer),
            Ok(answer) if answer.error.is_empty() => {
                Err(EnforcerError::Refused("the program refuses, and does not say why".to_owned()))
            }
            Ok(answer) => {
                let shown: String = answer.error.chars().take(1024).collect();
                let shown = shown.escape_debug();
                Err(EnforcerError::Refused(format!("the program says: {shown}")))
            }
            Err(text) => {
                self.end_program();
                Err(EnforcerError::Lost(text))
            }
        }
    }

    fn end_program(&mut self) {
        let Some(mut program) = self.running.take() else { return };
        let _gone = killpg(Pid::from_raw(program.child.id().cast_signed()), Signal::SIGKILL);
        let _status = program.child.wait();
    }
}

impl Drop for ExecEnforcer {
    fn drop(&mut self) {
        self.end_program();
    }
}

impl EnforcerBackend for ExecEnforcer {
    fn connect(&mut self) -> Result<(), EnforcerError> {
        self.end_program();
        let started = RunningProgram::start(&self.command).map_err(EnforcerError::Lost)?;
        self.running = Some(started);
        Ok(())
    }

    fn apply(&mut self, batch: &[EntryChange]) -> Result<(), EnforcerError> {
        self.ask(&write_apply(batch).map_err(|error| EnforcerError::Lost(error.to_string()))?)
            .map(drop)
    }

    fn list(&mut self) -> Result<Vec<EnforcedEntry>, EnforcerError> {
        let request = write_list().map_err(|error| EnforcerError::Lost(error.to_string()))?;
        let Some(entries) = self.ask(&request)?.entries else {
            self.end_program();
            return Err(EnforcerError::Lost("an answer to `list` without `entries`".to_owned()));
        };
        let entries: Result<_, _> = entries.into_iter().map(EnforcedEntry::try_from).collect();
        entries.map_err(|error| {
            self.end_program();
            EnforcerError::Lost(format!("not an answer to `list`: {error}"))
        })
    }

    fn check_alive(&mut self) -> Result<(), EnforcerError> {
        let Some(program) = &mut self.running else {
            return Err(EnforcerError::Lost("the program does not run".to_owned()));
        };
        match program.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.end_program();
                Err(EnforcerError::Lost(format!("the program has ended: {status}")))
            }
            Err(error) => Err(EnforcerError::Lost(error.to_string())),
        }
    }
}

impl RunningProgram {
    fn start(command: &[String]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("no program")?;
        // At each start: what the file is may change.
        hook::check_program(Path::new(program)).map_err(|failure| failure.to_string())?;
        let mut child = Command::new(program);
        child
            .args(arguments)
            .env_clear()
            .env("PATH", PROGRAM_PATH)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // The broker's mask is for our processes: a program can be told to end.
        let mask = SigSet::thread_get_mask().map_err(|error| error.to_string())?;
        SigSet::empty().thread_set_mask().map_err(|error| error.to_string())?;
        let started = child.spawn();
        mask.thread_set_mask().map_err(|error| error.to_string())?;
        let mut child = started.map_err(|error| format!("{program}: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".to_owned());
        };
        let program = Self { child, input, output, unread: Vec::new() };
        let nonblocking = FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
        fcntl(&program.input, nonblocking)
            .and_then(|_| fcntl(&program.output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)))
            .map_err(|error| error.to_string())?;
        Ok(program)
    }

    fn send_line(&mut self, line: &str, end: Instant) -> Result<(), String> {
        // What it says without being asked would be taken for the answer.
        if self.take_output()? || !self.unread.is_empty() {
            return Err("the program says what it was not asked for".to_owned());
        }
        let bytes = format!("{line}\n").into_bytes();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match self.input.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(false, end)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the program does not read: {error}")),
            }
        }
        Ok(())
    }

    fn read_line(&mut self, end: Instant) -> Result<String, String> {
        loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(at + 1);
                let line = std::mem::replace(&mut self.unread, rest);
                if !self.unread.is_empty() {
                    return Err("the program says more than one line".to_owned());
                }
                return String::from_utf8(line)
                    .map_err(|_| "an answer that is not UTF-8".to_owned());
            }
            if self.unread.len() > MAX_ANSWER_BYTES {
                return Err(format!("an answer of more than {MAX_ANSWER_BYTES} bytes"));
            }
            self.wait(true, end)?;
            self.take_output()?;
        }
    }

    /// Takes what it has said; true when there was something.
    fn take_output(&mut self) -> Result<bool, String> {
        let mut piece = [0; 16 * 1024];
        match self.output.read(&mut piece) {
            Ok(0) if self.unread.is_empty() => {
                Err("the program has ended, or closed its output".to_owned())
            }
            Ok(0) => Err("the program has ended in the middle of a line".to_owned()),
            Ok(length) => {
                self.unread.extend_from_slice(piece.get(..length).unwrap_or_default());
                Ok(true)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn wait(&self, reads: bool, end: Instant) -> Result<(), String> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer in time".to_owned());
        }
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let fd = match reads {
            true => PollFd::new(self.output.as_fd(), PollFlags::POLLIN),
            false => PollFd::new(self.input.as_fd(), PollFlags::POLLOUT),
        };
        match poll(&mut [fd], patience) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
