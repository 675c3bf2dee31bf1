//! Which system calls a process can make (seccomp(2)). For the listener three filters, each asked
//! about every call; the strictest answer counts. What is not in the list fails with `EPERM`; what
//! only an attacker tries ends the process.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

type Failed = Box<dyn std::error::Error + Send + Sync>;
type SyscallRules = BTreeMap<i64, Vec<SeccompRule>>;

/// Needed with any arguments. Files are landlock's matter; sockets cannot be made, connected or
/// bound.
const ALLOWED_SYSCALLS: &[i64] = &[
    // The store, the log, time zones.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_umask,
    libc::SYS_fadvise64,
    libc::SYS_getcwd,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // The sockets that are there.
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    // Memory, and threads (their start is below).
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Who, when, chance.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
];

/// The same under the names of an older time.
#[cfg(target_arch = "x86_64")]
const OLD_SYSCALL_NAMES: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_dup2,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_SYSCALL_NAMES: &[i64] = &[];

/// Nothing that this program does comes near these.
const KILLING_SYSCALLS: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
    libc::SYS_reboot,
    libc::SYS_swapon,
];

/// The broker makes no network socket, unless it `binds` for capture `udp`, and starts no program
/// once its listener runs. No list of what it may do: it handles no bytes of strangers, and opens
/// files and starts over netlink.
pub(super) fn restrict_broker(binds: bool) -> Result<(), Failed> {
    let deadly: SyscallRules = KILLING_SYSCALLS.iter().map(|call| (*call, Vec::new())).collect();
    install_filter(deadly, SeccompAction::Allow, SeccompAction::KillProcess)?;
    let mut families = vec![libc::AF_UNIX, libc::AF_NETLINK];
    if binds {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    let other = |family: &libc::c_int| condition_32(0, SeccompCmpOp::Ne, u64::try_from(*family)?);
    let other = families.iter().map(other).collect::<Result<_, Failed>>()?;
    let foreign = SyscallRules::from([(libc::SYS_socket, vec![SeccompRule::new(other)?])]);
    install_filter(foreign, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
}

/// For every thread of this process, and those to come.
pub(super) fn restrict_listener() -> Result<(), Failed> {
    let deadly: SyscallRules = KILLING_SYSCALLS.iter().map(|call| (*call, Vec::new())).collect();
    let allow = || SeccompAction::Allow;
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    install_filter(deadly, allow(), SeccompAction::KillProcess)?;
    // The flags of clone3 lie in memory, where no filter sees them: the C library falls back to
    // clone.
    let unknown = SyscallRules::from([(libc::SYS_clone3, Vec::new())]);
    install_filter(unknown, allow(), SeccompAction::Errno(libc::ENOSYS as u32))?;
    // Last: the others could not be installed behind it.
    install_filter(allowed_rules()?, refuse, allow())
}

fn install_filter(
    rules: SyscallRules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<(), Failed> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let program: BpfProgram = SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()?;
    Ok(apply_filter_all_threads(&program)?)
}

fn allowed_rules() -> Result<SyscallRules, Failed> {
    let mut rules: SyscallRules =
        ALLOWED_SYSCALLS.iter().chain(OLD_SYSCALL_NAMES).map(|call| (*call, Vec::new())).collect();
    let is = |argument, value: u64| condition_32(argument, SeccompCmpOp::Eq, value);
    let with = |argument, bits: u64| condition_32(argument, SeccompCmpOp::MaskedEq(bits), bits);
    let without = |argument, bits: u64| condition_32(argument, SeccompCmpOp::MaskedEq(bits), 0);
    let rule = |conditions: Vec<SeccompCondition>| SeccompRule::new(conditions);

    // A new thread, never a new process.
    rules.insert(libc::SYS_clone, vec![rule(vec![with(0, libc::CLONE_THREAD as u64)?])?]);
    // No memory that can be run.
    let run = libc::PROT_EXEC as u64;
    rules.insert(libc::SYS_mmap, vec![rule(vec![without(2, run)?])?]);
    rules.insert(libc::SYS_mprotect, vec![rule(vec![without(2, run)?])?]);
    // Its own end (abort), nobody else's.
    let own = std::process::id().into();
    rules.insert(libc::SYS_tgkill, vec![rule(vec![is(0, own)?])?]);
    // Not F_SETOWN, by which the kernel sends signals to whom we name.
    let harmless = [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETLK,
        libc::F_SETLK,
        libc::F_OFD_SETLK,
    ];
    rules.insert(libc::SYS_fcntl, rule_for_each(1, &harmless)?);
    rules.insert(libc::SYS_ioctl, vec![rule(vec![is(1, libc::FIONBIO)?])?]);
    // The ring's filter moves with the knock ports.
    let filter = vec![is(1, libc::SOL_SOCKET as u64)?, is(2, libc::SO_ATTACH_FILTER as u64)?];
    rules.insert(libc::SYS_setsockopt, vec![rule(filter)?]);
    // The names of threads.
    rules.insert(libc::SYS_prctl, rule_for_each(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME])?);
    // Reading our own limits.
    rules.insert(libc::SYS_prlimit64, vec![rule(vec![is(0, 0)?, condition_64(2, 0)?])?]);
    Ok(rules)
}

fn rule_for_each(argument: u8, values: &[libc::c_int]) -> Result<Vec<SeccompRule>, Failed> {
    let one = |value: &libc::c_int| {
        let value = u64::try_from(*value)?;
        Ok(SeccompRule::new(vec![condition_32(argument, SeccompCmpOp::Eq, value)?])?)
    };
    values.iter().map(one).collect()
}

fn condition_32(
    argument: u8,
    operation: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, Failed> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)?)
}

fn condition_64(argument: u8, value: u64) -> Result<SeccompCondition, Failed> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)?)
}
