//! Users without privileges, and what they may see of our processes.

use super::*;

/// Debian's user `nobody`.
pub(super) const NOBODY: u32 = 65_534;

/// A server's folder and programs that user `nobody` can use.
pub(super) struct Unprivileged {
    pub(super) net: Lan,
    pub(super) folder: TempDir,
}

impl Unprivileged {
    pub(super) fn new(capture: &str, backend: &str) -> Unprivileged {
        let net = lan();
        let folder = TempDir::new();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(folder.path(), Some(NOBODY), None).unwrap();
        // Where a developer builds, others may have no way in.
        for program in ["spa", "spa-server", "spa-client"] {
            fs::copy(binary(program), folder.join(program)).unwrap();
        }
        let config = scene::config(60)
            .set("capture.mode", &format!("\"{capture}\""))
            .set("firewall.backend", &format!("\"{backend}\""));
        folder.write("server.toml", config.text(folder.path()));
        let made = Unprivileged { net, folder };
        let key = made.folder.join("server.key").display().to_string();
        let (code, _, err) = run(&mut made.command("spa", &["keygen", "--server", "-o", &key]));
        assert_eq!(code, Some(0), "{err}");
        made
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.net.server.command("setpriv");
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--inh-caps=-all"]);
        command.arg(self.folder.join(program)).args(arguments).env("HOME", self.folder.path());
        command
    }

    fn server(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("spa-server", arguments);
        command.arg("--config").arg(self.folder.join("server.toml"));
        command
    }
}

#[test]
fn an_unprivileged_user_is_told_what_is_missing() {
    need_namespaces!();
    let user = Unprivileged::new("ring", "nftables");
    for arguments in [&["run"][..], &["firewall", "install"]] {
        let (code, _, err) = run(&mut user.server(arguments));
        assert_eq!(code, Some(77), "{arguments:?}: {err}");
        assert!(
            err.contains("run as root or give the process CAP_NET_ADMIN"),
            "{arguments:?}: {err}"
        );
    }
    // Files of root, as on an installed system.
    let key = user.folder.join("server.key");
    chown(&key, Some(0), None).unwrap();
    let (code, _, err) = run(&mut user.server(&["run"]));
    assert_eq!(code, Some(77), "{err}");
    assert!(err.contains("no permission for") && err.contains("server.key"), "{err}");
    let root = Server::start(&user.net.server, &scene::config(60));
    fs::set_permissions(root.folder(), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(root.folder().join("server.toml"), fs::Permissions::from_mode(0o644))
        .unwrap();
    let config = root.folder().join("server.toml").display().to_string();
    let mut command = user.command("spa-server", &["status", "--config", &config]);
    let (code, _, err) = run(&mut command);
    assert_eq!(code, Some(77), "the control socket is for its group: {err}");
}

#[test]
fn no_process_of_ours_leaves_a_core_or_lets_its_user_look_inside() {
    need_namespaces!();
    // With a capture and a backend that need no privileges, all of it runs as that user.
    let user = Unprivileged::new("udp", "observe");
    let log = Log::default();
    let daemon = Daemon::start(&mut user.server(&["run"]), user.folder.path(), &log);
    let (code, out, err) = run(&mut user.server(&["status"]));
    assert!(code == Some(0) && out.contains("firewall observe"), "{err}");
    for (pid, name) in [(daemon.pid(), "spa-server"), (daemon.listener(), "spa-listener")] {
        assert_eq!(name_of(pid), name);
        assert_undumpable(pid);
    }

    let public = run(&mut user.command("spa", &["keygen"])).1;
    let arguments =
        ["client", "add", "laptop", public.trim(), "--service", "ssh", "--host", "203.0.113.66"];
    let (code, line, err) = run(&mut user.server(&arguments));
    assert_eq!(code, Some(0), "{err}");
    let (code, _, err) =
        run(&mut user.command("spa", &["host", "add", line.trim(), "--name", "gate"]));
    assert_eq!(code, Some(0), "{err}");
    // The stranger's host answers nothing that a client understands, so this one waits.
    let waiting = Waiting::start(&mut user.command("spa-client", &["open", "ssh@gate"]));
    assert!(
        wait_until(PATIENCE, || name_of(waiting.0.id()) == "spa-client"),
        "the client does not start"
    );
    assert_undumpable(waiting.0.id());
    drop(daemon);
}

/// The kernel gives the files of a process that may not be dumped to root (proc(5), `/proc/PID`).
fn assert_undumpable(pid: u32) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(process.join("status")).unwrap();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    assert!(user.split_whitespace().all(|id| id == NOBODY.to_string()), "{user}");
    let forbidden =
        || fs::metadata(process.join("environ")).is_ok_and(|environ| environ.uid() == 0);
    assert!(wait_until(PATIENCE, forbidden), "{} may be dumped", name_of(pid));
}
