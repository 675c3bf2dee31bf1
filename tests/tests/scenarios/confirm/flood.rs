//! Copies without end of what a bound client has sent.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use spa_proto::danger::remac;
use spa_proto::random;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::need_namespaces;
use spa_tests::raw::Forger;
use spa_tests::scene::both;
use spa_tests::tap::{Caught, Tap};

use super::*;

/// First stages of the client that are sent again and again, the latest.
const KEPT: usize = 8;
/// The port of the first stage.
const FIRST_PORT: u16 = 40001;
/// Pause between two bursts of the flood.
const PAUSE: Duration = Duration::from_millis(4);
/// Openings of each family under each flood.
const OPENINGS: usize = 25;

/// P2. The copies cost the copier's share of what the client may begin, and never the client's own.
#[test]
fn p2_copies_of_a_bound_clients_first_stage_hold_up_nobody() {
    need_namespaces!();
    for per_second in [500, 5000] {
        let net = routed();
        let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
        let kept: Arc<Mutex<VecDeque<Caught>>> = Arc::default();
        let thieves = Family::BOTH.map(|family| net.stranger.at(family, 4444));
        let thief = move |one: &Caught| thieves[usize::from(one.source.is_ipv6())];
        let stages = Arc::clone(&kept);
        // Each is copied ahead of the client's own first.
        let _tap = Tap::start(&net, move |forger, caught| {
            if caught.target.port() == FIRST_PORT {
                forger.udp(thief(caught), caught.target, &caught.payload);
                let mut kept = stages.lock().unwrap();
                kept.push_back(Caught { payload: caught.payload.clone(), ..*caught });
                if kept.len() > KEPT {
                    kept.pop_front();
                }
            }
            forger.udp(caught.source, caught.target, &caught.payload);
        });
        let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let forger = Forger::new(&net.router);
                while !over.load(Ordering::Relaxed) {
                    let due = (begun.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
                    let kept = kept.lock().unwrap();
                    while !kept.is_empty() && sent.load(Ordering::Relaxed) < due {
                        let one = &kept[sent.fetch_add(1, Ordering::Relaxed) as usize % kept.len()];
                        forger.udp(thief(one), one.target, &one.payload);
                    }
                    drop(kept);
                    thread::sleep(PAUSE);
                }
            });
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                both(|family| {
                    for _ in 0..OPENINGS {
                        // Less than any budget allows, so that the flood alone could use it up.
                        let_pass(Duration::from_millis(150));
                        scene.client.must_open("ssh", family, &[]);
                    }
                });
            }));
            over.store(true, Ordering::Relaxed);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        let (sent, took) = (sent.into_inner(), begun.elapsed().as_secs_f64());
        assert!(sent as f64 > f64::from(per_second) * took * 0.7, "{sent} copies in {took} s");
        let status = scene.server.status();
        assert_eq!(status["knocks"]["granted"], 2 * OPENINGS, "{per_second}: {status}");
        assert_eq!(status["packets"]["over-budget"], 0, "{per_second}: {status}");
        let sources: Vec<IpAddr> = status["grants"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|grant| grant["source"].as_str()?.parse().ok())
            .collect();
        assert!(
            Family::BOTH.iter().all(|family| !sources.contains(&net.stranger.address(*family))),
            "{per_second}: {status}"
        );
    }
}

/// P3. Who has the psk alone makes no right mac. Who has the whole pair makes one, and uses up what
/// he may begin from where he is; from where the client was let in lately it has a share of its
/// own.
#[test]
fn p3_garbage_by_a_thief_of_the_psk_or_the_pair_holds_up_nobody() {
    need_namespaces!();
    for has_pair in [false, true] {
        let net = routed();
        let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
        both(|family| drop(scene.client.must_open("ssh", family, &[])));
        let knocker = Knocker::of(&scene.client);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for family in Family::BOTH {
                let (net, over, knocker) = (&net, &over, &knocker);
                scope.spawn(move || {
                    let thief = Sender::new(&net.stranger, &net.server, family);
                    let mut session = knocker.session("ssh");
                    let (begun, mut sent, mut made) = (Instant::now(), 0.0, Instant::now());
                    while !over.load(Ordering::Relaxed) {
                        // Its tag is right in this minute.
                        if made.elapsed() > Duration::from_secs(5) {
                            (session, made) = (knocker.session("ssh"), Instant::now());
                        }
                        while sent < begun.elapsed().as_secs_f64() * 500.0 {
                            sent += 1.0;
                            let (port, packet) = &session.packets()[0];
                            let mut garbage = packet.clone();
                            let noise: [u8; 64] = random().unwrap();
                            garbage[8..72].copy_from_slice(&noise);
                            if has_pair {
                                remac(knocker.parts().pair, &mut garbage);
                            }
                            thief.send(*port, &garbage);
                        }
                        thread::sleep(PAUSE);
                    }
                });
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                both(|family| {
                    for _ in 0..OPENINGS {
                        // Less than any budget allows, so that the flood alone could use it up.
                        let_pass(Duration::from_millis(150));
                        scene.client.must_open("ssh", family, &[]);
                    }
                });
            }));
            over.store(true, Ordering::Relaxed);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        let status = scene.server.status();
        let packets = &status["packets"];
        let many = |name: &str| packets[name].as_u64().unwrap_or_else(|| panic!("{packets}"));
        assert_eq!(status["knocks"]["granted"], 2 * (OPENINGS + 1), "{status}");
        if has_pair {
            assert!(many("not-authentic") > 100 && many("over-budget") > 1000, "{packets}");
            // Not one line in 0.1: nobody would have looked for a thief.
            scene.server.wait_log(&["event=over-budget", "client=laptop "]);
        } else {
            assert!(many("strangers") > 1000, "{packets}");
            assert_eq!((many("not-authentic"), many("over-budget")), (0, 0), "{packets}");
        }
    }
}
