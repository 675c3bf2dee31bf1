//! What the two processes may, by the kernel's word and by trying.

use std::io::ErrorKind;

use nix::libc;
use nix::sys::signal::Signal;
use spa_tests::inject::Argument::{Number, Text};
use spa_tests::inject::{Argument, Injected, inject, numbers, refused};
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, SSH, Scene, both, config};
use spa_tests::{need_namespaces, wait_until};

use super::{runs, status, threads};

const NOBODYS: &str = "0000000000000000";
/// CAP_NET_ADMIN is 12; CAP_DAC_READ_SEARCH, 2, only when root started it (linux/capability.h).
const BROKERS: &str = "0000000000001004";

#[test]
fn what_the_kernel_says_about_them() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    let (broker, listener) = (scene.server.daemon().pid(), scene.server.daemon().listener());
    for thread in threads(listener) {
        let path = format!("{listener}/task/{thread}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(&path, set), NOBODYS, "{set} of the listener");
        }
        assert_eq!(
            (status(&path, "NoNewPrivs"), status(&path, "Seccomp")),
            ("1".into(), "2".into())
        );
    }
    assert_eq!(status(&listener.to_string(), "PPid"), broker.to_string());
    let path = broker.to_string();
    for (set, value) in
        [("CapInh", NOBODYS), ("CapPrm", BROKERS), ("CapEff", BROKERS), ("CapBnd", BROKERS)]
    {
        assert_eq!(status(&path, set), value, "{set} of the broker");
    }
    assert_eq!((status(&path, "NoNewPrivs"), status(&path, "Seccomp")), ("1".into(), "2".into()));
    for pid in [broker, listener] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let limit = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            line[name.len()..].split_whitespace().map(str::to_owned).take(2).collect::<Vec<_>>()
        };
        assert_eq!(limit("Max core file size"), ["0", "0"]);
        assert_eq!(limit("Max open files"), ["2048", "2048"]);
    }
}

#[test]
fn what_the_listener_cannot_do() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    scene.server.wait_fence();
    let (broker, listener) = (scene.server.daemon().pid(), scene.server.daemon().listener());
    let denied = |call, arguments: &[Argument<'_>]| {
        let error = refused(listener, call, arguments);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{call} {arguments:?}: {error}");
    };
    for family in [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_VSOCK,
    ] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW] {
            denied(libc::SYS_socket, &numbers([family, kind, 0]));
        }
    }
    let folder = scene.server.folder().display().to_string();
    for (path, flags) in [
        ("/etc/passwd".to_owned(), libc::O_RDONLY),
        ("/".to_owned(), libc::O_RDONLY),
        ("/dev/null".to_owned(), libc::O_RDWR),
        ("/proc/self/mem".to_owned(), libc::O_RDWR),
        (format!("/proc/{broker}/mem"), libc::O_RDWR),
        (format!("{folder}/server.toml"), libc::O_RDONLY),
        (format!("{folder}/server.key"), libc::O_RDONLY),
        (format!("{folder}/clients.toml"), libc::O_RDONLY),
        (format!("{folder}/new"), libc::O_CREAT | libc::O_WRONLY),
        (format!("{folder}/state/../new"), libc::O_CREAT | libc::O_WRONLY),
    ] {
        let [here, flags, mode] = numbers([libc::AT_FDCWD, flags, 0o600]);
        denied(libc::SYS_openat, &[here, Text(&path), flags, mode]);
    }
    denied(libc::SYS_unlink, &[Text(&format!("{folder}/server.toml"))]);
    denied(
        libc::SYS_rename,
        &[Text(&format!("{folder}/state/spa.store")), Text(&format!("{folder}/spa.store"))],
    );
    let broker_pid = broker.cast_signed();
    denied(libc::SYS_kill, &numbers([broker_pid, libc::SIGKILL]));
    denied(libc::SYS_kill, &numbers([broker_pid, 0]));
    denied(libc::SYS_tgkill, &numbers([broker_pid, broker_pid, libc::SIGKILL]));
    denied(libc::SYS_tkill, &numbers([broker_pid, libc::SIGKILL]));
    denied(libc::SYS_pidfd_open, &numbers([broker_pid, 0]));
    denied(libc::SYS_rt_sigqueueinfo, &numbers([broker_pid, libc::SIGKILL, 0]));
    denied(libc::SYS_fcntl, &numbers([0, libc::F_SETOWN, broker_pid]));
    denied(libc::SYS_prlimit64, &numbers([broker_pid, 7, 0, 0]));
    let [none, page, run, private] = numbers([
        0,
        4096,
        libc::PROT_READ | libc::PROT_EXEC,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    ]);
    denied(libc::SYS_mmap, &[none, page, run, private, Number(u64::MAX), none]);
    denied(libc::SYS_mprotect, &[none, page, run]);
    denied(libc::SYS_fork, &[]);
    denied(libc::SYS_vfork, &[]);
    denied(libc::SYS_clone, &numbers([libc::SIGCHLD, 0, 0, 0, 0]));
    denied(libc::SYS_prctl, &numbers([libc::PR_SET_DUMPABLE, 1]));
    denied(libc::SYS_prctl, &numbers([libc::PR_SET_PDEATHSIG, 0]));
    for call in [
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_capset,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_memfd_create,
        libc::SYS_seccomp,
        libc::SYS_chmod,
        libc::SYS_symlink,
        libc::SYS_mknod,
        libc::SYS_setpriority,
        libc::SYS_settimeofday,
        libc::SYS_sethostname,
    ] {
        denied(call, &numbers([0; 6]));
    }
    // All that was no harm: the server goes on.
    assert!(runs(broker) && runs(listener));
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}");
    });
}

#[test]
fn what_ends_the_listener_at_once() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    for call in [
        libc::SYS_execve,
        libc::SYS_ptrace,
        libc::SYS_process_vm_writev,
        libc::SYS_bpf,
        libc::SYS_unshare,
    ] {
        let (broker, listener) = (scene.server.daemon().pid(), scene.server.daemon().listener());
        let [zero, pid] = numbers([0, broker.cast_signed()]);
        let arguments = match call {
            libc::SYS_execve => [Text("/bin/sh"), zero, zero],
            // PTRACE_ATTACH is 16.
            libc::SYS_ptrace => [Number(16), pid, zero],
            _ => [pid, zero, zero],
        };
        assert_eq!(
            inject(listener, call, &arguments),
            Injected::Killed(Signal::SIGSYS),
            "call {call}"
        );
        assert!(
            wait_until(PATIENCE, || !scene.server.daemon().is_running()),
            "the broker goes on: {call}"
        );
        scene.server.wait_log(&["event=listener-ended", "how=SIGSYS"]);
        both(|family| assert!(scene.is_hidden(family, SSH), "{family}"));
        let _ended = scene.server.take().wait();
        scene.server.launch();
    }
}

#[test]
fn what_the_broker_cannot_do() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    let broker = scene.server.daemon().pid();
    for family in [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW] {
            let error = refused(broker, libc::SYS_socket, &numbers([family, kind, 0]));
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{family} {kind}: {error}");
        }
    }
    let arguments = [Text("/bin/sh"), Number(0), Number(0)];
    assert_eq!(inject(broker, libc::SYS_execve, &arguments), Injected::Killed(Signal::SIGSYS));
    assert!(!scene.server.take().wait().success());
    both(|family| assert!(scene.is_hidden(family, SSH), "{family}"));
}
