//! The target that `SPA_FUZZ` names, under libFuzzer.
#![no_main]
#![allow(unsafe_code, reason = "the macro exports libFuzzer's entry")]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    let run = TARGET.get_or_init(|| {
        let name = std::env::var("SPA_FUZZ").unwrap_or_default();
        let found = spa_fuzz::TARGETS.iter().find(|(known, _)| *known == name);
        let Some((_, run)) = found else {
            eprintln!("SPA_FUZZ must name one of these targets:");
            spa_fuzz::TARGETS.iter().for_each(|(name, _)| eprintln!("  {name}"));
            std::process::exit(2);
        };
        *run
    });
    run(data);
});
