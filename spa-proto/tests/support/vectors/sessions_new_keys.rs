//! The vectors of sessions with new keys and security keys.

use std::net::IpAddr;

use spa_proto::{ClientPublic, ClientSecret, Op, Request, Session};

use super::Vector;
use super::session_fields::{E, NEW, TOKEN, refusal, session_of, world_of};
use crate::support::touch::Token;
use crate::support::{World, counted, epoch, hex};

/// Who signs: the seed's own key, or the token with this seed.
enum By {
    Disk([u8; 32]),
    Token([u8; 32]),
}

/// Name, comment, the pair's fields, whether its token signs, the new keys, the request.
type Case<'a> = (&'a str, &'a str, Vector, bool, Option<&'a By>, Request<'a>);

/// Sessions with new keys and security keys; those for another address stand with the plain ones.
pub fn vectors() -> Vec<Vector> {
    let own = || Vector::new("session", "", "", "").secrets();
    let invited = || {
        let vector = Vector::new("session", "", "", "");
        vector.with("server-secret", hex(counted(0))).with("invitation", hex(counted(0x90)))
    };
    let plain = World::fixed().request();
    let bare = Request { service: 0, ttl_s: 0, ..plain.clone() };
    let enrol = |by: &By| Op::Enrol(new_public(by));
    let rekey = |by: &By| Op::Rekey(new_public(by));
    let (disk, token) = (By::Disk(counted(NEW)), By::Token(counted(TOKEN)));
    let same = By::Token(counted(TOKEN + 0x20));
    let bind: Option<IpAddr> = Some("2001:db8::7".parse().unwrap());
    let cases: Vec<Case<'_>> = vec![
        (
            "enrol",
            "An invitation makes a client.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), ..bare.clone() },
        ),
        (
            "enrol-bound",
            "The same, bound to its source.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), bind_src: bind, ..bare.clone() },
        ),
        (
            "enrol-security-key",
            "An invitation makes a client with a security key.",
            invited(),
            false,
            Some(&token),
            Request { op: enrol(&token), ..bare.clone() },
        ),
        (
            "rekey",
            "A client goes on with new keys.",
            own(),
            false,
            Some(&disk),
            Request { op: rekey(&disk), ..bare.clone() },
        ),
        (
            "rekey-security-keys",
            "From one security key to another, bound: the longest extension.",
            own(),
            true,
            Some(&token),
            Request { op: rekey(&token), bind_src: bind, ..bare.clone() },
        ),
        (
            "rekey-refresh",
            "The same security key, with another X25519 half.",
            own(),
            true,
            Some(&same),
            Request { op: rekey(&same), ..bare.clone() },
        ),
        ("security-key", "A security key signs; one touch.", own(), true, None, plain.clone()),
        (
            "security-key-for-addr",
            "A security key signs for another address.",
            own(),
            true,
            None,
            Request { for_addr: bind, ..plain.clone() },
        ),
        (
            "enrol-service",
            "An enrolment has no service.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), service: 1, ..bare.clone() },
        ),
        (
            "enrol-ttl",
            "An enrolment has no ttl.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), ttl_s: 1, ..bare.clone() },
        ),
        (
            "enrol-for-addr",
            "An enrolment opens for nobody.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), for_addr: bind, ..bare.clone() },
        ),
        (
            "rekey-all",
            "A rotation closes nothing.",
            own(),
            false,
            Some(&disk),
            Request { op: rekey(&disk), all: true, ..bare.clone() },
        ),
        (
            "rekey-without-keys",
            "The op names keys that are not there.",
            own(),
            false,
            None,
            Request { op: rekey(&disk), ..bare.clone() },
        ),
        ("open-with-keys", "An op that brings no keys.", own(), false, Some(&disk), plain.clone()),
    ];
    cases
        .into_iter()
        .map(|(name, comment, vector, touched, new, request)| {
            one(name, comment, vector, touched, new, &request)
        })
        .collect()
}

fn new_public(by: &By) -> ClientPublic {
    match by {
        By::Disk(seed) => ClientSecret::from_bytes(*seed).public(),
        By::Token(seed) => Token::new(*seed).public_with(&ClientSecret::from_bytes(counted(NEW))),
    }
}

fn one(
    name: &str,
    comment: &str,
    mut vector: Vector,
    touched: bool,
    new: Option<&By>,
    request: &Request<'_>,
) -> Vector {
    vector.name = format!("session-{name}.txt");
    vector.comment = comment.into();
    vector = vector.with("ephemeral", hex(counted(E))).requesting(request);
    if touched {
        vector = vector.with("token-seed", hex(counted(TOKEN + 0x20))).with("touch", "0100000007");
    }
    if let Some(by) = new {
        vector = vector.with("new-seed", hex(counted(NEW)));
        if let By::Token(seed) = by {
            vector = vector.with("new-token-seed", hex(seed)).with("new-touch", "0100000007");
        }
    }
    match session_of(&vector) {
        Err(error) => vector.fields[1].1 = refusal(&error).into(),
        Ok(session) => {
            vector.fields[1].1 = "packets".into();
            if new.is_some() {
                vector = with_new_psk(vector, &session);
            }
            vector = vector.made(&session);
        }
    }
    vector
}

/// The psk that the server comes to, beside what the client would: both must be the same.
fn with_new_psk(vector: Vector, session: &Session) -> Vector {
    let world = world_of(&vector);
    let ports: Vec<u16> = session.packets().iter().map(|(port, _)| *port).collect();
    let (port, packet) = &session.packets()[0];
    let seen = world.see(epoch(), &ports, packet, *port);
    let successor = seen.unwrap_or_else(|step| panic!("refused at {step:?}")).successor.unwrap();
    let disk = ClientSecret::from_bytes(counted(NEW));
    let new = world.successors(successor.public, &disk, &disk);
    assert_eq!(new.psk(), successor.psk);
    vector.with("new-psk", hex(successor.psk.to_bytes()))
}
