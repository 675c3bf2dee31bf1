//! A real ssh session: what `check` says of it, and whether that is so.

use super::*;

/// Another port than ssh's usual one.
const PORT: &str = "2222";

/// sshd on the server's host, and a user with a key for it.
struct Sshd {
    folder: TempDir,
    daemon: Waiting,
}

impl Sshd {
    fn start(net: &Lan) -> Sshd {
        let folder = TempDir::new();
        for name in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name));
            assert_eq!(run(&mut keygen).0, Some(0));
        }
        // Where sshd wants an empty folder of its own (sshd(8), FILES).
        fs::create_dir_all("/run/sshd").unwrap();
        let mut sshd = net.server.command("/usr/sbin/sshd");
        sshd.args([
            "-D",
            "-e",
            "-f",
            "/dev/null",
            "-p",
            PORT,
            "-o",
            "UsePAM=no",
            "-o",
            "StrictModes=no",
        ]);
        for (option, file) in
            [("HostKey", "host"), ("AuthorizedKeysFile", "user.pub"), ("PidFile", "pid")]
        {
            sshd.arg("-o").arg(format!("{option}={}", folder.join(file).display()));
        }
        // The shells of sessions must not run what this machine's user keeps in .bashrc.
        sshd.arg("-o").arg(format!("SetEnv=HOME={}", folder.path().display()));
        let daemon = Waiting::start(&mut sshd);
        Sshd { folder, daemon }
    }

    /// Runs a line of the shell in a session.
    fn session(&self, net: &Lan, family: Family, line: &str) -> (Option<i32>, String, String) {
        let mut ssh = net.client.command("ssh");
        ssh.args([
            "-F",
            "/dev/null",
            "-p",
            PORT,
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
        ]);
        ssh.args([
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "ConnectTimeout=5",
            "-i",
        ]);
        ssh.arg(self.folder.join("user"))
            .arg(format!("root@{}", net.server.address(family)))
            .arg(line);
        run(&mut ssh)
    }
}

#[test]
fn check_knows_a_real_ssh_session_and_is_right_about_it() {
    need_namespaces!();
    let net = lan();
    let mut sshd = Sshd::start(&net);
    let server = Server::prepare(
        &net.server,
        &Config::default().service("ssh", &format!("ports = [\"tcp/{PORT}\"]")),
    );
    drop(Client::enrolled_with(&net.client, &server, "laptop", &["--service", "ssh"]));
    let up = || sshd.session(&net, Family::V4, "true").0 == Some(0);
    assert!(wait_until(PATIENCE, up), "no ssh session: {:?}", sshd.daemon.0.try_wait());
    let program = binary("spa-server").display().to_string();
    let config = server.folder().join("server.toml").display().to_string();
    let check = format!("{program} check --live {config}");

    for family in Family::BOTH {
        let client = net.client.address(family);
        // As it is, and with the environment taken away, as sudo does: the shell of the session
        // still has it.
        for line in [check.clone(), format!("env -i {check}; true")] {
            let (code, out, err) = sshd.session(&net, family, &line);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{family}: {out}");
            for words in [
                format!("this host: ok: this ssh session from {client} to port {PORT} stays"),
                format!("laptop may open it from {client} now. Before you close"),
            ] {
                assert!(out.contains(&words), "{family}: {words} is not in {out}");
            }
        }
    }
    // From the console there is no session, but sshd is known by its name.
    let (_, out, _) = run(net.server.command(&program).args(["check", "--live", &config]));
    assert!(
        out.contains(&format!("new ssh sessions to tcp/{PORT}: hidden by service `ssh`")),
        "{out}"
    );

    // The session that installs the table goes on, a new one is not let in, and the emergency exit
    // is a way out.
    for family in Family::BOTH {
        let line = format!(
            "{program} firewall install --config {config} && cat /proc/uptime && echo goes on"
        );
        let (code, out, err) = sshd.session(&net, family, &line);
        assert!(code == Some(0) && out.ends_with("goes on\n"), "{family}: {out}{err}");
        assert!(err.contains("emergency exit: "), "{family}: {err}");
        let (code, _, err) = sshd.session(&net, family, "true");
        assert_eq!(code, Some(255), "{family}: {err}");
        assert!(server.control(&["firewall", "remove"]).status.success());
        assert_eq!(sshd.session(&net, family, "true").0, Some(0), "{family}");
    }
}

/// systemd listens for sshd (ssh.socket), on another port than the usual one: `init` writes that
/// port and `check` sees it.
#[test]
fn an_sshd_that_systemd_starts_by_its_socket_is_seen() {
    need_namespaces!();
    let net = lan();
    let _listens = EchoServer::start(&net.server, 2222);
    let folder = TempDir::new();
    let config = folder.join("spa-server.toml");
    let units = "/etc/systemd/system";
    let script = format!(
        "set -e; mkdir -p {units}; mount -t tmpfs none {units}; mkdir {units}/ssh.socket.d
         printf '[Socket]\nListenStream=22\n' > {units}/ssh.socket
         printf '[Socket]\nListenStream=\nListenStream=0.0.0.0:2222\n' > {units}/ssh.socket.d/a.conf
         \"$0\" init --host gate.example.org --config {0}
         \"$0\" check --live --config {0} || true",
        config.display()
    );
    let mut command = net.server.command("unshare");
    command.args(["-m", "sh", "-c", &script]).arg(binary("spa-server"));
    let (code, out, err) = run(&mut command);
    assert_eq!(code, Some(0), "{out}{err}");
    let written = fs::read_to_string(&config).unwrap();
    assert!(written.contains("ports = [\"tcp/2222\"]"), "{written}");
    assert!(out.contains("new ssh sessions to tcp/2222"), "{out}{err}");
}
