#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod editing;
mod reading;
mod rotated;

use super::Secret;
use super::edit::NewClient;

fn newcomer(name: &str) -> NewClient {
    NewClient {
        name: name.to_owned(),
        public: format!("spa1{name}"),
        psk: Secret::new(format!("SPA-PSK-1{}", name.to_uppercase())),
        services: vec!["ssh".to_owned()],
        from: Vec::new(),
        hours: None,
        expires: None,
        ttl: None,
        max_ttl: None,
        max_grants: None,
        grant_prefix_v4: None,
        grant_prefix_v6: None,
        third_party: false,
        rotate: None,
        sequence: crate::config::Stages::Fixed(vec![888, 555, 222]),
    }
}
