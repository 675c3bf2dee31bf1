//! System calls made by another process against its will: what an attacker inside of it could do,
//! seen with its own rights and its own walls.

use std::ffi::c_void;
use std::io;
use std::time::Duration;

use nix::libc::{self, c_long, user_regs_struct};
use nix::sys::ptrace;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::wait::wait_for;

/// Bytes of the instruction `syscall`, behind which a sleeping process stands.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Below the stack and its red zone (System V ABI, AMD64): free for what a call points at.
const SCRATCH: u64 = 4096;
/// How long a process may be busy outside of the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// An argument.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A number.
    Number(u64),
    /// The address of this text, which ends with a NUL.
    Text(&'a str),
    /// The address of these bytes, with a NUL behind them.
    Bytes(&'a [u8]),
}

/// How an injected call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// What it answered.
    Answer(u64),
    /// Its error number.
    Error(i32),
    /// The process was ended by this signal.
    Killed(nix::sys::signal::Signal),
}

/// A stopped process; it goes on when this is dropped.
struct Stopped {
    pid: Pid,
    before: user_regs_struct,
}

impl Stopped {
    fn new(pid: Pid) -> Stopped {
        wait_for(PATIENCE, || Stopped::now(pid))
            .unwrap_or_else(|| panic!("{pid} is never within a system call"))
    }

    /// Stops it; nothing when it is not within a system call, of which there is an instruction to
    /// use again.
    fn now(pid: Pid) -> Option<Stopped> {
        ptrace::attach(pid).unwrap_or_else(|error| panic!("cannot trace {pid}: {error}"));
        assert!(matches!(waitpid(pid, None), Ok(WaitStatus::Stopped(..))), "{pid} does not stop");
        let before = ptrace::getregs(pid).expect("its registers");
        let code = ptrace::read(pid, address(before.rip - 2)).expect("its code").to_ne_bytes();
        if code[..2] == SYSCALL {
            return Some(Stopped { pid, before });
        }
        ptrace::detach(pid, None).expect("detach");
        None
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let bytes = [bytes, &[0]].concat();
        for (number, chunk) in (0..).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            ptrace::write(self.pid, address(at + 8 * number), c_long::from_ne_bytes(word))
                .expect("write");
        }
    }
}

/// Makes the main thread of a process make a system call. x86-64 only.
pub fn inject(pid: u32, call: c_long, arguments: &[Argument<'_>]) -> Injected {
    let stopped = Stopped::new(Pid::from_raw(pid.cast_signed()));
    let pid = stopped.pid;
    let mut regs = stopped.before;
    let mut scratch = regs.rsp - SCRATCH;
    let mut values = [0; 6];
    for (value, argument) in values.iter_mut().zip(arguments) {
        let bytes = match argument {
            Argument::Number(number) => {
                *value = *number;
                continue;
            }
            Argument::Text(text) => text.as_bytes(),
            Argument::Bytes(bytes) => bytes,
        };
        scratch = (scratch - bytes.len() as u64 - 16) & !15;
        stopped.write(scratch, bytes);
        *value = scratch;
    }
    regs.rip -= 2;
    regs.rax = call.cast_unsigned();
    // Not within a call any more: nothing is to be restarted.
    regs.orig_rax = u64::MAX;
    [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = values;
    ptrace::setregs(pid, regs).expect("set its registers");
    ptrace::step(pid, None).expect("one step");
    // An end is only looked at: who has started the process waits for it too.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(pid), flags) {
        Ok(WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..)) => drop(waitpid(pid, None)),
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            if !is_child(pid) {
                // Its own parent is not told before.
                let _reaped = waitpid(pid, None);
            }
            return Injected::Killed(signal);
        }
        other => panic!("{pid} after its step: {other:?}"),
    }
    let answer = match ptrace::getregs(pid) {
        Ok(regs) => regs.rax,
        Err(error) => panic!("{pid} is gone: {error}"),
    };
    ptrace::setregs(pid, stopped.before).expect("its own registers");
    ptrace::detach(pid, None).expect("detach");
    match i32::try_from(answer.cast_signed()) {
        Ok(error @ -4095..=-1) => Injected::Error(-error),
        _ => Injected::Answer(answer),
    }
}

/// Whether this very process started it.
fn is_child(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.is_some_and(|parent| parent.trim() == std::process::id().to_string())
}

/// The same, and answers the error; panics when it was allowed.
pub fn refused(pid: u32, call: c_long, arguments: &[Argument<'_>]) -> io::Error {
    match inject(pid, call, arguments) {
        Injected::Error(error) => io::Error::from_raw_os_error(error),
        other => panic!("call {call} with {arguments:?} by {pid}: {other:?}"),
    }
}

fn address(at: u64) -> *mut c_void {
    at as *mut c_void
}

/// Numbers as arguments.
pub fn numbers<const N: usize>(numbers: [libc::c_int; N]) -> [Argument<'static>; N] {
    numbers.map(|number| Argument::Number(i64::from(number).cast_unsigned()))
}
