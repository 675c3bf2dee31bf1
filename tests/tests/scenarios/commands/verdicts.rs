//! One set of rules: what `run` refuses is refused by `check`, `reload` and `try`, and what `check`
//! takes can be run. [`Server::launch`] asks `check` about every configuration of this suite.

use std::io::{BufRead, BufReader};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::netns::Host;

use super::*;

/// A kind of thing in the place of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Thing {
    Nothing,
    Folder,
    File,
    Pipe,
    DeadLink,
    Exposed,
}

impl Thing {
    pub(super) fn make(self, path: &Path) {
        match self {
            Thing::Nothing => {}
            Thing::Folder | Thing::Exposed => fs::create_dir(path).unwrap(),
            Thing::File => fs::write(path, "x").unwrap(),
            Thing::Pipe => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR).unwrap(),
            Thing::DeadLink => std::os::unix::fs::symlink("/nowhere/at/all", path).unwrap(),
        }
        if self == Thing::Exposed {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
    }
}

/// A change of a good configuration, what stands at `{dir}/thing`, and whether it can be run.
const CASES: [(&str, &str, Thing, bool); 27] = [
    ("server.control", "\"{dir}/thing\"", Thing::Nothing, true),
    ("server.control", "\"{dir}/thing\"", Thing::Folder, false),
    ("server.control", "\"{dir}/thing\"", Thing::File, false),
    ("server.control", "\"{dir}/thing\"", Thing::Pipe, false),
    ("server.control", "\"{dir}/thing\"", Thing::DeadLink, false),
    ("server.control", "\"{dir}/thing/c.sock\"", Thing::Nothing, true),
    ("server.control", "\"{dir}/thing/a/c.sock\"", Thing::Folder, true),
    ("server.control", "\"{dir}/thing/c.sock\"", Thing::File, false),
    ("server.control", "\"{dir}/thing/\"", Thing::Nothing, false),
    ("server.control", "\"/\"", Thing::Nothing, false),
    ("server.control", "\"{dir}/server.key\"", Thing::Nothing, false),
    ("server.state", "\"{dir}/thing\"", Thing::Folder, true),
    ("server.state", "\"{dir}/thing\"", Thing::File, false),
    ("server.state", "\"{dir}/thing\"", Thing::Pipe, false),
    ("server.state", "\"{dir}/thing\"", Thing::DeadLink, false),
    ("server.state", "\"{dir}/thing\"", Thing::Exposed, false),
    ("server.state", "\"{dir}/thing/a/b\"", Thing::Folder, true),
    ("server.state", "\"{dir}/thing/a\"", Thing::File, false),
    ("server.key", "\"{dir}/thing\"", Thing::Folder, false),
    ("server.clients", "\"{dir}/thing\"", Thing::Pipe, false),
    ("server.clients", "\"{dir}/server.key\"", Thing::Nothing, false),
    ("capture.interfaces", "[\"lo\"]", Thing::Nothing, true),
    ("capture.mode", "\"udp\"\ninterfaces = [\"lo\"]", Thing::Nothing, false),
    ("capture.mode", "\"udp\"", Thing::Nothing, true),
    ("sequence.ports", "[1, 2]\nprevious-ports = [1]", Thing::Nothing, false),
    ("sequence.ports", "[1, 2]\nprevious-ports = [3, 4]", Thing::Nothing, true),
    ("log.format", "\"journald\"", Thing::Nothing, false),
];

pub(super) fn good() -> Config {
    Config::default().service("ssh", "ports = [\"tcp/22\"]")
}

fn check(config: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(binary("spa-server"));
    let (code, out, err) = run(command.args(["check", "--offline"]).arg(config));
    (code, out + &err)
}

/// Whether the real server starts, and what it says.
pub(super) fn starts(host: &Host, config: &Path) -> (bool, String) {
    let mut command = host.command(binary("spa-server"));
    command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        // It neither starts nor ends: the test sees a start that failed without a word.
        if is_over.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ended = kill(pid, Signal::SIGKILL);
        }
    });
    let mut said = String::new();
    let mut started = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        said.push_str(&line);
        said.push('\n');
        if line.contains("event=started ") || line.contains("\"event\":\"started\"") {
            started = true;
            kill(pid, Signal::SIGTERM).unwrap();
        }
    }
    child.wait().unwrap();
    drop(over);
    watchdog.join().unwrap();
    (started, said)
}

