//! What a world is made of: settings, clients' rights, services.

use std::sync::Arc;
use std::time::Duration;

use spa_proto::{HopKey, HopPlan, ServerSecret};
use spa_server::domain::grant::Scope;
use spa_server::engine::{Ports, ServiceTerms, Stanza};

/// 2026-11-23 12:00:00 UTC, a Monday, at the start of a tag epoch and of a hop epoch.
pub const START: u64 = 1_795_435_200_000;
pub const SECOND: Duration = Duration::from_secs(1);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a world is made of.
pub struct Setup {
    pub ports: Ports,
    pub stanzas: Vec<Stanza>,
    pub timeout: Duration,
    pub reorder: Duration,
    pub ack: bool,
    pub provisional: Duration,
    pub pair_age: Option<Duration>,
    pub mark_sequence: bool,
    pub start_ms: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            ports: Ports::Fixed(vec![7001, 7002, 7003]),
            stanzas: vec![stanza(); 3],
            timeout: Duration::from_secs(30),
            reorder: ms(200),
            ack: true,
            provisional: Duration::from_secs(10),
            pair_age: None,
            mark_sequence: false,
            start_ms: START + 5_000,
        }
    }
}

impl Setup {
    pub fn stages(n: u16) -> Self {
        Self { ports: Ports::Fixed((0..n).map(|i| 7001 + i).collect()), ..Self::default() }
    }

    pub fn hopping() -> Self {
        let plan = HopPlan::new(20_000, 30_000, 3, vec![(22_000, 22_010)]).unwrap();
        Self { ports: Ports::Hop(plan, HopKey::of_server(&server_secret())), ..Self::default() }
    }

    pub fn with(stanza: Stanza) -> Self {
        Self { stanzas: vec![stanza], ..Self::default() }
    }
}

/// May use `ssh`, `web` and `all`.
pub fn stanza() -> Stanza {
    Stanza { services: vec!["ssh".into(), "web".into(), "all".into()], ..Stanza::default() }
}

pub const SERVER_SEED: [u8; 32] = [77; 32];

pub fn server_secret() -> ServerSecret {
    ServerSecret::from_bytes(SERVER_SEED)
}

pub fn services() -> Vec<ServiceTerms> {
    let service = |name: &str, scope| ServiceTerms {
        name: name.into(),
        scope,
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(1800),
    };
    let ports = |text: &str| Scope::Ports(Arc::from([text.parse().unwrap()]));
    vec![
        service("ssh", ports("tcp/22")),
        service("web", ports("tcp/443")),
        service("other", ports("tcp/1")),
        service("all", Scope::All),
    ]
}
