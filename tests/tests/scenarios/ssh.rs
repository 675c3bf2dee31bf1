//! The real OpenSSH client and server with `spa-client` between them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use spa_tests::config::Config;
use spa_tests::daemon::{Client, Server};
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::{TcpProbe, tcp};
use spa_tests::scene::SILENCE;
use spa_tests::sshd::Sshd;
use spa_tests::{Family, need_namespaces};

/// Connections at the same time, with one key.
const MANY: usize = 50;

struct House {
    server: Server,
    client: Client,
    sshd: Sshd,
    net: Lan,
}

fn house() -> House {
    let net = lan();
    let config = Config::default().service("ssh", "ports = [\"tcp/22\"]\nttl = \"60s\"");
    let mut server = Server::prepare(&net.server, &config);
    let sshd = Sshd::start(&net.server, 22);
    let client = Client::enrolled(&net.client, &server, "laptop", &["ssh"]);
    server.launch();
    server.wait_fence();
    House { server, client, sshd, net }
}

impl House {
    /// The block that `spa-client ssh-config` prints, with what ssh itself needs.
    fn ssh_config(&self, name: &str, arguments: &[&str], connect: &str) -> PathBuf {
        let printed = ran(self.client.command("spa-client").arg("ssh-config").args(arguments));
        let block = String::from_utf8(printed.stdout).unwrap().replace("client connect", connect);
        self.sshd.client_config(name, &block)
    }

    fn is_hidden(&self, family: Family) -> bool {
        tcp(&self.net.client, self.net.server.at(family, 22), SILENCE) == TcpProbe::Silent
    }
}

