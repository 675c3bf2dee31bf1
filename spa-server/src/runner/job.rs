//! One program: checked, started, watched, ended with everything that it started.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, geteuid};

use crate::config::HOOK_PLACEHOLDERS;
use crate::host_check::hook;
use crate::ipc::hooks::Job;
use crate::log::Level;
use spa_keys::Failure;

/// Bytes of output that go to the log; the rest is read and thrown away.
const MAX_OUTPUT_BYTES: usize = 1024;
/// Interval at which a program that has closed its output is looked at.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// `PATH` of a hook.
const HOOK_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Process groups that run now.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<BTreeSet<i32>>>);

impl Running {
    /// Kills every process group and ends this process.
    pub(super) fn kill_all(&self) {
        // The lock is kept: no group is waited for, and its number given to somebody else,
        // meanwhile.
        for group in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _gone = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        }
        std::process::exit(0);
    }
}

impl Job {
    /// Runs it; true when all was well.
    pub(super) fn run_to_end(&self, running: &Running) -> bool {
        let outcome =
            self.start_program(running).and_then(|child| self.watch_program(child, running));
        match outcome {
            Ok(ProgramEnd { how, output }) if how == "exit code 0" => {
                let output = (!output.is_empty()).then_some(output);
                self.log_line(Level::Info, "hook").maybe("output", output).emit();
                return true;
            }
            Ok(ProgramEnd { how, output }) => {
                let output = (!output.is_empty()).then_some(output);
                self.log_line(Level::Error, "hook-failed")
                    .with("how", how)
                    .maybe("output", output)
                    .emit();
            }
            Err(error) => self.log_line(Level::Error, "hook-failed").with("error", error).emit(),
        }
        false
    }

    fn build_command(&self) -> Result<Command, Failure> {
        let (program, arguments) =
            self.run.split_first().ok_or_else(|| Failure::failed("no program"))?;
        // At each run: what the file is may change.
        hook::check_program(Path::new(program))?;
        let mut command = Command::new(program);
        command.args(arguments.iter().map(|argument| self.fill_placeholders(argument)));
        command
            .env_clear()
            .env("PATH", HOOK_PATH)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null());
        let names = ["SPA_CLIENT", "SPA_SERVICE", "SPA_SOURCE", "SPA_GRANT", "SPA_EVENT"];
        command.envs(names.into_iter().zip(&self.values));
        if let Some(user) = hook::user_or_own(self.user.as_deref())?
            && user.uid != geteuid()
        {
            // The library also gives up every other group, as root.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Ok(command)
    }

    fn fill_placeholders(&self, argument: &str) -> String {
        // One pass per placeholder is enough: no value has a brace.
        HOOK_PLACEHOLDERS
            .iter()
            .zip(&self.values)
            .fold(argument.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn start_program(&self, running: &Running) -> Result<Watched, Failure> {
        let mut command = self.build_command()?;
        let (output, ours) = io::pipe()?;
        let second = ours.try_clone()?;
        command.stdout(ours).stderr(second);
        // Locked over the start, so that an end of the runner misses no group.
        let mut groups = running.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command
            .spawn()
            .map_err(|error| Failure::failed(format!("{}: {error}", self.run.join(" "))))?;
        groups.insert(child.id().cast_signed());
        Ok(Watched { child, output })
    }

    /// Waits until it ends or its time is over; then everything in its group ends.
    fn watch_program(
        &self,
        mut watched: Watched,
        running: &Running,
    ) -> Result<ProgramEnd, Failure> {
        let end = Instant::now() + Duration::from_millis(self.limit_ms);
        let mut said = Vec::new();
        let seen = watched.wait_until(end, &mut said);
        let pid = Pid::from_raw(watched.child.id().cast_signed());
        let mut groups = running.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not waited for yet, so the number is still its own.
        let _gone = killpg(pid, Signal::SIGKILL);
        let status = watched.child.wait();
        groups.remove(&pid.as_raw());
        drop(groups);
        if !seen? {
            let how = format!("killed after {} s", self.limit_ms / 1000);
            return Ok(ProgramEnd { how, output: printable_output(&said) });
        }
        let status = status?;
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        Ok(ProgramEnd { how, output: printable_output(&said) })
    }
}

/// End of a program.
struct ProgramEnd {
    /// Exit code or signal, in words.
    how: String,
    /// First bytes of its output, printable.
    output: String,
}

struct Watched {
    child: Child,
    output: io::PipeReader,
}

impl Watched {
    /// Reads until it has ended; false when its time is over first.
    fn wait_until(&mut self, end: Instant, said: &mut Vec<u8>) -> io::Result<bool> {
        fcntl(&self.output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut open = true;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let patience =
                u16::try_from(left.min(EXIT_POLL_INTERVAL).as_millis() + 1).unwrap_or(u16::MAX);
            let mut waiting = Vec::new();
            if open {
                waiting
                    .push(PollFd::new(std::os::fd::AsFd::as_fd(&self.output), PollFlags::POLLIN));
            }
            match poll(&mut waiting, PollTimeout::from(patience)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            open = open && self.read_output(said)?;
            let pid = Pid::from_raw(self.child.id().cast_signed());
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
            if waitid(Id::Pid(pid), flags)? != WaitStatus::StillAlive {
                if open {
                    self.read_output(said)?;
                }
                return Ok(true);
            }
        }
    }

    /// Takes one piece; false at the end of the output.
    fn read_output(&mut self, said: &mut Vec<u8>) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        match self.output.read(&mut piece) {
            Ok(0) => Ok(false),
            Ok(length) => {
                let room = MAX_OUTPUT_BYTES.saturating_sub(said.len()).min(length);
                said.extend_from_slice(piece.get(..room).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Printable text: whoever writes to a terminal through the log must not steer it.
fn printable_output(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let act = |c: char| c.is_control() || spa_keys::acts_on_terminal(c);
    text.trim_end()
        .chars()
        .flat_map(|c| if act(c) { c.escape_default().collect() } else { vec![c] })
        .collect()
}
