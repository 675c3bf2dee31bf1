//! The command lines, as users and their machines meet them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::daemon::{Client, Daemon, Log, Server, binary};
use spa_tests::netns::{Lan, lan};
use spa_tests::raw::send_udp;
use spa_tests::scene::{self, PATIENCE, Scene, both};
use spa_tests::temp::TempDir;
use spa_tests::transcript;
use spa_tests::{Family, need_namespaces, wait_until};

/// Debian's user `nobody`.
const NOBODY: u32 = 65_534;

#[test]
fn the_programs_say_what_they_said_before() {
    for (name, make) in transcript::ALL {
        let (now, stored) = (make(), transcript::stored(name));
        let at = now.lines().zip(stored.lines()).take_while(|(now, stored)| now == stored).count();
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        assert!(
            now == stored,
            "{name}.txt differs in line {}:\n  now:    {}\n  stored: {}\nIf it shall be so: cargo run -p spa-tests --example \
             update_snapshots",
            at + 1,
            line(&now),
            line(&stored)
        );
    }
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("it runs");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn check_is_content_with_every_example() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples");
    let mut checked = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        checked += 1;
        let folder = TempDir::new();
        let here = folder.path().display().to_string();
        let made = run(Command::new(binary("spa"))
            .args(["keygen", "--server", "-o"])
            .arg(folder.join("server.key")));
        assert_eq!(made.0, Some(0), "{made:?}");
        // Its own paths are those of an installed server.
        let paths = format!("key = \"{here}/server.key\"\nclients = \"{here}/clients.toml\"\n");
        let text = fs::read_to_string(&path).unwrap();
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("key = ") && !line.starts_with("clients = "))
            .map(|line| format!("{line}\n"))
            .collect();
        let text = match text.contains("[server]\n") {
            true => text.replacen("[server]\n", &format!("[server]\n{paths}"), 1),
            false => format!("[server]\n{paths}{text}"),
        };
        let file = folder.write("server.toml", text);
        let (code, out, err) = run(Command::new(binary("spa-server")).arg("check").arg(&file));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{}: {out}", path.display());
        let complaints = out.lines().filter(|line| line.contains(" error: ") || line.contains(" warning: "));
        let complaints: Vec<_> =
            complaints.filter(|line| !line.contains("there are no clients yet")).collect();
        assert!(complaints.is_empty(), "{}: {complaints:#?}", path.display());
        assert!(out.contains(": good: "), "{out}");
    }
    assert!(checked >= 3, "{checked} examples");
}

struct House {
    scene: Scene,
    net: Lan,
}

fn house(config: &Config) -> House {
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, config, &["ssh", "web"]);
    scene.server.wait_fence();
    House { scene, net }
}

