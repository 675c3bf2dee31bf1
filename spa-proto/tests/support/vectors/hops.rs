//! The vectors of port hopping.

use spa_proto::{HopKey, HopPlan};

use super::{Vector, list};
use crate::support::{TS, World, hex};

/// Ports of a plan in an epoch; and plans that are refused.
pub fn vectors() -> Vec<Vector> {
    let mut out = Vec::new();
    let key = HopKey::of_server(&World::fixed().server);
    let hop_epoch = HopPlan::epoch_of(TS);
    let bait = vec![(41_000, 41_999), (42_222, 42_222)];
    for (name, comment, lo, hi, stages, exclude, at) in [
        (
            "example",
            "The worked example of the specification.",
            40_000,
            49_999,
            3,
            bait.clone(),
            hop_epoch,
        ),
        ("next", "Ten minutes later.", 40_000, 49_999, 3, bait, hop_epoch + 1),
        (
            "narrow",
            "64 ports, the fewest: duplicates are passed over.",
            50_000,
            50_063,
            8,
            vec![],
            7,
        ),
        ("all", "Every port; port 0 is never used.", 0, 65_535, 8, vec![], 0),
        ("holes", "Most of the range is excluded.", 1, 1000, 8, vec![(1, 900), (950, 970)], 1),
        ("too-narrow", "63 ports are left.", 50_000, 50_063, 3, vec![(50_000, 50_000)], 7),
        ("zero-excluded", "Port 0 does not count: 63 are left.", 0, 63, 3, vec![], 7),
        ("reversed-range", "lo above hi.", 50_063, 50_000, 3, vec![], 7),
        (
            "reversed-exclude",
            "An excluded range the wrong way round.",
            40_000,
            49_999,
            3,
            vec![(9, 8)],
            7,
        ),
        ("no-stage", "No stage.", 40_000, 49_999, 0, vec![], 7),
        ("nine-stages", "Nine stages.", 40_000, 49_999, 9, vec![], 7),
        ("255-stages", "255 stages.", 40_000, 49_999, 255, vec![], 7),
        ("one-port", "One port.", 50_000, 50_000, 1, vec![], 7),
        ("port-0", "Port 0 alone.", 0, 0, 1, vec![], 7),
        ("nothing-left", "Everything is excluded.", 40_000, 49_999, 3, vec![(1, 65_535)], 7),
        (
            "63-left",
            "63 ports are left in the middle.",
            1,
            1000,
            3,
            vec![(1, 500), (564, 999), (1000, 1000)],
            7,
        ),
        (
            "overlapping-excludes",
            "Overlapping ranges leave 63.",
            1,
            200,
            3,
            vec![(1, 100), (50, 137)],
            7,
        ),
        ("reversed-second", "The second range is reversed.", 1, 1000, 3, vec![(1, 9), (30, 20)], 7),
        (
            "reversed-outside",
            "Reversed, and outside of the range.",
            1,
            1000,
            3,
            vec![(9001, 9000)],
            7,
        ),
        ("reversed-by-one", "lo is hi and one.", 50_001, 50_000, 3, vec![], 7),
    ] {
        let ranges = list(exclude.iter().map(|(first, last)| format!("{first}-{last}")));
        let plan = HopPlan::new(lo, hi, stages, exclude);
        let vector =
            Vector::new("hop", name, comment, if plan.is_ok() { "ports" } else { "refused" })
                .with("hop-key", hex(key.to_bytes()))
                .with("lo", lo)
                .with("hi", hi)
                .with("stages", stages)
                .with("exclude", ranges)
                .with("hop-epoch", at);
        out.push(match plan {
            Ok(plan) => vector.with("ports", list(plan.ports(&key, at))),
            Err(_) => vector,
        });
    }
    out
}
