//! Counts in place of log lines: strangers' packets can never fill a disk.

/// Packets since the start, by where they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All datagrams.
    pub datagrams: u64,
    /// Shorter than 144 or longer than 1232 bytes.
    pub wrong_length: u64,
    /// For no address of this host, or from none of another.
    pub wrong_address: u64,
    /// No client has this tag now.
    pub unknown_tag: u64,
    /// A live tag at the port of another stage.
    pub wrong_port: u64,
    /// A live tag, a wrong mac.
    pub wrong_mac: u64,
    /// A client above its packet budget.
    pub over_budget: u64,
    /// Past the gate but not openable: another session key, a bad point, a malformed body.
    pub not_authentic: u64,
    /// Copies of datagrams that were refused before.
    pub refused_again: u64,
    /// Authentic, with a wrong signature.
    pub bad_signature: u64,
    /// Packets of spent sessions.
    pub replayed: u64,
    /// Duplicates, late or foreign packets of sessions in progress.
    pub ignored: u64,
    /// Stage packets accepted.
    pub stages: u64,
    /// CONFIRMs that counted.
    pub confirms: u64,
    /// Sessions granted; an unbound one when it is confirmed.
    pub granted: u64,
    /// Sessions refused by policy.
    pub denied: u64,
    /// Sessions outside the window or behind the fence.
    pub stale: u64,
    /// Sessions that failed for firewall or store.
    pub failed: u64,
    /// States that the engine holds to be impossible; anything but 0 is a bug.
    pub internal_errors: u64,
}

impl Counters {
    /// Packets that no key of ours made.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.wrong_length + self.wrong_address + self.unknown_tag + self.wrong_mac
    }
}
