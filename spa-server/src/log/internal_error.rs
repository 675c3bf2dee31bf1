//! States that ought to be impossible: logged, and counted for the figures.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Level, event};

/// Count of this process, the engine's among them.
static COUNT_SO_FAR: AtomicU64 = AtomicU64::new(0);
/// Lines of this process; then it is only counted, for a defect must not fill a disk.
const MAX_ERROR_LINES: u64 = 100;

/// Reports states that ought to be impossible; `place` names where.
pub fn report_internal_errors(place: &str, more: u64) {
    let count = COUNT_SO_FAR.fetch_add(more, Ordering::Relaxed).saturating_add(more);
    if more > 0 && count <= MAX_ERROR_LINES {
        event(Level::Error, "internal-error").with("place", place).number("count", count).emit();
    }
}

/// Number of them since the start.
pub fn internal_errors() -> u64 {
    COUNT_SO_FAR.load(Ordering::Relaxed)
}
