//! Exit codes of all our commands.

/// Done.
pub const OK: u8 = 0;
/// It failed, or the server said no.
pub const FAILURE: u8 = 1;
/// Wrong command line.
pub const USAGE: u8 = 2;
/// Knocked, but the service is not reachable or nothing answered; for control commands: the daemon
/// does not run.
pub const UNREACHABLE: u8 = 3;
/// Nothing was sent.
pub const NOTHING_SENT: u8 = 4;
/// Not permitted (`EX_NOPERM` of sysexits.h).
pub const PERMISSION: u8 = 77;
/// A configuration, key or enrolment file is wrong (`EX_CONFIG` of sysexits.h).
pub const CONFIG: u8 = 78;