/// Runs it to its end; it must succeed.
fn ran(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn ssh_knocks_by_itself() {
    need_namespaces!();
    let house = house();
    for family in Family::BOTH {
        assert!(house.is_hidden(family), "{family}");
    }
    for family in Family::BOTH {
        for (mode, arguments) in [("fdpass", &["server"][..]), ("relay", &["server", "--relay"])] {
            // Only what the connection uses is opened.
            let unused = if family == Family::V4 { Family::V6 } else { Family::V4 };
            let connect = format!("client connect {}", family.switch());
            let config =
                house.ssh_config(&format!("{mode}-{}", family.digit()), arguments, &connect);
            let mut ssh = house.client.tool("ssh");
            let output =
                ssh.arg("-F").arg(&config).args(["server", "echo $SSH_CONNECTION; exit 7"]);
            let output = output.stdin(Stdio::null()).output().unwrap();
            assert_eq!(output.status.code(), Some(7), "{mode} {family}: {output:?}");
            let ends = text(output);
            let (ours, theirs) =
                (house.net.client.address(family), house.net.server.address(family));
            assert!(
                ends.starts_with(&format!("{ours} ")) && ends.contains(&format!(" {theirs} 22")),
                "{ends}"
            );
            if family == Family::V4 {
                assert!(house.is_hidden(unused), "{mode} {family}: {unused} was opened as well");
            }
        }
    }
    // No process of ours stands between the two when the socket was handed over.
    let config = house.ssh_config("held", &["server"], "client connect");
    let mut ssh = house.client.tool("ssh");
    ssh.arg("-F")
        .arg(&config)
        .args(["server", "ip netns pids $(ip netns identify $PPID) >/dev/null; echo up; cat"]);
    let mut held = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(held.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    assert_eq!(line, "up\n");
    let pids = text(ran(Command::new("ip").args(["netns", "pids", house.net.client.namespace()])));
    let names = pids
        .split_whitespace()
        .map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default());
    let names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    assert!(
        names.contains(&"ssh".to_owned()) && !names.contains(&"spa-client".to_owned()),
        "{names:?}"
    );
    drop(held.stdin.take());
    assert!(held.wait().unwrap().success());
}

#[test]
fn fifty_at_once_with_one_key() {
    need_namespaces!();
    let house = house();
    for (mode, arguments) in [("fdpass", &["server"][..]), ("relay", &["server", "--relay"])] {
        // A disk that others keep busy holds up the mark that each knock waits for, for longer than
        // the usual ten seconds.
        let config = house.ssh_config(mode, arguments, "client connect --timeout 90s");
        let start = |number: usize| {
            let mut ssh = house.client.tool("ssh");
            ssh.args(["-o", "ConnectTimeout=90", "-F"])
                .arg(&config)
                .args(["server", &format!("echo {number}")]);
            ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let all: Vec<_> = (0..MANY).map(start).collect();
        for (number, one) in all.into_iter().enumerate() {
            let output = one.wait_with_output().unwrap();
            assert!(output.status.success(), "{mode} {number}: {output:?}");
            assert_eq!(text(output), format!("{number}\n"), "{mode}");
        }
    }
    let status = house.server.status();
    assert!(status["knocks"]["granted"].as_u64() >= Some(2 * MANY as u64), "{status}");
    assert_eq!(status["knocks"]["denied"], 0, "{status}");
}

/// Bytes that no compression makes small.
fn file(house: &House, name: &str, length: usize) -> PathBuf {
    let mut state = 88_172_645_463_325_252_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let bytes: Vec<u8> = (0..length).map(|_| byte()).collect();
    house.sshd.folder().write(name, bytes)
}

#[test]
fn scp_sftp_rsync_and_git_work_unchanged() {
    need_namespaces!();
    let house = house();
    let folder = house.sshd.folder();
    let big = file(&house, "big", 20_000_000);
    for (mode, arguments) in [("fdpass", &["server"][..]), ("relay", &["server", "--relay"])] {
        let config = house.ssh_config(mode, arguments, "client connect");
        let same = |tool: &str, copy: PathBuf| {
            assert!(
                fs::read(&big).unwrap() == fs::read(&copy).unwrap(),
                "{mode}: {tool} brought something else"
            );
            fs::remove_file(copy).unwrap();
        };
        let (there, back) = (folder.join("there"), folder.join("back"));
        let remote = format!("server:{}", there.display());

        ran(house.client.tool("scp").arg("-qF").arg(&config).arg(&big).arg(&remote));
        ran(house.client.tool("scp").arg("-qF").arg(&config).arg(&remote).arg(&back));
        same("scp", there.clone());
        same("scp", back.clone());

        let batch = folder.write(
            "batch",
            format!("put {} {}\nget {1} {}\n", big.display(), there.display(), back.display()),
        );
        ran(house.client.tool("sftp").arg("-qF").arg(&config).arg("-b").arg(batch).arg("server"));
        same("sftp", there.clone());
        same("sftp", back.clone());

        let ssh = format!("ssh -F {}", config.display());
        ran(house.client.tool("rsync").args(["-a", "-e", &ssh]).arg(&big).arg(&remote));
        ran(house.client.tool("rsync").args(["-a", "-e", &ssh, &remote]).arg(&back));
        same("rsync", there.clone());
        same("rsync", back.clone());

        let git = |arguments: &[&str], repository: &str| {
            let mut git = house.client.tool("git");
            git.env("GIT_SSH_COMMAND", &ssh).env("GIT_CONFIG_NOSYSTEM", "1");
            git.args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.org",
                "-c",
                "init.defaultBranch=main",
            ]);
            // What is read through the tunnel was made by this test.
            git.args(["-c", "safe.directory=*", "-C"]).arg(folder.join(repository)).args(arguments);
            text(ran(&mut git))
        };
        for repository in ["bare", "work", "clone"] {
            fs::create_dir(folder.join(repository)).unwrap();
        }
        git(&["init", "-q", "--bare"], "bare");
        git(&["init", "-q"], "work");
        fs::copy(&big, folder.join("work/big")).unwrap();
        git(&["add", "big"], "work");
        git(&["commit", "-qm", "one"], "work");
        let url = format!("server:{}", folder.join("bare").display());
        git(&["push", "-q", &url, "HEAD:main"], "work");
        git(&["clone", "-q", &url, "."], "clone");
        same("git", folder.join("clone/big"));
        for repository in ["bare", "work", "clone"] {
            fs::remove_dir_all(folder.join(repository)).unwrap();
        }
    }
}

/// Opt-in: ansible is large. It runs where `ansible` is installed.
#[test]
fn ansible_works_unchanged() {
    need_namespaces!();
    if Command::new("ansible").arg("--version").output().is_err() {
        eprintln!("NOT RUN, needs ansible: apt-get install ansible-core");
        return;
    }
    let house = house();
    let folder = house.sshd.folder();
    let inventory =
        folder.write("inventory", "server ansible_python_interpreter=/usr/bin/python3\n");
    for (mode, arguments) in [("fdpass", &["server"][..]), ("relay", &["server", "--relay"])] {
        let config = house.ssh_config(mode, arguments, "client connect");
        let ansible = |words: &[&str]| {
            let mut ansible = house.client.tool("ansible");
            ansible.args(["server", "-i"]).arg(&inventory).args(words);
            // The block's file in place of ~/.ssh/config, which is the machine's own.
            ansible.arg(format!("--ssh-common-args=-F {}", config.display()));
            ansible
                .env("ANSIBLE_CONFIG", folder.join("none"))
                .env("ANSIBLE_LOCAL_TEMP", folder.path());
            ansible.env("LC_ALL", "C.UTF-8").env("ANSIBLE_REMOTE_TEMP", folder.join("remote"));
            text(ran(&mut ansible))
        };
        let pong = ansible(&["-m", "ping"]);
        assert!(pong.contains("SUCCESS") && pong.contains("\"ping\": \"pong\""), "{mode}: {pong}");
        let (from, to) = (file(&house, "some", 100_000), folder.join("copied"));
        let copy = format!("src={} dest={}", from.display(), to.display());
        ansible(&["-m", "copy", "-a", &copy]);
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap(), "{mode}");
        fs::remove_file(to).unwrap();
    }
}

