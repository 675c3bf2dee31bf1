//! A server that changes its key, played by the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fake;

use std::net::TcpListener;
use std::process::{Command, Stdio};

use fake::{Fake, Got, end, ended, now_ms};
use spa_keys::HostLine;
use spa_proto::{Ack, Reason, ServerKeys, ServerPublic, ServerSecret, Status};

fn new_secret() -> ServerSecret {
    ServerSecret::from_bytes([0x5a; 32])
}

fn keys(public: ServerPublic) -> ServerKeys {
    ServerKeys { public, hop: None }
}

fn lines(server: &Fake) -> Vec<HostLine> {
    server.folder().read_host_lines("gate").unwrap()
}

fn granted(got: &Got) -> Ack {
    let (status, reason) = (Status::Granted, Reason::None);
    Ack {
        status,
        reason,
        ttl_s: 60,
        server_ms: now_ms(),
        observed: got.from,
        number: 0,
        provisional: false,
        rekey_wanted: false,
    }
}

/// Takes a transmission by the old key and tells the new one.
fn tell(server: &Fake, public: ServerPublic) {
    let all = server.transmission();
    let session = server.open(&all[2]).0;
    server.send(&all[2], &session.seal_ack(&granted(&all[2]), Some(&keys(public))));
}

#[test]
fn the_client_follows_by_itself() {
    for ip in ["127.0.0.1", "::1"] {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let mut server = Fake::new(&[ip]).with_ssh(&listener);
        let old = server.line.clone();
        let new = HostLine { server: new_secret().public(), ..old.clone() };

        let client = server.start(&["open", "ssh@gate"]);
        tell(&server, new.server);
        let told = end(client);
        assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
        assert_eq!(lines(&server), [new.clone(), old.clone()]);
        let file = std::fs::read_to_string(server.folder().host_file("gate").unwrap()).unwrap();
        assert!(file.starts_with("# gate: enrolment of this client as "), "{file}");

        // From now on by the new key, which is what an answer by it settles.
        server.secret = new_secret();
        let client = server.start(&["open", "-v", "ssh@gate"]);
        server.grant(60);
        let followed = end(client);
        assert_eq!(followed.code, Some(0), "{}", followed.err);
        assert!(followed.err.contains("the other one is dropped"), "{}", followed.err);
        assert_eq!(lines(&server), [new]);
    }
}

#[test]
fn without_an_answer_by_the_new_key_the_old_one_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    let old = server.line.clone();
    let new = HostLine { server: new_secret().public(), ..old.clone() };
    server.folder().answered("gate", &old, Some(&keys(new.server))).unwrap();
    assert_eq!(lines(&server), [new, old.clone()]);
    let client = server.start(&["open", "-v", "ssh@gate"]);
    // The new key's session and its repetitions; nobody answers.
    for _ in 0..4 {
        server.transmission();
    }
    server.grant(60);
    let back = end(client);
    assert_eq!(back.code, Some(0), "{}", back.err);
    assert!(back.err.contains("next by the old one of the two keys of gate"), "{}", back.err);
    assert_eq!(lines(&server), [old]);
}

#[test]
fn what_is_no_key_or_nobody_said_is_ignored() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    let one = std::array::from_fn(|i| u8::from(i == 0));
    for public in
        [ServerPublic([0; 32]), ServerPublic(one), ServerPublic([0xff; 32]), server.line.server]
    {
        let client = server.start(&["open", "ssh@gate"]);
        tell(&server, public);
        let ended = end(client);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{public:?}");
        assert_eq!(lines(&server), std::slice::from_ref(&server.line));
    }
    // By a stranger, in another session's answer, and cut: then the real one.
    let first = server.start(&["open", "ssh@gate"]);
    let all = server.transmission();
    let other =
        server.open(&all[2]).0.seal_ack(&granted(&all[2]), Some(&keys(new_secret().public())));
    server.send(&all[2], &server.ack(&all[2], Status::Granted, Reason::None, 60, now_ms()));
    assert_eq!(end(first).code, Some(0));
    let client = server.start(&["open", "ssh@gate"]);
    let all = server.transmission();
    server.send(&all[2], &other);
    server.send(&all[2], &[0x11; 124]);
    let mut own =
        server.open(&all[2]).0.seal_ack(&granted(&all[2]), Some(&keys(new_secret().public())));
    server.send(&all[2], &own[..60]);
    own[50] ^= 1;
    server.send(&all[2], &own);
    server.send(&all[2], &server.ack(&all[2], Status::Granted, Reason::None, 60, now_ms()));
    assert_eq!(end(client).code, Some(0));
    assert_eq!(lines(&server), std::slice::from_ref(&server.line));
}

#[test]
fn a_file_that_cannot_be_written_costs_a_warning_and_no_knock() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    // As on a full disk, also for root.
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "trap '' XFSZ; ulimit -f 0; exec \"$0\" open ssh@gate",
        env!("CARGO_BIN_EXE_spa-client"),
    ]);
    shell.env_clear().env("HOME", &server.home).env("TZ", "UTC").env("PATH", "/usr/bin:/bin");
    let shell =
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tell(&server, new_secret().public());
    let ended = ended(shell.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.contains("ssh on gate is open"), "{}", ended.out);
    assert!(
        ended.err.contains("gate changes its key, and the change could not be written: "),
        "{}",
        ended.err
    );
    assert_eq!(lines(&server), std::slice::from_ref(&server.line));
}
