//! Port hopping.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proptest::prelude::*;
use spa_proto::{HopError, HopKey, HopPlan, ServerSecret};
use support::{counted, random};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn ports_are_distinct_in_range_allowed_and_repeatable(
        lo: u16, hi: u16, stages in 1u8..=8, key: [u8; 32], hop_epoch: u64,
        exclude in prop::collection::vec((any::<u16>(), 0u16..3000), 0..6),
    ) {
        let exclude: Vec<(u16, u16)> = exclude.into_iter().map(|(a, n)| (a, a.saturating_add(n))).collect();
        let allowed = |port: u16| port != 0 && !exclude.iter().any(|(a, b)| *a <= port && port <= *b);
        let free = (lo..=hi).filter(|port| allowed(*port)).count();
        match HopPlan::new(lo, hi, stages, exclude.clone()) {
            Err(error) => {
                prop_assert!(free < 64);
                prop_assert_eq!(error, HopError::Narrow(free));
            }
            Ok(plan) => {
                prop_assert!(free >= 64);
                let ports = plan.ports(&HopKey::from_bytes(key), hop_epoch);
                prop_assert_eq!(ports.len(), usize::from(stages));
                for (i, port) in ports.iter().enumerate() {
                    prop_assert!(lo <= *port && *port <= hi && allowed(*port) && !ports[..i].contains(port));
                }
                prop_assert_eq!(&ports, &plan.ports(&HopKey::from_bytes(key), hop_epoch));
                // Fewer stages hop over the same ports: a stage does not depend on later ones.
                let fewer = HopPlan::new(lo, hi, 1, exclude).unwrap().ports(&HopKey::from_bytes(key), hop_epoch);
                prop_assert_eq!(fewer[0], ports[0]);
            }
        }
    }
}

#[test]
fn golden_ports() {
    let key = HopKey::of_server(&ServerSecret::from_bytes(counted(0)));
    let plan = HopPlan::new(40_000, 49_999, 3, vec![(41_000, 41_999), (42_222, 42_222)]).unwrap();
    assert_eq!(plan.ports(&key, 2_945_376), [40_788, 43_987, 46_274]);
    assert_eq!(plan.ports(&key, 2_945_377), [45_038, 45_957, 46_987]);
}

#[test]
fn narrow_plans_are_refused() {
    assert!(HopPlan::new(1000, 1063, 8, vec![]).is_ok());
    assert_eq!(HopPlan::new(1000, 1062, 8, vec![]), Err(HopError::Narrow(63)));
    assert_eq!(HopPlan::new(1000, 1063, 8, vec![(1063, 1063)]), Err(HopError::Narrow(63)));
    assert_eq!(HopPlan::new(0, 63, 1, vec![]), Err(HopError::Narrow(63)));
    assert_eq!(HopPlan::new(1, 65_535, 3, vec![(0, 65_535)]), Err(HopError::Narrow(0)));
    assert_eq!(HopPlan::new(2, 1, 3, vec![]), Err(HopError::Narrow(0)));
    assert_eq!(HopPlan::new(1, 65_535, 0, vec![]), Err(HopError::Stages(0)));
    assert_eq!(HopPlan::new(1, 65_535, 9, vec![]), Err(HopError::Stages(9)));
    assert_eq!(HopPlan::new(1, 65_535, 3, vec![(6000, 5000)]), Err(HopError::Reversed(6000, 5000)));
}

/// Epochs and keys give other ports: of 1000 epochs hardly two share all three.
#[test]
fn ports_change_with_epoch_and_key() {
    let plan = HopPlan::new(1024, 65_535, 3, vec![]).unwrap();
    let key = HopKey::from_bytes(random());
    let all: std::collections::HashSet<Vec<u16>> =
        (0..1000).map(|epoch| plan.ports(&key, epoch)).collect();
    assert!(all.len() > 995, "{}", all.len());
    assert_ne!(plan.ports(&key, 1), plan.ports(&HopKey::from_bytes(random()), 1));
    assert_eq!(HopPlan::epoch_of(599_999), 0);
    assert_eq!(HopPlan::epoch_of(600_000), 1);
}

/// Ten tag epochs are one hop epoch, so a packet's tag tells the server which ports it was made
/// for.
#[test]
fn hop_epoch_follows_from_the_tag_epoch() {
    for ms in [0, 59_999, 600_000, support::TS, u64::MAX] {
        assert_eq!(HopPlan::epoch_of(ms), spa_proto::epoch_of(ms) / 10);
    }
}

/// Eight stages among 64 ports meet again in a third of all epochs: later stages must move on.
#[test]
fn stages_never_share_a_port() {
    let plan = HopPlan::new(50_000, 50_063, 8, vec![]).unwrap();
    let key = HopKey::from_bytes(random());
    for epoch in 0..500 {
        let ports: std::collections::HashSet<u16> = plan.ports(&key, epoch).into_iter().collect();
        assert_eq!(ports.len(), 8, "epoch {epoch}");
    }
}
