//! Somebody's script flushes the ruleset again and again.

use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};
use spa_tests::wait_until;

use super::*;

const EVERY: Duration = Duration::from_millis(100);
const FLUSHES: u32 = 100;
/// How soon the table must be whole again.
const REPAIR: Duration = Duration::from_secs(1);
const TTL: u64 = 300;

#[test]
fn the_ruleset_is_flushed_every_100_ms_for_ten_seconds() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let scene = Scene::ready(host, &net.client, &config(300), &["ssh"]);
    let knocker = Knocker::of(&scene.client);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let stop = AtomicBool::new(false);
    let mark = scene.server.log().mark();
    let (mut repairs, knocked, probed) = thread::scope(|scope| {
        let knocks = scope.spawn(|| knocks(&knocker, &net.client, host, &stop));
        let probes = scope.spawn(|| probes(&net.stranger, host, &stop));
        let begun = Instant::now();
        let mut repairs = Vec::new();
        for number in 1..=FLUSHES {
            nft::load(host, "flush ruleset");
            let flushed = Instant::now();
            let back = || Family::BOTH.iter().all(|family| grants(host, *family).len() == 1);
            assert!(wait_until(PATIENCE, back), "flush {number}: the grants do not come back");
            repairs.push(flushed.elapsed());
            // Paced as the script is that does it.
            thread::sleep((EVERY * number).saturating_sub(begun.elapsed()));
        }
        stop.store(true, Ordering::Relaxed);
        (repairs, knocks.join().unwrap(), probes.join().unwrap())
    });
    repairs.sort_unstable();
    let (median, longest) = (repairs[repairs.len() / 2], repairs[repairs.len() - 1]);
    eprintln!(
        "{FLUSHES} flushes, {knocked} knocks; whole again after {median:?}, {longest:?} at most, \
         seen through nft; a stranger came in {} of {} times, in {:?} of all",
        probed.open, probed.tried, probed.spent_open
    );
    // That each was repaired is seen above; one of them may have waited for a busy processor.
    assert!(median < REPAIR, "{median:?}");
    assert!(knocked > 3 && probed.tried > 10, "{knocked} knocks, {} probes", probed.tried);
    let restored =
        scene.server.log().wait_since(mark, &["level=warn", "event=firewall-restored", "grants=2"]);
    assert!(restored.contains("somebody else changed table inet spa"), "{restored}");
    both(|family| {
        // Each knock renews: what is left is of the last one, and never more than a ttl.
        assert!(grants(host, family)[0].expires <= Some(TTL), "{family}");
        assert!(scene.is_open(family, SSH), "{family}");
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
    });
}

/// A flush gives no grant more time.
#[test]
fn time_runs_on_through_flushes() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let scene = Scene::ready(host, &net.client, &config(6), &["ssh"]);
    let begun = Instant::now();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let opened = begun.elapsed();
    let over = || {
        nft::load(host, "flush ruleset");
        let whole = || nft::table_exists(host, "inet", "spa");
        assert!(wait_until(REPAIR, whole), "the table does not come back");
        Family::BOTH.iter().all(|family| grants(host, *family).is_empty())
    };
    // A table that is whole for a moment, and its grants not yet, must not count as the end.
    assert!(
        wait_until(PATIENCE, || over() && begun.elapsed() >= Duration::from_secs(6)),
        "never closes"
    );
    let lasted = begun.elapsed();
    assert!(lasted < opened + Duration::from_secs(6) + REPAIR, "{lasted:?} instead of 6 s");
    both(|family| assert!(scene.is_hidden(family, SSH), "{family}"));
}
