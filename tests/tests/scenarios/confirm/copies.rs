//! A man on the side who copies every datagram of an unbound client, and is faster.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use spa_tests::need_namespaces;
use spa_tests::probe::{Held, hold};
use spa_tests::raw::Forger;
use spa_tests::scene::both;
use spa_tests::tap::{Caught, Tap, outside};

use super::*;

/// Copies of each datagram, before and after the client's own.
const COPIES: usize = 5;
/// How long the client may take at most; an evicted track cost it more than five seconds.
const HELD_UP: Duration = Duration::from_secs(2);
/// The port of the first stage.
const FIRST_PORT: u16 = 40001;
/// The port of the last stage and of CONFIRMs.
const LAST_PORT: u16 = 40003;

/// Sources that a forger draws from.
const FORGED: u16 = 64;

/// What the copier has got, of each family.
#[derive(Default)]
struct Loot {
    connections: Vec<(Family, Held)>,
    /// Datagrams of the client that he has copied.
    copied: Vec<(Family, u16)>,
}

/// Sends copies ahead of each datagram of the client, behind it, and again those of before; takes a
/// connection as soon as a last stage of his was first.
fn copy_everything(house: &House, loot: &Arc<Mutex<Loot>>) -> Tap {
    let (stranger, server) = (house.net.stranger.clone(), house.net.server.clone());
    let loot = Arc::clone(loot);
    let mut seen: Vec<Caught> = Vec::new();
    Tap::start(&house.net, move |forger: &Forger, caught| {
        let family = Family::of(caught.source.ip());
        let thief: SocketAddr = stranger.at(family, 4444);
        let copy = |one: &Caught| forger.udp(thief, one.target, &one.payload);
        (0..COPIES).for_each(|_| copy(caught));
        let mut loot = loot.lock().unwrap();
        loot.copied.push((family, caught.target.port()));
        let has_one = loot.connections.iter().any(|(of, _)| *of == family);
        if caught.target.port() == LAST_PORT && !has_one {
            // His copy completed the session: he is let in, for now.
            loot.connections.push((family, hold(&stranger, server.at(family, SSH), PATIENCE)));
        }
        forger.udp(caught.source, caught.target, &caught.payload);
        (0..COPIES).for_each(|_| copy(caught));
        seen.push(Caught { payload: caught.payload.clone(), ..*caught });
        seen.iter().filter(|one| Family::of(one.source.ip()) == family).for_each(copy);
    })
}

/// P1. He has the door for the moment between his copy of the last stage and the client's CONFIRM;
/// his connection ends with it, and copies of the CONFIRM are worth nothing.
#[test]
fn p1_a_faster_copier_is_let_in_for_a_moment_and_the_client_for_its_time() {
    need_namespaces!();
    let house = House::new(|config| config);
    let loot = Arc::new(Mutex::new(Loot::default()));
    let tap = copy_everything(&house, &loot);
    both(|family| {
        house.scene.client.must_open("ssh", family, &[]);
        house.log_line("provisional", house.net.stranger.address(family));
        house.assert_let_in(family, outside(family));
    });
    let mut got = std::mem::take(&mut *loot.lock().unwrap());
    assert_eq!(got.connections.len(), 2, "he was let in over both families first");
    for (family, held) in &mut got.connections {
        assert!(!held.is_alive(SILENCE), "{family}: his connection goes on");
    }
    for family in Family::BOTH {
        let last = got.copied.iter().filter(|(of, port)| *of == family && *port == LAST_PORT);
        assert!(last.count() >= 2, "{family}: stage and CONFIRM were copied");
    }
    // All of it again, when everything is over.
    drop(tap);
    for family in Family::BOTH {
        house.assert_let_in(family, outside(family));
    }
    assert_eq!(house.scene.server.status()["knocks"]["granted"], 2);
}

/// P4. First stages again, in the names of many, ahead of and between the client's own: there is
/// one progress per session, and nothing of it can be pushed out.
#[test]
fn p4_forged_first_stages_in_between_hold_up_nobody() {
    need_namespaces!();
    for bound in [false, true] {
        let net = routed();
        if !bound {
            translate(&net);
        }
        let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh", "web"]);
        let house = House { scene, net };
        let mut first: [Option<Caught>; 2] = [None, None];
        let _tap = Tap::start(&house.net, move |forger: &Forger, caught| {
            let family = Family::of(caught.source.ip());
            let kept = &mut first[usize::from(family == Family::V6)];
            if caught.target.port() == FIRST_PORT {
                *kept = Some(Caught { payload: caught.payload.clone(), ..*caught });
            }
            let flood = || {
                for number in 0..FORGED {
                    let Some(one) = &*kept else { continue };
                    let forged = (spa_tests::bans::stranger(family, number), 4444).into();
                    forger.udp(forged, one.target, &one.payload);
                }
            };
            flood();
            forger.udp(caught.source, caught.target, &caught.payload);
            flood();
        });
        both(|family| {
            for _ in 0..5 {
                let begun = Instant::now();
                house.scene.client.must_open("ssh", family, &[]);
                // One resend is forgiven: packets may be lost in such a flood.
                assert!(
                    begun.elapsed() < HELD_UP,
                    "{family}, bound {bound}: {:?}",
                    begun.elapsed()
                );
            }
            let own = if bound { house.net.client.address(family) } else { outside(family) };
            house.assert_let_in(family, own);
        });
    }
}
