//! The age of a pair, and who is asked for new keys.

use std::sync::Arc;
use std::time::Duration;

use spa_proto::Op;
use spa_server::domain::rotation::Rotation;
use spa_server::engine::{RegisteredClient, Registry, Role, Stanza};

use crate::actors::{Actor, Ask, home4, home6};
use crate::world::{START, Setup, World, server_secret, services, stanza};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whether the answers to a knock ask for new keys, that to its CONFIRM included.
fn asks(since_ms: Option<u64>, age: Option<Duration>, stanza: &Stanza, ask: &Ask) -> Vec<bool> {
    let mut world = World::new(Setup { pair_age: age, ..Setup::with(stanza.clone()) });
    let clients = world.actors.iter().map(Actor::enrolled);
    let clients = clients.map(|client| RegisteredClient { since_ms, ..client });
    let registry = Registry::new(server_secret(), services(), clients).unwrap();
    let settings = world.settings.clone();
    world.reload(Arc::new(registry), settings);
    let home = if ask.bind_src.is_some() { home4(0) } else { home6(0) };
    let knock = world.go(0, ask, home);
    let acks = std::mem::take(&mut world.acks);
    acks.iter().map(|(_, bytes)| knock.session.open_ack(bytes).unwrap().0.rekey_wanted).collect()
}

#[test]
fn a_pair_of_age_is_asked_for() {
    let aged = Some(90 * DAY);
    let ago = |days: u64| Some(START - days * 24 * 3_600_000);
    for (since, age, wanted) in [
        (None, aged, true),
        (None, None, false),
        (ago(0), aged, false),
        (ago(89), aged, false),
        (ago(91), aged, true),
        (ago(2), Some(DAY), true),
        (ago(91), None, false),
        // A clock that was ahead when the pair was made.
        (Some(START + 1_000_000_000), aged, false),
    ] {
        for ask in [Ask::default(), Ask::bound(home4(0)), Ask { op: Op::Renew, ..Ask::default() }] {
            let told = asks(since, age, &stanza(), &ask);
            assert!(!told.is_empty() && told.iter().all(|asked| *asked == wanted), "{since:?}");
        }
    }
}

#[test]
fn who_may_not_change_its_keys_is_not_asked() {
    let aged = Some(DAY);
    let never = Stanza { rotate: Some(Rotation::Never), ..stanza() };
    assert!(asks(None, aged, &never, &Ask::default()).iter().all(|asked| !asked));
    for rotate in [Rotation::Refresh, Rotation::SameKind, Rotation::Any] {
        let stanza = Stanza { rotate: Some(rotate), ..stanza() };
        assert!(asks(None, aged, &stanza, &Ask::default()).iter().all(|asked| *asked));
    }
    // Former keys have a successor, and a refusal or a close is no moment for that.
    let former = Stanza { role: Role::Former { until_ms: u64::MAX }, ..stanza() };
    for (stanza, ask) in
        [(former, Ask::default()), (stanza(), Ask::close("ssh")), (stanza(), Ask::service("other"))]
    {
        let told = asks(None, aged, &stanza, &ask);
        assert!(!told.is_empty() && told.iter().all(|asked| !asked), "{told:?}");
    }
}
