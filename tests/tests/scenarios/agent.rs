//! Knocks whose signing half is in OpenSSH's own ssh-agent, as a plain key and as a security key.

use std::path::Path;
use std::process::Output;

use spa_tests::agent::{Agent, provider};
use spa_tests::daemon::{Client, Server};
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Lan, lan};
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces};

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A client whose signing half is the agent's key `id`, enrolled as `token`, and a running server.
fn enrolled(net: &Lan, agent: &Agent) -> (Scene, Client, String) {
    let server = Server::prepare(&net.server, &config(60));
    let client = Client::new(&net.client);
    let mut keygen = client.command("spa");
    keygen.args(["keygen", "--agent"]).arg(agent.file("id")).env("SSH_AUTH_SOCK", agent.socket());
    let made = keygen.output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    client.enrol(&server, "token", &["ssh"]);
    let scene = Scene::of(server, &net.client, &["ssh"]);
    scene.server.wait_fence();
    (scene, client, String::from_utf8(made.stdout).unwrap())
}

fn open(client: &Client, socket: &Path, family: Family) -> Output {
    let mut command = client.command("spa-client");
    command.args(["open", "ssh@server", family.switch()]).env("SSH_AUTH_SOCK", socket);
    command.output().unwrap()
}

#[test]
fn a_key_in_ssh_agent_opens_and_without_it_nothing_is_sent() {
    need_namespaces!();
    let net = lan();
    let agent = Agent::start(&[]);
    agent.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", "id"]);
    agent.tool("ssh-add", &["-q", "id"]);
    let (scene, client, public) = enrolled(&net, &agent);
    assert!(public.starts_with("spa1"), "{public}");
    let socket = agent.socket();
    both(|family| {
        assert!(scene.is_hidden(family, SSH), "{family}");
        let opened = open(&client, &socket, family);
        assert!(opened.status.success(), "{family}: {}", said(&opened));
        assert!(scene.is_open(family, SSH), "{family}");
    });
    scene.server.wait_log(&["event=granted", "client=token"]);

    let refused = |says: &str| {
        let output = open(&client, &socket, Family::V4);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(said(&output).contains(says), "{says}: {}", said(&output));
    };
    agent.tool("ssh-add", &["-x"]);
    refused("is locked");
    agent.tool("ssh-add", &["-X"]);
    assert!(open(&client, &socket, Family::V4).status.success());
    agent.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "other"]);
    agent.tool("ssh-add", &["-q", "other"]);
    agent.tool("ssh-add", &["-q", "-d", "id"]);
    refused("has other keys, but not SHA256:");
    agent.tool("ssh-add", &["-q", "-D"]);
    refused("has no keys");
    let _folder = agent.stop();
    refused("cannot be used");
}

/// Whoever copies the client's folder gets through mac and AEAD, and has no signature.
#[test]
fn the_disk_alone_opens_nothing() {
    need_namespaces!();
    let net = lan();
    let agent = Agent::start(&[]);
    agent.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", "id"]);
    agent.tool("ssh-add", &["-q", "id"]);
    let (scene, client, _) = enrolled(&net, &agent);
    let thief = Knocker::of(&client);
    both(|family| {
        let sender = Sender::new(&net.stranger, &net.server, family);
        sender.all(&thief.session("ssh"));
        let source = format!("source={} ", sender.source());
        scene.server.wait_log(&["event=bad-signature", "client=token", &source]);
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
        let owner = open(&client, &agent.socket(), family);
        assert!(owner.status.success(), "the owner is locked out over {family}: {}", said(&owner));
    });
}

