//! The real client at the second server, which hides a port of its host and opens it.

use std::cell::RefCell;
use std::process::Output;
use std::{fs, thread};

use spa_tests::daemon::Client;
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::EchoServer;
use spa_tests::python::Script;
use spa_tests::scene::SSH;
use spa_tests::{Family, need_namespaces};

use super::python;

/// Answers that no client believes: a service of `lies.py` for each.
const LIES: [&str; 21] = [
    "status-4",
    "reason-18",
    "granted-for-a-reason",
    "denied-for-none",
    "denied-provisionally",
    "number-9",
    "number-1",
    "no-time",
    "keys-unsaid",
    "keys-missing",
    "ct-unsaid",
    "ct-missing",
    "short",
    "long",
    "first-bit",
    "last-bit",
    "purpose",
    "confirm-key",
    "other-session",
    "unsealed",
    "silence",
];

/// The second server, and a user of the real client.
struct Field {
    server: RefCell<Script>,
    client: Client,
    net: Lan,
    _ssh: EchoServer,
}

impl Field {
    fn new(arguments: &[&str]) -> Option<Field> {
        let python = python()?;
        let net = lan();
        let ssh = EchoServer::start(&net.server, SSH);
        let hosts = Family::BOTH.map(|family| net.server.address(family).to_string()).join(",");
        let mut all = vec![&*hosts, "40001,40002,40003"];
        all.extend(arguments);
        let server = RefCell::new(Script::start(python, &net.server, "serve.py", &all));
        let client = Client::new(&net.client);
        Some(Field { server, client, net, _ssh: ssh })
    }

    fn ask(&self, line: &str) -> String {
        self.server.borrow_mut().ask(line)
    }

    fn spa(&self, arguments: &[&str]) -> Output {
        let output = self.client.command("spa").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// `spa WORDS --name server`, with the server's addresses.
    fn enrol(&self, words: &[&str]) {
        let addresses = Family::BOTH.map(|family| self.net.server.address(family).to_string());
        let mut all = words.to_vec();
        all.extend(["--name", "server"]);
        addresses.iter().for_each(|address| all.extend(["--address", address]));
        self.spa(&all);
    }

    fn add(&self) {
        let key = self.client.key().display().to_string();
        let public = String::from_utf8(self.spa(&["keygen", "-o", &key]).stdout).unwrap();
        let line = self.ask(&format!("client laptop {}", public.trim()));
        self.enrol(&["host", "add", &line]);
    }

    fn never_bind(&self) {
        let settings = "[host.server]\nbind-src = \"never\"\n";
        fs::write(self.client.folder().join("config.toml"), settings).unwrap();
    }

    fn must_open(&self, family: Family) {
        self.client.must_open("ssh", family, &[]);
        self.close();
    }

    fn close(&self) {
        let mut command = self.client.command("spa-client");
        let output = command.args(["close", "ssh@server"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Lines in the client's file of the server: one for each key of the server.
    fn lines(&self) -> usize {
        let text = fs::read_to_string(self.client.folder().join("hosts/server.host")).unwrap();
        text.lines().filter(|line| line.starts_with("SPA-HOST-1")).count()
    }
}

/// Every layer of what the real client sends is as the text says, for each op; nothing that it sent
/// was refused.
#[test]
fn every_op() {
    need_namespaces!();
    for arguments in [&["kem"][..], &[], &["hop=40000-40299", "kem"]] {
        let Some(field) = Field::new(arguments) else { return };
        let kem = if arguments.contains(&"kem") { " kem" } else { "" };
        let invitation = field.ask("invite laptop");
        field.enrol(&["join", &invitation]);
        let log = field.ask("log");
        assert!(log.contains(&format!("granted enrol bound{kem}")), "{arguments:?}: {log}");
        for family in Family::BOTH {
            field.must_open(family);
            field.spa(&["rotate", "server"]);
            field.must_open(family);
            let log = field.ask("log");
            for words in [
                "granted open ssh bound",
                "granted close ssh bound",
                &format!("granted rekey bound{kem}"),
            ] {
                assert!(log.contains(words), "{arguments:?}, {family}, {words}: {log}");
            }
            // A client that was told nothing of ML-KEM tries it first, and is refused.
            let is_tried = kem.is_empty();
            assert!(is_tried || !log.contains("refused") && !log.contains("stranger"), "{log}");
        }
    }
}

/// A client whose own address is none of the internet's confirms what it was told.
#[test]
fn grants_are_confirmed() {
    need_namespaces!();
    let Some(field) = Field::new(&["kem"]) else { return };
    field.add();
    field.never_bind();
    for family in Family::BOTH {
        field.client.must_open("ssh", family, &[]);
        let log = field.ask("log");
        assert!(log.contains("granted open ssh") && !log.contains("bound"), "{log}");
        assert!(log.contains("confirmed 1"), "{family}: {log}");
    }
}

/// The server's key is replaced, with hopping ports by either key and without.
#[test]
fn both_server_keys() {
    need_namespaces!();
    for arguments in [&["kem"][..], &["hop=40000-40299", "kem"]] {
        let Some(field) = Field::new(arguments) else { return };
        field.add();
        for family in Family::BOTH {
            field.must_open(family);
            field.ask("rotate");
            field.ask("log");
            field.client.must_open("ssh", family, &[]);
            assert!(field.ask("log").contains("granted open ssh bound previous"));
            assert_eq!(field.lines(), 2, "{arguments:?}");
            field.spa(&["rotate", "server"]);
            assert!(field.ask("log").contains("granted rekey bound kem"));
            field.ask("finish");
            field.client.must_open("ssh", family, &[]);
            assert_eq!(field.lines(), 1, "{arguments:?}");
            // New keys by the previous key of the server, whose answer has both.
            field.ask("rotate");
            field.ask("log");
            field.spa(&["rotate", "server"]);
            assert!(field.ask("log").contains("granted rekey bound kem previous"));
            assert_eq!(field.lines(), 2, "{arguments:?}");
            field.ask("finish");
            field.must_open(family);
        }
        // The pair is of age: the client takes new keys by itself.
        field.ask("age");
        field.client.must_open("ssh", Family::V4, &[]);
        assert!(field.ask("log").contains("granted rekey bound kem"));
    }
}

/// No client believes a wrong answer; with the right one behind it, it is open.
#[test]
fn wrong_answers_are_not_believed() {
    need_namespaces!();
    let Some(field) = Field::new(&["kem"]) else { return };
    field.add();
    field.never_bind();
    field.must_open(Family::V4);
    for family in Family::BOTH {
        thread::scope(|scope| {
            for lie in LIES {
                let client = &field.client;
                scope.spawn(move || {
                    let opened = client.open(lie, family, &["--timeout", "2s"]);
                    let service = &opened.json["services"][0];
                    assert_eq!(
                        (opened.status.code(), &service["granted"], &service["reason"]),
                        (Some(3), &false.into(), &"no-answer".into()),
                        "{lie}, {family}: {opened:?}"
                    );
                });
            }
        });
        for service in ["then-right", "confirm-then-right"] {
            field.client.must_open(service, family, &[]);
        }
        for service in ["key-not-canonical", "key-of-small-order", "key-as-before"] {
            field.client.must_open(service, family, &[]);
            assert_eq!(field.lines(), 1, "{service}");
        }
        field.close();
    }
}
