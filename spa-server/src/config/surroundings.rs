//! Surroundings that a configuration depends on besides its text: handed in, so that reading it is
//! a function.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jiff::tz::TimeZone;
use spa_keys::Failure;

use crate::domain::ports::PortRange;

/// The text form of a key, to be checked by whoever knows keys.
#[derive(Clone, Copy)]
pub enum KeyText<'a> {
    /// A client's public key, `spa1…`.
    Public(&'a str),
    /// A pair key, `SPA-PSK-1…`.
    Psk(&'a str),
}

/// Checks a key. The error is shown to the operator: it must not repeat a secret.
pub type KeyCheck<'a> = &'a dyn Fn(KeyText<'_>) -> Result<(), Failure>;

/// Reads a file with secrets.
pub type ReadSecret<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// A part of a hook, to be looked at by whoever runs hooks.
#[derive(Clone, Copy)]
pub enum HookPart<'a> {
    /// Program, an absolute path.
    Program(&'a Path),
    /// The user that it runs as.
    User(&'a str),
    /// No user is named: it would run as the server does.
    NoUser,
}

/// Checks whether this host could run a hook.
pub type HookCheck<'a> = &'a dyn Fn(HookPart<'_>) -> Result<(), Failure>;

/// The surroundings of a configuration.
pub struct Surroundings<'a> {
    /// `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
    pub credentials: Option<PathBuf>,
    /// `$STATE_DIRECTORY`.
    pub state: Option<PathBuf>,
    /// `$RUNTIME_DIRECTORY`.
    pub runtime: Option<PathBuf>,
    /// The kernel's `net.ipv4.ip_local_port_range`.
    pub local_ports: Option<PortRange>,
    /// The server's time zone, for hours and expiry.
    pub zone: TimeZone,
    /// Checks keys.
    pub check_key: KeyCheck<'a>,
    /// Looks at hooks.
    pub check_hook: HookCheck<'a>,
    /// Opens the clients' file.
    pub read_secret: ReadSecret<'a>,
    /// True for `spa-server check`, which runs outside the unit: a credential that is not at hand
    /// is a note then, not an error.
    pub check_only: bool,
    /// Unix milliseconds, for findings about what has ended; `None`: those are left out.
    pub now_ms: Option<u64>,
}

impl Surroundings<'static> {
    /// Nothing set, UTC, every key and hook taken.
    #[must_use]
    pub fn none() -> Self {
        Self {
            credentials: None,
            state: None,
            runtime: None,
            local_ports: None,
            zone: TimeZone::UTC,
            check_key: &|_| Ok(()),
            check_hook: &|_| Ok(()),
            read_secret: &|path| std::fs::read(path),
            check_only: false,
            now_ms: None,
        }
    }

    /// Those of this process; keys and files are still unchecked. Range and zone are looked up
    /// once: the listener cannot open them any more when it reloads.
    #[must_use]
    pub fn of_process() -> Self {
        static LOCAL_PORTS: OnceLock<Option<PortRange>> = OnceLock::new();
        static SYSTEM_ZONE: OnceLock<TimeZone> = OnceLock::new();
        // systemd joins several folders with colons; ours has one.
        let folder = |name: &str| {
            let value = std::env::var(name).ok()?;
            value.split(':').next().filter(|first| !first.is_empty()).map(PathBuf::from)
        };
        Self {
            credentials: folder("CREDENTIALS_DIRECTORY"),
            state: folder("STATE_DIRECTORY"),
            runtime: folder("RUNTIME_DIRECTORY"),
            local_ports: *LOCAL_PORTS.get_or_init(local_ports),
            zone: SYSTEM_ZONE.get_or_init(TimeZone::system).clone(),
            ..Self::none()
        }
    }
}

/// proc_sys_net_ipv4(5): two numbers.
fn local_ports() -> Option<PortRange> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_ascii_whitespace().map(|n| n.parse().ok());
    let (first, last) = (numbers.next()??, numbers.next()??);
    (first <= last).then_some(PortRange { first, last })
}
