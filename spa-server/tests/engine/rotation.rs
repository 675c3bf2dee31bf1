//! `rotate`: which keys may take the place of which.

use std::sync::Arc;

use spa_proto::{ClientSecret, KeyKind, Op, Reason, Signer, Status};
use spa_server::domain::rotation::Rotation;
use spa_server::engine::{ClientKeyChange, EventKind, Registry, Stanza};

use crate::actors::{Actor, Ask, NEW_SEED, home4, home6};
use crate::token::Token;
use crate::world::{Setup, World, server_secret, services, stanza};

/// Holders of signing keys, two of each kind.
struct Signers {
    disks: [ClientSecret; 2],
    tokens: [Token; 2],
}

impl Signers {
    fn new() -> Self {
        Self {
            disks: [1, 2].map(|seed| ClientSecret::from_bytes([seed; 32])),
            tokens: [3, 4].map(|seed| Token::new([seed; 32])),
        }
    }

    fn get(&self, kind: KeyKind, which: usize) -> (&dyn Signer, [u8; 32]) {
        match kind {
            KeyKind::Ed25519 => (&self.disks[which], self.disks[which].public().sign),
            KeyKind::SecurityKey => (&self.tokens[which], self.tokens[which].inner.public().sign),
        }
    }
}

/// Asks for new keys in the place of the first of its kind; what the client is told.
fn rekey(rotate: Option<Rotation>, old: KeyKind, new: (KeyKind, usize)) -> (Reason, World) {
    let signers = Signers::new();
    let mut world = World::new(Setup::with(Stanza { rotate, ..stanza() }));
    let (signer, sign) = signers.get(old, 0);
    let (new_signer, new_sign) = signers.get(new.0, new.1);
    let own = Stanza { rotate, ..stanza() };
    world.actors[0] = Actor::with_signer(0, own, world.actors[0].server, (sign, old));
    let clients = world.actors.iter().map(Actor::enrolled);
    let registry = Registry::new(server_secret(), services(), clients).unwrap();
    let settings = world.settings.clone();
    world.reload(Arc::new(registry), settings);
    let wanted = ClientSecret::from_bytes(NEW_SEED).public().with_signer(new_sign, new.0);
    let ask = Ask { op: Op::Rekey(wanted), ..Ask::default() };
    let (ports, now) = (world.ports(world.now.unix_ms), world.now.unix_ms);
    let knock = world.actors[0].knock_proved(&ask, &ports, now, (signer, new_signer));
    world.know(&knock);
    let home = if new.1 == 0 { home4(0) } else { home6(0) };
    world.whole(&knock, home);
    let [(to, status, reason)] = world.answers(&knock)[..] else { panic!("no answer") };
    assert_eq!((to, status == Status::Granted), (home, reason == Reason::None));
    assert_eq!(world.replacements.len(), usize::from(reason == Reason::None));
    let change = ClientKeyChange { old: Some(world.actors[0].public), new: wanted };
    let kind = if reason == Reason::None { EventKind::Rekeyed } else { EventKind::Denied };
    let last = world.log.last().unwrap();
    assert_eq!((last.kind, last.reason, last.keys), (kind, reason, Some(change)));
    (reason, world)
}

/// One touch of a security key must not hand its client over to another key for good.
#[test]
fn p5_a_key_is_replaced_by_what_its_stanza_allows() {
    use KeyKind::{Ed25519, SecurityKey};
    let wanted = [(Ed25519, 0), (Ed25519, 1), (SecurityKey, 0), (SecurityKey, 1)];
    for (rotate, old, allowed) in [
        (None, Ed25519, [true, true, true, true]),
        (None, SecurityKey, [false, false, true, false]),
        (Some(Rotation::Never), Ed25519, [false; 4]),
        (Some(Rotation::Never), SecurityKey, [false; 4]),
        (Some(Rotation::Refresh), Ed25519, [true, false, false, false]),
        (Some(Rotation::Refresh), SecurityKey, [false, false, true, false]),
        (Some(Rotation::SameKind), Ed25519, [true, true, false, false]),
        (Some(Rotation::SameKind), SecurityKey, [false, false, true, true]),
        (Some(Rotation::Any), Ed25519, [true; 4]),
        (Some(Rotation::Any), SecurityKey, [true; 4]),
    ] {
        for (new, allowed) in wanted.into_iter().zip(allowed) {
            let expected = if allowed { Reason::None } else { Reason::Kind };
            assert_eq!(rekey(rotate, old, new).0, expected, "{rotate:?} {old:?} {new:?}");
        }
    }
}

/// A refreshed pair keeps its signing key, and another client's is still another's.
#[test]
fn a_signing_key_stays_its_clients() {
    let (reason, world) = rekey(None, KeyKind::SecurityKey, (KeyKind::SecurityKey, 0));
    assert_eq!(reason, Reason::None);
    let made = &world.replacements[0];
    assert_eq!((made.old.sign, made.old.kind), (made.new.sign, made.new.kind));
    assert_ne!(made.old.dh, made.new.dh);
    let mut world = World::new(Setup::default());
    // The X25519 half is another client's: a signing key of one's own does not help.
    let other = ClientSecret::from_bytes(NEW_SEED);
    world.actors[1] = Actor::with_signer(
        1,
        stanza(),
        world.actors[1].server,
        (world.actors[1].public.sign, KeyKind::Ed25519),
    );
    world.actors[1].public.dh = other.public().dh;
    let clients = world.actors.iter().map(Actor::enrolled);
    let registry = Registry::new(server_secret(), services(), clients).unwrap();
    let settings = world.settings.clone();
    world.reload(Arc::new(registry), settings);
    let own = &world.actors[0].secret;
    let wanted = other.public().with_signer(own.public().sign, KeyKind::Ed25519);
    let ask = Ask { op: Op::Rekey(wanted), ..Ask::default() };
    let (ports, now) = (world.ports(world.now.unix_ms), world.now.unix_ms);
    let knock = world.actors[0].knock_proved(&ask, &ports, now, (own, own));
    world.know(&knock);
    world.whole(&knock, home4(0));
    assert_eq!(world.answers(&knock), [(home4(0), Status::Denied, Reason::NewKeys)]);
}