fn agrees(host: &Host, what: &str, config: &Path) -> bool {
    let (code, checked) = check(config);
    let (started, said) = starts(host, config);
    let good = code == Some(0);
    assert_eq!(good, started, "{what}: check says\n{checked}\nand run says\n{said}");
    good
}

#[test]
fn check_and_run_are_of_one_mind() {
    need_namespaces!();
    let net = lan();
    for (path, value, thing, expected) in CASES {
        // The socket of journald decides that one.
        if path == "log.format" && Path::new("/run/systemd/journal/socket").exists() {
            continue;
        }
        // `init` would make what stands at that place, or refuse.
        let server = Server::prepare(&net.server, &good());
        server.configure(&good().set(path, value));
        thing.make(&server.folder().join("thing"));
        let what = format!("{path} = {value} with {thing:?}");
        let good = agrees(&net.server, &what, &server.folder().join("server.toml"));
        assert_eq!(good, expected, "{what}");
    }
}

#[test]
fn every_example_runs_as_check_says() {
    need_namespaces!();
    let net = lan();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples");
    for example in fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()) {
        if example.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = fs::read_to_string(&example).unwrap();
        let ours = ["key", "clients", "state", "control"];
        let is_ours = |line: &&str| {
            let word = line.split('=').next().unwrap_or_default().trim();
            *line != "[server]" && !ours.contains(&word)
        };
        let rest: Vec<&str> = text.lines().filter(is_ours).collect();
        let (top, sections): (Vec<&str>, Vec<&str>) = {
            let first = rest.iter().position(|line| line.starts_with('[')).unwrap();
            (rest[..first].to_vec(), rest[first..].to_vec())
        };
        let server = "[server]\nkey = \"{dir}/server.key\"\nclients = \"{dir}/clients.toml\"\n\
            state = \"{dir}/state\"\ncontrol = \"{dir}/c.sock\"";
        let text = [server, &top.join("\n"), &sections.join("\n")].join("\n");
        let server = Server::prepare(&net.server, &Config::literal(&text));
        let what = example.display().to_string();
        assert!(agrees(&net.server, &what, &server.folder().join("server.toml")), "{what}");
    }
}

#[test]
fn reload_and_try_refuse_what_the_next_start_would() {
    need_namespaces!();
    let net = lan();
    let server = Server::start(&net.server, &good());
    for (path, value, thing, _) in CASES.into_iter().filter(|(.., runs)| !runs) {
        if path == "log.format" && Path::new("/run/systemd/journal/socket").exists() {
            continue;
        }
        let place = server.folder().join("thing");
        thing.make(&place);
        server.configure(&good().set(path, value));
        for arguments in [&["reload"][..], &["try", "--for", "1h"]] {
            let output = server.control(arguments);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{arguments:?}: {path} = {value}, {thing:?}: {text}");
        }
        let _gone = fs::remove_file(&place).or_else(|_| fs::remove_dir(&place));
        server.configure(&good());
    }
    assert!(server.control(&["reload"]).status.success());
}

/// As NixOS and Kubernetes lay files out: links through links, all of root's.
#[test]
fn a_configuration_of_links_that_are_roots_is_run_and_one_of_others_is_not() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &good());
    let at = |name: &str| server.folder().join(name);
    fs::create_dir(at("..2026")).unwrap();
    std::os::unix::fs::symlink("..2026", at("..data")).unwrap();
    fs::write(at("clients.toml"), "").unwrap();
    fs::set_permissions(at("clients.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["server.toml", "server.key", "clients.toml"] {
        fs::rename(at(name), at("..2026").join(name)).unwrap();
        std::os::unix::fs::symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    assert!(agrees(&net.server, "links of root", &at("server.toml")));
    // Written it is not: the link would be lost.
    let output = server.control(&["client", "add", "x", "spa1x", "--service", "ssh"]);
    assert!(!output.status.success());
    std::os::unix::fs::lchown(at("..data"), Some(65_534), Some(65_534)).unwrap();
    assert!(!agrees(&net.server, "a link of nobody", &at("server.toml")));
    let (_, text) = check(&at("server.toml"));
    assert!(text.contains("symbolic link"), "{text}");
}
