//! The second client at the real server.

use std::path::Path;

use spa_tests::config::Config;
use spa_tests::daemon::Server;
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::EchoServer;
use spa_tests::python::Script;
use spa_tests::scene::{SSH, config};
use spa_tests::{Family, need_namespaces};

use super::{expect, python};

/// The real server, and a second client for each family.
struct Field {
    server: Server,
    net: Lan,
    python: &'static Path,
    _ssh: EchoServer,
}

impl Field {
    fn new(config: &Config) -> Option<Field> {
        let python = python()?;
        let net = lan();
        let ssh = EchoServer::start(&net.server, SSH);
        let server = Server::start(&net.server, config);
        server.wait_fence();
        Some(Field { server, net, python, _ssh: ssh })
    }

    fn client(&self, family: Family) -> Script {
        let server = self.net.server.address(family).to_string();
        Script::start(self.python, &self.net.client, "knock.py", &[&server])
    }

    /// One whose key an administrator has added.
    fn added(&self, family: Family, name: &str) -> Script {
        let mut client = self.client(family);
        let public = client.ask("public");
        let line = self.server.add_client(name, &public, &["--service", "ssh"]);
        expect(&mut client, &[(&format!("line {line}"), name)]);
        client
    }

    /// The answer of a command of the server.
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.server.control(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn hopping() -> Config {
    config(60)
        .unset("sequence.ports")
        .set("sequence.hop", "\"20000-29999\"")
        .set("sequence.stages", "5")
}

/// Each op, bound and not, with ML-KEM and without; an answer that is lost and asked for again.
#[test]
fn every_op() {
    need_namespaces!();
    for config in [config(60), hopping()] {
        let Some(field) = Field::new(&config) else { return };
        for family in Family::BOTH {
            let name = format!("guest-{}", family.digit());
            let invitation = field.must(&["invite", &name, "--service", "ssh"]);
            let mut client = field.client(family);
            let confirmed = "granted 60 provisional confirmed granted 60";
            expect(
                &mut client,
                &[
                    (&format!("line {invitation}"), &name),
                    ("open ssh", "denied op"),
                    ("rekey", "denied op"),
                    ("enrol lose", "granted 1148"),
                    ("open ssh", confirmed),
                    ("renew ssh", confirmed),
                    ("close ssh bound", "granted 0"),
                    ("rekey", "granted 1148"),
                    ("open ssh bound", "granted 60"),
                    ("rekey lose", "granted 1148"),
                    ("renew ssh bound", "granted 60"),
                    ("rekey plain lose", "granted 60"),
                    ("enrol", "denied op"),
                    ("close ssh all", "granted 0"),
                    ("open web", "denied service"),
                ],
            );
            assert_eq!(field.server.status()["grants"], serde_json::json!([]));
        }
    }
}

/// The key of the server is replaced: told at the first knock, followed at the second, and gone.
#[test]
fn both_server_keys() {
    need_namespaces!();
    for config in [config(60), hopping()] {
        let Some(field) = Field::new(&config) else { return };
        let mut clients =
            Family::BOTH.map(|family| field.added(family, &format!("guest-{}", family.digit())));
        for client in &mut clients {
            expect(client, &[("open ssh bound", "granted 60")]);
        }
        field.must(&["rotate-key"]);
        field.must(&["reload"]);
        for (client, more) in clients.iter_mut().zip(["", " plain"]) {
            // An answer with the server's keys has 64 bytes more.
            expect(
                client,
                &[("open ssh bound", "granted 60 key"), ("open ssh bound", "granted 60")],
            );
            let length = if more.is_empty() { "granted 1148" } else { "granted 60" };
            expect(client, &[(&format!("rekey{more}"), length), ("open ssh bound", "granted 60")]);
        }
        field.must(&["rotate-key", "--finish"]);
        field.must(&["reload"]);
        for client in &mut clients {
            let confirmed = "granted 60 provisional confirmed granted 60";
            expect(client, &[("open ssh", confirmed), ("rekey lose", "granted 1148")]);
        }
    }
}

/// New keys by the server's previous key: the answer tells the present one, and the new pair is
/// good with it. Whoever lost that answer asks by the present key, and comes to the same psk.
#[test]
fn new_keys_by_the_previous_server_key() {
    need_namespaces!();
    let Some(field) = Field::new(&config(60)) else { return };
    let requests = [("", "1212"), ("plain", "124"), ("lose", "1148"), ("plain lose", "60")];
    let mut clients = Vec::new();
    for family in Family::BOTH {
        for (more, length) in requests {
            let name = format!("guest-{}", clients.len());
            clients.push((field.added(family, &name), more, length));
        }
    }
    field.must(&["rotate-key"]);
    field.must(&["reload"]);
    for (client, more, length) in &mut clients {
        let granted = format!("granted {length}");
        let words = [(&*format!("rekey {more}"), &*granted), ("open ssh bound", "granted 60")];
        expect(client, &words);
    }
}

/// One thing wrong in each: silence, or the answer that the text names. Nothing is opened.
#[test]
fn wrong_fields_are_refused() {
    need_namespaces!();
    // Two stages: what is wrong costs the client's budget.
    let config = config(60).set("sequence.ports", "[40001, 40002]");
    let Some(field) = Field::new(&config) else { return };
    for (count, family) in Family::BOTH.into_iter().enumerate() {
        let mut client = field.added(family, &format!("guest-{}", family.digit()));
        expect(&mut client, &[("wrong ssh", "all refused, then granted 60")]);
        let status = field.server.status();
        assert_eq!(status["packets"]["over-budget"], 0, "{status}");
        // The right knock, and its CONFIRM.
        assert_eq!(status["grants"].as_array().unwrap().len(), count + 1, "{status}");
        expect(&mut client, &[("rekey", "granted 1148"), ("open ssh bound", "granted 60")]);
    }
}