#[test]
fn status_tells_grants_bans_and_counts() {
    need_namespaces!();
    let config = scene::config(600).bait("telnet", "ports = [\"tcp/23\"]\nban = \"1h\"");
    let house = house(&config);
    let server = &house.scene.server;
    both(|family| {
        house.scene.client.must_open("ssh", family, &[]);
        let _ = house.scene.seen(&house.net.stranger, family, 23);
        // Not from the stranger, who is banned: what the firewall drops is counted there.
        send_udp(&house.net.client, 0, house.net.server.at(family, 40_001), &[7; 144]);
    });
    assert!(wait_until(PATIENCE, || server.status()["packets"]["strangers"] == 2), "{}", server.status());
    let status = server.status();
    for (pointer, value) in [
        ("/version", 1.into()),
        ("/ok", true.into()),
        ("/server-version", env!("CARGO_PKG_VERSION").into()),
        ("/backend", "nftables".into()),
        ("/capture", "ring".into()),
        ("/clients", 1.into()),
        ("/bans", 2.into()),
        ("/fence-left-s", Value::from(0.0)),
        ("/knocks/granted", 2.into()),
        ("/knocks/denied", 0.into()),
        ("/knocks/stale", 0.into()),
        ("/knocks/failed", 0.into()),
        ("/packets/lost", 0.into()),
        ("/packets/replayed", 0.into()),
    ] {
        assert_eq!(status.pointer(pointer), Some(&value), "{pointer} in {status}");
    }
    assert!(status["up-s"].is_u64() && status["packets"]["all"].as_u64() >= Some(8), "{status}");
    let grants = status["grants"].as_array().unwrap();
    assert_eq!(grants.len(), 2, "{status}");
    for family in Family::BOTH {
        let source = house.net.client.address(family).to_string();
        let grant = grants.iter().find(|grant| grant["source"] == *source).unwrap();
        assert_eq!((&grant["client"], &grant["service"]), (&"laptop".into(), &"ssh".into()));
        assert!(grant["left-s"].as_u64().is_some_and(|left| (500..=600).contains(&left)), "{grant}");
        assert!(grant["grant"].as_str().is_some_and(|id| id.starts_with('g')), "{grant}");
    }
    let text = String::from_utf8(server.control(&["status"]).stdout).unwrap();
    for words in
        ["firewall nftables, capture ring, 1 clients", "knocks: 2 granted", "2 bans", "laptop -> ssh"]
    {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
}

#[test]
fn a_client_is_listed_and_removed_while_the_server_runs() {
    need_namespaces!();
    let house = house(&scene::config(600));
    let server = &house.scene.server;
    let desktop = Client::enrolled(&house.net.client, server, "desktop", &["web"]);
    desktop.must_open("web", Family::V4, &[]);
    let list = || -> Value {
        serde_json::from_slice(&server.control(&["client", "list", "--json"]).stdout).unwrap()
    };
    let names = |list: &Value| -> Vec<String> {
        let clients = list["clients"].as_array().unwrap().iter();
        clients.map(|client| client["name"].as_str().unwrap().to_owned()).collect()
    };
    let listed = list();
    assert_eq!(names(&listed), ["laptop", "desktop"]);
    assert_eq!(listed["clients"][0]["services"], serde_json::json!(["ssh", "web"]));
    assert_eq!(listed["clients"][1]["services"], serde_json::json!(["web"]));
    let text = String::from_utf8(server.control(&["client", "list"]).stdout).unwrap();
    assert!(text.lines().count() == 2 && text.starts_with("laptop  SHA256:"), "{text}");

    assert_eq!(server.control(&["client", "remove", "desktop"]).status.code(), Some(0));
    assert_eq!(names(&list()), ["laptop"]);
    both(|family| {
        let opened = desktop.open("web", family, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
        house.scene.client.must_open("ssh", family, &[]);
    });
    let again = server.control(&["client", "remove", "desktop"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is no client `desktop`"));
}

#[test]
fn secrets_stay_in_their_files() {
    need_namespaces!();
    let mut house = house(&scene::config(600).set("log.level", "\"debug\""));
    let pid = house.scene.server.daemon().pid();
    let Scene { server, client, .. } = &house.scene;
    let secrets = secrets(server, client);
    let hidden = |place: &str, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {place}: {text}");
        }
    };

    for family in Family::BOTH {
        let opened = client.open("ssh", family, &["-v"]);
        assert!(opened.status.success(), "{opened:?}");
        hidden("what the client says", opened.stderr.as_bytes());
        hidden("the client's JSON", opened.json.to_string().as_bytes());
    }
    let denied = client.open("nothing", Family::V4, &["-v"]);
    hidden("what the client says", denied.stderr.as_bytes());
    for arguments in
        [&["status", "--json"][..], &["client", "list", "--json"], &["check"], &["firewall", "print"]]
    {
        let output = server.control(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        hidden(&arguments.join(" "), &[output.stdout, output.stderr].concat());
    }
    for file in fs::read_dir(server.folder().join("state")).unwrap().flatten() {
        hidden("the server's store", &fs::read(file.path()).unwrap());
    }
    assert_eq!(name_of(pid), "spa-server");
    assert_process_tells_nothing(pid, &hidden);
    hidden("the server's log", server.log().lines().join("\n").as_bytes());
    assert!(server.log().lines().len() > 3, "there is a log");

    // A client that waits for an answer, for long enough to be looked at.
    server.signal(nix::sys::signal::Signal::SIGSTOP);
    let mut waiting = Waiting::start(client.command("spa-client").args(["open", "web@server", "-4", "-v"]));
    assert!(wait_until(PATIENCE, || name_of(waiting.0.id()) == "spa-client"), "the client does not start");
    assert_process_tells_nothing(waiting.0.id(), &hidden);
    assert!(waiting.0.try_wait().unwrap().is_none(), "it was looked at while it ran");
    server.signal(nix::sys::signal::Signal::SIGCONT);
}

/// A child that does not outlive its test.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Waiting {
        Waiting(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn assert_process_tells_nothing(pid: u32, hidden: &dyn Fn(&str, &[u8])) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    for file in ["cmdline", "environ"] {
        let content = fs::read(process.join(file)).unwrap();
        assert!(!content.is_empty(), "{pid} {file}");
        hidden(file, &content);
    }
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Every secret text of a server and its client: keys, pre-shared keys, the enrolment line.
fn secrets(server: &Server, client: &Client) -> Vec<String> {
    let mut found = Vec::new();
    for path in [
        server.folder().join("server.key"),
        server.folder().join("clients.toml"),
        client.key(),
        client.folder().join("hosts/server.host"),
    ] {
        let text = fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let before = found.len();
        found.extend(words.filter(|word| word.starts_with("SPA-") && word.len() > 40).map(str::to_owned));
        assert!(found.len() > before, "no secret in {}", path.display());
    }
    found
}

#[test]
fn files_and_sockets_are_for_their_owner() {
    need_namespaces!();
    let house = house(&scene::config(600));
    let Scene { server, client, .. } = &house.scene;
    client.must_open("ssh", Family::V4, &[]);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    for (path, expected) in [
        (server.folder().join("server.key"), 0o600),
        (server.folder().join("clients.toml"), 0o600),
        (server.folder().join("control.sock"), 0o660),
        (server.folder().join("state"), 0o700),
        (client.folder(), 0o700),
        (client.key(), 0o600),
        (client.folder().join("hosts"), 0o700),
        (client.folder().join("hosts/server.host"), 0o600),
    ] {
        assert_eq!(mode(&path), expected, "{} has {:04o}", path.display(), mode(&path));
    }
    let store: Vec<_> = fs::read_dir(server.folder().join("state")).unwrap().flatten().collect();
    assert!(!store.is_empty(), "there is a store");
    for file in store {
        assert_eq!(mode(&file.path()) & 0o077, 0, "{}", file.path().display());
    }
}

/// A server's folder and programs that user `nobody` can use.
struct Unprivileged {
    net: Lan,
    folder: TempDir,
}

impl Unprivileged {
    fn new(capture: &str, backend: &str) -> Unprivileged {
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
        assert!(err.contains("run as root or give the process CAP_NET_ADMIN"), "{arguments:?}: {err}");
    }
    // Files of root, as on an installed system.
    let key = user.folder.join("server.key");
    chown(&key, Some(0), None).unwrap();
    let (code, _, err) = run(&mut user.server(&["run"]));
    assert_eq!(code, Some(77), "{err}");
    assert!(err.contains("no permission for") && err.contains("server.key"), "{err}");
    let root = Server::start(&user.net.server, &scene::config(60));
    fs::set_permissions(root.folder(), fs::Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(root.folder().join("server.toml"), fs::Permissions::from_mode(0o644)).unwrap();
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
    assert_eq!(name_of(daemon.pid()), "spa-server");
    assert_undumpable(daemon.pid());

    let public = run(&mut user.command("spa", &["keygen"])).1;
    let arguments = ["client", "add", "laptop", public.trim(), "--service", "ssh", "--host", "203.0.113.66"];
    let (code, line, err) = run(&mut user.server(&arguments));
    assert_eq!(code, Some(0), "{err}");
    let (code, _, err) = run(&mut user.command("spa", &["host", "add", line.trim(), "--name", "gate"]));
    assert_eq!(code, Some(0), "{err}");
    // The stranger's host answers nothing that a client understands, so this one waits.
    let waiting = Waiting::start(&mut user.command("spa-client", &["open", "ssh@gate"]));
    assert!(wait_until(PATIENCE, || name_of(waiting.0.id()) == "spa-client"), "the client does not start");
    assert_undumpable(waiting.0.id());
    drop(daemon);
}

/// The kernel gives the files of a process that may not be dumped to root (proc(5), `/proc/PID`).
fn assert_undumpable(pid: u32) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(process.join("status")).unwrap();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    assert!(user.split_whitespace().all(|id| id == NOBODY.to_string()), "{user}");
    let forbidden = || fs::metadata(process.join("environ")).is_ok_and(|environ| environ.uid() == 0);
    assert!(wait_until(PATIENCE, forbidden), "{} may be dumped", name_of(pid));
}

#[test]
fn a_client_without_a_server_lists_the_likeliest_causes() {
    need_namespaces!();
    let mut house = house(&scene::config(600));
    let status = house.scene.server.stop();
    assert!(status.success(), "{status}");
    both(|family| {
        let opened = house.scene.client.open("ssh", family, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
        // The clock comes first, or not at all where the kernel knows that it is kept.
        for words in [
            "no answer: ssh on server (",
            ". this key (SHA256:",
            "is not enrolled, or not for ssh",
            "on the server: spa-server client list",
            ". you come from another address than it seems",
            "on the server: journalctl -u spa-server",
            "More: spa-client doctor server --knock",
        ] {
            assert!(opened.stderr.contains(words), "{family}: {words} is not in {}", opened.stderr);
        }
        let causes = opened.stderr.lines().filter(|line| line.starts_with("  "));
        assert_eq!(causes.count(), 3, "{family}: {}", opened.stderr);
        let other = house.net.client.address(family).to_string();
        assert!(opened.stderr.contains(&other), "{family}: its own address helps: {}", opened.stderr);
    });
    let control = house.scene.server.control(&["status"]);
    assert_eq!(control.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&control.stderr).contains("no server answers at"), "{control:?}");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    need_namespaces!();
    let house = house(&scene::config(600));
    let client = &house.scene.client;
    for (path, mode) in
        [(client.key(), 0o644), (client.folder().join("hosts/server.host"), 0o640), (client.key(), 0o606)]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let opened = client.open("ssh", Family::V4, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(77), "{opened:?}");
        let mend = format!("chmod 600 {}", path.display());
        assert!(opened.stderr.contains(&mend), "{}", opened.stderr);
        let mut words = mend.split(' ');
        let mended = run(Command::new(words.next().unwrap()).args(words));
        assert_eq!(mended.0, Some(0), "{mended:?}");
    }
    both(|family| drop(client.must_open("ssh", family, &[])));
    // The server is as careful with its own.
    let server = &house.scene.server;
    let key = server.folder().join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let check = server.control(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(said.contains(&format!("chmod 600 {}", key.display())), "{said}");
}

#[test]
fn a_client_without_keys_or_hosts_is_told_the_next_command() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &scene::config(60));
    let client = Client::new(&net.client);
    let opened = client.open("ssh", Family::V4, &[]);
    assert_eq!(opened.status.code(), Some(4), "{opened:?}");
    assert!(opened.stderr.contains("there is no host `server`; take its enrolment line with: spa host add"));
    client.enrol(&server, "laptop", &["ssh"]);
    let opened = client.open("ssh", Family::V4, &["--config", "/nonexistent"]);
    assert_eq!(opened.status.code(), Some(4), "{opened:?}");
    fs::remove_file(client.key()).unwrap();
    let opened = client.open("ssh", Family::V4, &[]);
    assert_eq!(opened.status.code(), Some(78), "{opened:?}");
    assert!(opened.stderr.contains("make a key with: spa keygen"), "{}", opened.stderr);
}