/// The whole way of a security key but for its metal: ssh-agent, ssh-sk-helper, and a provider in
/// software.
#[test]
fn a_security_key_opens_with_a_touch_and_not_without() {
    need_namespaces!();
    let net = lan();
    let provider = &provider();
    let agent = Agent::start(&["-P", provider]);
    let keygen = ["-q", "-t", "ed25519-sk", "-w", provider, "-N", "", "-f"];
    agent.tool("ssh-keygen", &[&keygen[..], &["id"]].concat());
    agent.tool("ssh-add", &["-q", "-S", provider, "id"]);
    let (scene, client, public) = enrolled(&net, &agent);
    assert!(public.starts_with("spask1"), "{public}");
    let socket = agent.socket();
    both(|family| {
        assert!(scene.is_hidden(family, SSH), "{family}");
        let opened = open(&client, &socket, family);
        assert!(opened.status.success(), "{family}: {}", said(&opened));
        assert_eq!(
            said(&opened).matches("touch the security key SHA256:").count(),
            1,
            "{}",
            said(&opened)
        );
        assert!(scene.is_open(family, SSH), "{family}");
    });

    let idle = Agent::start(&["-P", provider]);
    idle.tool("ssh-keygen", &[&keygen[..], &["id", "-O", "no-touch-required"]].concat());
    idle.tool("ssh-add", &["-q", "-S", provider, "id"]);
    let lazy = Client::new(&net.client);
    let mut keygen = lazy.command("spa");
    keygen.args(["keygen", "--agent"]).arg(idle.file("id")).env("SSH_AUTH_SOCK", idle.socket());
    assert!(keygen.output().unwrap().status.success());
    lazy.enrol(&scene.server, "lazy", &["ssh"]);
    let refused = open(&lazy, &idle.socket(), Family::V4);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(said(&refused).contains("signed without a touch"), "{}", said(&refused));
}

/// The doctor's word on the agent: its level, text and command, and that the exit code fits.
fn doctor(client: &Client, socket: Option<&Path>) -> (String, String, String) {
    let mut command = client.command("spa-client");
    let command =
        command.args(["doctor", "--json"]).envs(socket.map(|socket| ("SSH_AUTH_SOCK", socket)));
    let output = command.output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["version"], 1);
    let findings = json["findings"].as_array().unwrap();
    let word = |of: &str| {
        let about = findings
            .iter()
            .find(|finding| finding["check"] == "agent")
            .expect("a word on the agent");
        about[of].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(output.status.code(), Some(i32::from(word("level") == "error")), "{json}");
    (word("level"), word("text"), word("mend"))
}

#[test]
fn the_doctor_looks_at_the_agent() {
    need_namespaces!();
    let net = lan();
    let agent = Agent::start(&[]);
    agent.key("ed25519", "id");
    let client = Client::new(&net.client);
    let keygen = ["keygen", "--agent", "id"];
    let made =
        client.command("spa").args(keygen).env("SSH_AUTH_SOCK", agent.socket()).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let socket = agent.socket();
    let says = |level: &str, text: &str, mend: &str| {
        let (is, told, command) = doctor(&client, Some(&socket));
        assert_eq!((is.as_str(), command.as_str()), (level, mend), "{told}");
        assert!(told.contains(text), "{told}");
    };
    says("ok", "it has the key SHA256:", "");
    let (level, text, mend) = doctor(&client, None);
    assert_eq!(
        (level.as_str(), mend.as_str()),
        ("error", "eval \"$(ssh-agent)\"; ssh-add FILE"),
        "{text}"
    );
    assert!(text.starts_with("SSH_AUTH_SOCK is not set"), "{text}");
    agent.tool("ssh-add", &["-x"]);
    says("error", "it is locked, or has no keys", "ssh-add -X || ssh-add FILE");
    agent.tool("ssh-add", &["-X"]);
    agent.key("ed25519", "other");
    agent.tool("ssh-add", &["-q", "-d", "id"]);
    says("error", "it has other keys, but not SHA256:", "ssh-add FILE");
    // The command that it tells mends it.
    agent.tool("ssh-add", &["-q", "id"]);
    says("ok", "it has the key SHA256:", "");
    let text =
        client.command("spa-client").arg("doctor").env("SSH_AUTH_SOCK", &socket).output().unwrap();
    assert!(said(&text).contains("ok: agent: it has the key SHA256:"), "{}", said(&text));
    let _folder = agent.stop();
    says("error", "nothing answers at SSH_AUTH_SOCK", "eval \"$(ssh-agent)\"; ssh-add FILE");

    let token = Agent::with_security_key();
    let other = Client::new(&net.client);
    let made = other
        .command("spa")
        .args(["keygen", "--agent"])
        .arg(token.file("id"))
        .env("SSH_AUTH_SOCK", token.socket())
        .output();
    assert!(made.unwrap().status.success());
    let (level, text, _) = doctor(&other, Some(&token.socket()));
    assert!(level == "ok" && text.contains("asks for a touch at every knock"), "{text}");
    assert_eq!(token.touches(), 0, "to look is no reason to ask for one");
}