#[test]
fn run_opens_for_any_command_and_passes_its_exit_code_on() {
    need_namespaces!();
    let house = house();
    // An ssh without any word of spa in its configuration.
    let hosts = format!("Host server\n    HostName {}\n", house.net.server.address(Family::V6));
    let config = house.sshd.client_config("plain", &hosts);
    let mut run = house.client.tool("spa-client");
    run.args(["run", "ssh@server", "--", "ssh", "-F"])
        .arg(&config)
        .args(["server", "echo in; exit 9"]);
    let output = run.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(text(output), "in\n");

    for family in Family::BOTH {
        assert!(
            !house.is_hidden(family),
            "{family}: both, since nobody knows what the command will use"
        );
    }
    let closed = ran(house.client.command("spa-client").args(["close", "ssh@server"]));
    assert_eq!(text(closed), "ssh on server is closed (192.0.2.1, IPv4 and IPv6)\n");
    for family in Family::BOTH {
        assert!(house.is_hidden(family), "{family}");
    }
}

/// ssh asks for the user's home in the password file, so the test puts its own ssh in front, with
/// its configuration.
#[test]
fn a_name_that_only_ssh_knows_is_resolved_as_ssh_does() {
    need_namespaces!();
    let house = house();
    let address = house.net.server.address(Family::V6);
    let hosts = format!("Host prod db?.prod\n    HostName {address}\n    AddressFamily inet6\n");
    let config = house.sshd.client_config("aliases", &hosts);
    let bin = house.sshd.folder().join("bin");
    fs::create_dir(&bin).unwrap();
    let ssh = bin.join("ssh");
    fs::write(&ssh, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display()))
        .unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let client = |arguments: &[&str]| {
        let mut client = house.client.command("spa-client");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        client.env("PATH", path).args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    let opened = client(&["open", "ssh@db1.prod"]);
    assert!(opened.status.success(), "{opened:?}");
    assert!(text(opened).starts_with(&format!("ssh on server is open for 1m ({address}, IPv6)")));
    assert!(house.is_hidden(Family::V4), "ssh will not use it");
    let unknown = client(&["open", "ssh@web1.prod"]);
    assert_eq!(unknown.status.code(), Some(4), "{unknown:?}");
}

/// From an invitation to an ssh that knocks by itself, over a rotation, to its end.
#[test]
fn joined_rotated_and_revoked_as_ssh_sees_it() {
    need_namespaces!();
    let house = house();
    let invited = house.server.control(&["invite", "phone", "--service", "ssh"]);
    assert!(invited.status.success(), "{invited:?}");
    let client = Client::new(&house.net.client);
    let mut join = client.command("spa");
    join.args(["join", text(invited).trim(), "--name", "server"]);
    for family in Family::BOTH {
        join.args(["--address", &house.net.server.address(family).to_string()]);
    }
    ran(&mut join);
    for (mode, arguments) in [("fdpass", &["server"][..]), ("relay", &["server", "--relay"])] {
        let printed = ran(client.command("spa-client").arg("ssh-config").args(arguments));
        let block = text(printed).replace("client connect", "client connect --timeout 3s");
        let config = house.sshd.client_config(&format!("life-{mode}"), &block);
        let ssh = || {
            let mut ssh = client.tool("ssh");
            ssh.arg("-F")
                .arg(&config)
                .args(["server", "echo in"])
                .stdin(Stdio::null())
                .output()
                .unwrap()
        };
        assert_eq!(text(ssh()), "in\n", "{mode}, joined");
        ran(client.command("spa").args(["rotate", "server"]));
        assert_eq!(text(ssh()), "in\n", "{mode}, rotated");
        if mode == "relay" {
            let revoked = house.server.control(&["client", "revoke", "phone"]);
            assert!(revoked.status.success(), "{revoked:?}");
            let over = ssh();
            assert_eq!(over.status.code(), Some(255), "{over:?}");
            // The server is silent to a stranger, which this client is now: the cause stands among
            // the likeliest.
            let said = String::from_utf8_lossy(&over.stderr).into_owned();
            assert!(said.contains("is not enrolled, or not for ssh"), "{said}");
        }
    }
}
