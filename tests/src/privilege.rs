//! Whether this process may make network namespaces, and what happens when it may not.

use std::io::Write;
use std::sync::OnceLock;

/// Runs the rest of the test only where namespaces can be made.
///
/// Without the right to make them the test fails in CI (`CI=true`), because a check that silently
/// does not run is worse than a red one. Elsewhere it says so and returns.
#[macro_export]
macro_rules! need_namespaces {
    () => {
        if !$crate::privilege::namespaces_or_skip(module_path!(), line!()) {
            return;
        }
    };
}

/// The body of [`need_namespaces!`].
pub fn namespaces_or_skip(place: &str, line: u32) -> bool {
    let reason = match missing() {
        None => return true,
        Some(reason) => reason,
    };
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        panic!("{place}:{line}: this test cannot run and CI must not skip it: {reason}");
    }
    // Not `eprintln!`, which the test runner hides when a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED {place}:{line}: {reason}");
    false
}

/// Why namespaces cannot be made here; nothing when they can.
fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<&'static str>> = OnceLock::new();
    *MISSING.get_or_init(|| {
        if !nix::unistd::geteuid().is_root() {
            return Some(
                "network namespaces need root; run `make test`, which uses sudo where it is \
                 allowed",
            );
        }
        // A namespace of the thread alone: nothing outside it changes.
        let allowed = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_ok()
        });
        match allowed.join() {
            Ok(true) => None,
            _ => Some(
                "this root may not make network namespaces (it lacks CAP_SYS_ADMIN, or the kernel \
                 has none)",
            ),
        }
    })
}
