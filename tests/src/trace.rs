//! A process stopped at each of its system calls, to end it at any of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Between two looks at a process that runs.
const PAUSE: Duration = Duration::from_micros(100);

/// Follows one thread of a process from call to call and kills the process before it makes the call
/// of number `at` (from 1; `None`: never). Calls `begun` when nothing can be missed any more, and
/// ends soon after `over`. Returns how many calls were begun. x86-64 only.
pub fn calls(thread: u32, at: Option<u64>, over: &AtomicBool, begun: impl FnOnce()) -> u64 {
    let pid = Pid::from_raw(thread.cast_signed());
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD)
        .unwrap_or_else(|error| panic!("cannot trace {pid}: {error}"));
    ptrace::interrupt(pid).expect("it stops");
    let mut begun = Some(begun);
    let (mut count, mut interrupted) = (0, false);
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {
                // It sleeps in a call, perhaps for ever.
                if over.load(Ordering::Relaxed) && !interrupted {
                    interrupted = ptrace::interrupt(pid).is_ok();
                }
                std::thread::sleep(PAUSE);
            }
            Ok(WaitStatus::PtraceSyscall(_)) => {
                // What the kernel shows as the answer of a call that is not made yet (ptrace(2)).
                let entered = ptrace::getregs(pid).is_ok_and(|regs| regs.rax.cast_signed() == -38);
                count += u64::from(entered);
                if entered && at == Some(count) {
                    kill(pid, Signal::SIGKILL).expect("it can be killed");
                    // Of a grandchild only its tracer is told; a child of ours is left to who has
                    // started it.
                    let _seen = nix::sys::wait::waitid(
                        nix::sys::wait::Id::Pid(pid),
                        WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL,
                    );
                    if !is_child(pid) {
                        let _reaped = waitpid(pid, Some(WaitPidFlag::__WALL));
                    }
                    return count;
                }
                // A stop at a call takes the place of the one that was asked for (ptrace(2),
                // PTRACE_INTERRUPT).
                if over.load(Ordering::Relaxed) {
                    let _gone = ptrace::detach(pid, None);
                    return count;
                }
                let _gone = ptrace::syscall(pid, None);
            }
            Ok(WaitStatus::PtraceEvent(_, _, event)) if event == libc::PTRACE_EVENT_STOP => {
                if interrupted {
                    let _gone = ptrace::detach(pid, None);
                    return count;
                }
                let _gone = ptrace::syscall(pid, None);
                if let Some(begun) = begun.take() {
                    begun();
                }
            }
            Ok(WaitStatus::Stopped(_, signal)) => drop(ptrace::syscall(pid, signal)),
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => return count,
            Ok(_) => drop(ptrace::syscall(pid, None)),
        }
    }
}

/// Whether a call about to be made changes files or sends something (x86-64's numbers,
/// asm/unistd_64.h).
fn is_step(regs: &libc::user_regs_struct) -> bool {
    let call = regs.orig_rax.cast_signed();
    let changes = [
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_link,
        libc::SYS_linkat,
        libc::SYS_unlink,
        libc::SYS_unlinkat,
        libc::SYS_mkdir,
        libc::SYS_mkdirat,
        libc::SYS_fsync,
        libc::SYS_sendto,
    ];
    let creates = call == libc::SYS_openat && regs.rdx & libc::O_CREAT as u64 != 0;
    let writes = call == libc::SYS_write && regs.rdi > 2;
    creates || writes || changes.contains(&call)
}

/// Follows a program that has just been started by this process, and kills it before it changes a
/// file, or sends something, for the time of number `at` (from 1; `None`: never). Let it begin with
/// SIGSTOP, so that nothing is missed. Returns how many such steps were begun, and its exit code
/// unless it was killed. The program is waited for here. x86-64 only.
pub fn steps(program: u32, at: Option<u64>) -> (u64, Option<i32>) {
    let pid = Pid::from_raw(program.cast_signed());
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD)
        .unwrap_or_else(|error| panic!("cannot trace {pid}: {error}"));
    ptrace::interrupt(pid).expect("it stops");
    let mut count = 0;
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("a child") {
            WaitStatus::Exited(_, code) => return (count, Some(code)),
            WaitStatus::Signaled(..) => return (count, None),
            WaitStatus::PtraceSyscall(_) => {
                let regs = ptrace::getregs(pid).expect("its registers");
                let entered = regs.rax.cast_signed() == -38;
                count += u64::from(entered && is_step(&regs));
                if entered && is_step(&regs) && at == Some(count) {
                    kill(pid, Signal::SIGKILL).expect("it can be killed");
                } else {
                    ptrace::syscall(pid, None).expect("it goes on");
                }
            }
            // Not handed on: it has stopped itself only to be followed.
            WaitStatus::Stopped(_, Signal::SIGSTOP) => drop(ptrace::syscall(pid, None)),
            WaitStatus::Stopped(_, signal) => drop(ptrace::syscall(pid, signal)),
            _ => drop(ptrace::syscall(pid, None)),
        }
    }
}

/// Whether this very process started it.
fn is_child(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.is_some_and(|parent| parent.trim() == std::process::id().to_string())
}
