//! Outcome of a knock.

use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use spa_proto::{Ack, Reason, Status};

use super::icmp::IcmpError;
use crate::clock;

/// Outcome of a knock for one service at one address.
pub(crate) struct Outcome {
    /// Index of the service in the plan.
    pub(crate) service: usize,
    /// The server's address.
    pub(crate) address: IpAddr,
    /// Our own, when packets could leave at all.
    pub(crate) local: Option<IpAddr>,
    /// Set when the knock was bound to our own address.
    pub(crate) bound: bool,
    /// Last error that the network has reported on its packets.
    pub(crate) icmp: Option<IcmpError>,
    /// Port that took a connection although nobody has answered.
    pub(crate) open_port: Option<u16>,
    /// The last answer, and how long it took.
    pub(crate) ack: Option<(Ack, Duration)>,
    /// Result.
    pub(crate) verdict: Verdict,
    /// Our clock minus the server's at the answer, milliseconds; half of the way to and fro is not
    /// known better.
    pub(crate) skew_ms: Option<i64>,
    /// Time of the result, by the clock that goes on while the machine sleeps.
    pub(crate) at: Duration,
    /// The connection that proved it, when one did.
    pub(crate) stream: Option<TcpStream>,
}

impl Outcome {
    /// Tells whether the server asks for new keys.
    pub(crate) fn wants_new_keys(&self) -> bool {
        self.ack.is_some_and(|(ack, _)| ack.rekey_wanted)
    }

    /// Notes the last answer.
    pub(super) fn note_answer(&mut self, ack: Ack, rtt: Duration) {
        self.ack = Some((ack, rtt));
        self.skew_ms = Some(clock::measure_offset(ack.server_ms));
        self.at = clock::read_boot_clock();
    }

    /// Makes the outcome of a knock that was silent until nobody waited for it any more,
    /// because another address was open.
    pub(crate) fn without_answer(service: usize, address: IpAddr) -> Self {
        Self {
            service,
            address,
            local: None,
            bound: false,
            icmp: None,
            open_port: None,
            ack: None,
            verdict: Verdict::Silence,
            skew_ms: None,
            at: clock::read_boot_clock(),
            stream: None,
        }
    }
}

/// Result of a knock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Open; the port, where there is one to test, takes connections.
    Open {
        /// Set when a connection proved it.
        probed: bool,
    },
    /// No answer, and the port takes connections all the same.
    NotHidden,
    /// Knocked; neither answer nor test exist, so nobody knows.
    Asked,
    /// Closed, as asked.
    Closed,
    /// Granted to another address than ours, and so closed again.
    Relayed {
        /// Set when the server has confirmed the close.
        closed: bool,
    },
    /// No answer to a knock that names our address, and the server sees us under another one.
    Translated,
    /// Granted, and connections are refused: nothing listens there.
    Refused,
    /// Granted, and connections stay unanswered.
    Unreachable,
    /// The server says no.
    Denied(Reason),
    /// The server finds our time stamp wrong: our clock minus its clock, milliseconds.
    Clock(i64),
    /// The server restarted and takes no knock for so many seconds more.
    Fence(u16),
    /// It has accepted later knocks of ours and takes none for so many seconds more.
    Floor(u16),
    /// The server cannot now.
    Busy(Reason),
    /// No answer.
    Silence,
    /// Nothing was sent, for this reason.
    NotSent(String),
}

impl Verdict {
    /// Makes the verdict of an answer that is no grant.
    pub(super) fn of_refusal(ack: &Ack) -> Self {
        match ack.status {
            Status::Busy => Self::Busy(ack.reason),
            Status::Stale if ack.reason == Reason::Fence => Self::Fence(ack.ttl_s),
            Status::Stale if ack.reason == Reason::Floor && ack.ttl_s > 0 => Self::Floor(ack.ttl_s),
            Status::Stale => Self::Clock(clock::measure_offset(ack.server_ms)),
            _ => Self::Denied(ack.reason),
        }
    }

    /// Returns true if the knock did what it was for.
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::NotHidden | Self::Asked | Self::Closed)
    }

    /// Ranks verdicts by how much they tell the user; the lowest tells most.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Open { .. } | Self::NotHidden | Self::Asked | Self::Closed => 0,
            Self::Relayed { .. } => 1,
            Self::Refused => 1,
            Self::Translated | Self::Unreachable => 2,
            Self::Denied(_) => 3,
            Self::Clock(_) => 4,
            Self::Fence(_) | Self::Floor(_) => 5,
            Self::Busy(_) => 6,
            Self::Silence => 7,
            Self::NotSent(_) => 8,
        }
    }

    /// Returns its word for JSON.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::NotHidden => "not-hidden",
            Self::Asked => "asked",
            Self::Closed => "closed",
            Self::Relayed { .. } => "relayed",
            Self::Translated => "translated",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Denied(reason) | Self::Busy(reason) => reason.word(),
            Self::Clock(_) => "clock",
            Self::Fence(_) => "fence",
            Self::Floor(_) => "floor",
            Self::Silence => "no-answer",
            Self::NotSent(_) => "not-sent",
        }
    }
}
