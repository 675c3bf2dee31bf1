//! What an invitation must not do.

use std::process::Stdio;

use spa_keys::Invitation;
use spa_proto::{
    ClientSecret, Context, InvitationSecret, NewKeys, Op, PairKeys, Reason, Request, Session,
    SessionParts, Status, TagKey, service_id,
};
use spa_tests::daemon::Client;
use spa_tests::knocker::{Sender, now_ms};
use spa_tests::scene::PATIENCE;
use spa_tests::{Family, need_namespaces};

use super::{House, said};

#[test]
fn used_twice_revoked_expired_altered() {
    need_namespaces!();
    let house = House::new();
    let line = house.invite("first");
    house.must_join(&Client::new(&house.net.client), &line);
    let second = Client::new(&house.net.client);
    // Refused while the first device may ask again, and soon not even that.
    let silent = || {
        let output = house.join(&second, &line, &["-4", "--timeout", "3s"]);
        output.status.code() == Some(3) && said(&output).contains("used up")
    };
    assert!(spa_tests::wait_until(PATIENCE, silent));

    let line = house.invite("second");
    let revoked = house.server.control(&["invite", "--revoke", "second"]);
    assert!(revoked.status.success(), "{revoked:?}");
    let output = house.join(&second, &line, &["-4", "--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(house.server.control(&["invite", "--revoke", "second"]).status.code(), Some(1));

    let line = house.invite("third");
    let file = house.server.folder().join("state-broker/enrolled.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let past: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with("until") {
                "until = \"2026-01-01T00:00:00Z\"".to_owned()
            } else {
                line.to_owned()
            }
        })
        .collect();
    std::fs::write(&file, past.join("\n")).unwrap();
    assert!(house.server.control(&["reload"]).status.success());
    let output = house.join(&second, &line, &["-4", "--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("the invitation has expired"), "{output:?}");

    let line = house.invite("fourth");
    let (head, last) = line.split_at(line.len() - 1);
    let other = if last == "Q" { "P" } else { "Q" };
    let output = house.join(&second, &format!("{head}{other}"), &[]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    assert!(!second.folder().join("hosts/server.host").exists());
    // Altered with a right checksum: another secret than the server's.
    let invitation = Invitation::from_text(&line).unwrap();
    let forged = Invitation::new(InvitationSecret::generate().unwrap(), invitation.host);
    let output =
        house.join(&second, forged.to_text().unwrap().expose(), &["-4", "--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(house.clients(), ["first"]);
}

#[test]
fn of_two_devices_one_wins() {
    need_namespaces!();
    let house = House::new();
    for round in 0..5 {
        let line = house.invite(&format!("device-{round}"));
        let clients = [Client::new(&house.net.client), Client::new(&house.net.client)];
        let start = |client: &Client| {
            let mut command = house.joining(client, &line, &["-4", "--timeout", "4s"]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let running: Vec<_> = clients.iter().map(start).collect();
        let ends: Vec<_> =
            running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let won: Vec<bool> = ends.iter().map(|output| output.status.success()).collect();
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{ends:?}");
        for (client, won) in clients.iter().zip(won) {
            assert_eq!(client.folder().join("hosts/server.host").exists(), won);
            if won {
                client.must_open("ssh", Family::V4, &[]);
            }
        }
        assert_eq!((house.invited(), house.clients().len()), (0, round + 1));
    }
}

/// One session of an invitation, by hand.
fn session(invitation: &Invitation, op: Op, new: Option<&ClientSecret>) -> Session {
    let (own, line) = (invitation.secret.client(), &invitation.host);
    let context = Context::new(&line.server, &own.public());
    let tag = TagKey::derive(&line.psk, &context);
    let pair = PairKeys::of_client(&line.psk, &own, &line.server, &context).unwrap();
    let parts = SessionParts {
        server: &line.server,
        context: &context,
        tag: &tag,
        pair: &pair,
        signer: &own,
        hedge: &own.hedge_key(),
    };
    let ports = line.sequence.ports_at(now_ms());
    let service = if new.is_some() { 0 } else { service_id("ssh") };
    let request = Request {
        service,
        ttl_s: 0,
        op,
        want_ack: true,
        bind_src: None,
        for_addr: None,
        all: op == Op::Close,
        ports: &ports,
        padding: &[],
    };
    match new {
        None => Session::new(&parts, &request, now_ms()).unwrap(),
        Some(secret) => {
            let new = NewKeys {
                public: secret.public(),
                secret,
                signer: secret,
                old: own.public(),
                old_psk: &line.psk,
            };
            Session::with_new_keys(&parts, &request, &new, now_ms()).unwrap()
        }
    }
}

#[test]
fn replayed_or_for_something_else() {
    need_namespaces!();
    let mut house = House::new();
    let line = house.invite("device");
    let invitation = Invitation::from_text(&line).unwrap();
    let sender = Sender::new(&house.net.client, &house.net.server, Family::V4);
    let key = ClientSecret::generate().unwrap();
    // It opens nothing, and is not a client that could change its keys.
    for (op, new) in [(Op::Open, None), (Op::Close, None), (Op::Rekey(key.public()), Some(&key))] {
        let session = session(&invitation, op, new);
        sender.all(&session);
        let ack = sender.ack(&session, PATIENCE).unwrap();
        assert_eq!((ack.status, ack.reason), (Status::Denied, Reason::Op), "{op:?}");
    }
    assert_eq!((house.invited(), house.clients().len()), (1, 0));
    let enrol = session(&invitation, Op::Enrol(key.public()), Some(&key));
    sender.all(&enrol);
    assert_eq!(sender.ack(&enrol, PATIENCE).unwrap().status, Status::Granted);
    assert_eq!(house.clients(), ["device"]);
    let gone = house.server.control(&["client", "remove", "device"]);
    assert!(gone.status.success(), "{gone:?}");
    // The same packets, to the same server, to one that has crashed, and when another has the name.
    let copy = Sender::new(&house.net.client, &house.net.server, Family::V4);
    copy.all(&enrol);
    house.server.kill9();
    house.server.launch();
    house.server.wait_fence();
    copy.all(&enrol);
    let other = house.invite("device");
    copy.all(&enrol);
    assert!(house.clients().is_empty());
    house.must_join(&Client::new(&house.net.client), &other);
    assert_eq!(house.clients(), ["device"]);
    assert!(copy.ack(&enrol, std::time::Duration::from_millis(500)).is_none());
}
