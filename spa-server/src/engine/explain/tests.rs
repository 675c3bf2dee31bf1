#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::sync::Arc;

use proptest::prelude::*;
use spa_proto::{Body, ClientSecret, Flags, Op, Psk, Reason, ServerSecret, service_id};

use super::*;
use crate::config::Hours;
use crate::domain::grant::Scope;
use crate::engine::RegisteredClient;

/// 2026-11-23 00:00 UTC, a Monday.
const MONDAY_MS: u64 = 1_795_392_000_000;
const HOUR_MS: u64 = 3_600_000;

fn service(name: &str) -> ServiceTerms {
    ServiceTerms {
        name: name.into(),
        scope: Scope::All,
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(3600),
    }
}

fn registry(stanza: &Stanza) -> Registry {
    let client = RegisteredClient {
        name: "laptop".to_owned(),
        public: ClientSecret::generate().unwrap().public(),
        psk: Psk::generate().unwrap(),
        stanza: stanza.clone(),
        since_ms: None,
        kem: None,
    };
    Registry::new(ServerSecret::generate().unwrap(), vec![service("ssh"), service("web")], [client])
        .unwrap()
}

fn situation() -> Situation {
    Situation {
        fence_ms: 0,
        floor_ms: 0,
        clock_behind: false,
        live: 0,
        renews: false,
        ban: None,
        authenticated: Authenticated::Pardon,
        protection: "as it is".to_owned(),
        zone: TimeZone::UTC,
    }
}

fn query(service: &'static str, from: Option<&str>) -> KnockQuery<'static> {
    KnockQuery {
        client: "laptop",
        service,
        from: from.map(|text| text.parse().unwrap()),
        wanted: None,
        ttl: None,
        at_ms: MONDAY_MS + 12 * HOUR_MS,
    }
}

fn body(name: &str, ts_ms: u64, for_addr: Option<IpAddr>, ttl_s: u16) -> Body {
    Body {
        ts_ms,
        ttl_s,
        service: service_id(name),
        op: Op::Open,
        flags: Flags::default(),
        bind_src: None,
        for_addr,
    }
}

/// The rule that gives a knock this reason.
fn rule_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Expired => "expires",
        Reason::ForAddr => "third-party",
        other => other.word(),
    }
}

fn stanzas() -> impl Strategy<Value = Stanza> {
    let services =
        prop::sample::subsequence(vec![Arc::<str>::from("ssh"), Arc::from("web")], 0..=2);
    let from = prop::sample::subsequence(
        vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/48".parse().unwrap()],
        0..=2,
    );
    let hours = prop::option::of(prop::sample::select(vec![
        "Mon-Fri 08:00-18:00",
        "22:00-06:00",
        "Sat 00:00-24:00",
    ]));
    let time = || prop::option::of((1_u64..5000).prop_map(Duration::from_secs));
    let expires = prop::option::of(
        (0_u64..14 * 24).prop_map(|hours| MONDAY_MS - 24 * HOUR_MS + hours * HOUR_MS / 2),
    );
    let bits = (prop::option::of(16_u8..=32), prop::option::of(32_u8..=128), any::<bool>());
    (services, from, hours, expires, time(), time(), bits).prop_map(
        |(services, from, hours, expires_ms, ttl, max_ttl, (prefix_v4, prefix_v6, third_party))| {
            Stanza {
                services,
                from,
                hours: hours.map(|text| Hours::parse(text, &TimeZone::UTC).unwrap()),
                expires_ms,
                ttl,
                max_ttl,
                max_grants: None,
                prefix_v4,
                prefix_v6,
                third_party,
                ..Stanza::default()
            }
        },
    )
}

proptest! {
    /// Whatever the stanza and the request: the same verdict, the same first rule, the same time and network as a knock gets.
    #[test]
    fn says_what_is_decided(
        stanza in stanzas(),
        name in prop::sample::select(vec!["ssh", "web", "smtp"]),
        source in prop::sample::select(vec!["192.0.2.7", "198.51.100.7", "2001:db8::7", "2001:db8:1::7"]),
        wanted_text in prop::option::of(prop::sample::select(vec![
            "192.0.2.7", "192.0.2.9", "198.51.100.7", "2001:db8::7", "2001:db8:1::9", "127.0.0.1", "ff02::1",
        ])),
        ttl_s in prop::option::of(1_u16..6000),
        at_ms in (0_u64..8 * 24 * 60).prop_map(|minutes| MONDAY_MS + minutes * HOUR_MS / 60),
    ) {
        let source: IpAddr = source.parse().unwrap();
        let registry = registry(&stanza);
        let wanted = registry.service_named(name).cloned();
        let for_addr: Option<IpAddr> = wanted_text.map(|text| text.parse().unwrap());
        let body = body(name, at_ms, for_addr, ttl_s.unwrap_or(0));
        let decided = stanza.decide(wanted.as_deref(), &body, source, at_ms);
        let ttl = ttl_s.map(|seconds| Duration::from_secs(seconds.into()));
        let query = KnockQuery { client: "laptop", service: name, from: Some(source), wanted: for_addr, ttl, at_ms };
        let explained = explain(&registry, &query, &situation());
        prop_assert_eq!(decided.as_ref().ok().map(|permit| permit.ttl), explained.ttl);
        match decided {
            Ok(permit) => {
                prop_assert!(explained.rules.iter().all(|rule| rule.says == Says::Yes));
                prop_assert_eq!(explained.network, Some(permit.granted_network()));
            }
            Err(reason) => prop_assert_eq!(explained.refused_by().unwrap().name, rule_of(reason)),
        }
    }
}

fn refused_by(
    situation: &Situation,
    query: &KnockQuery<'_>,
    stanza: &Stanza,
) -> Option<&'static str> {
    explain(&registry(stanza), query, situation).refused_by().map(|rule| rule.name)
}

fn stanza() -> Stanza {
    Stanza { services: vec!["ssh".into()], max_grants: Some(2), ..Stanza::default() }
}

#[test]
fn what_is_beside_the_stanza() {
    let here = query("ssh", Some("192.0.2.7"));
    let refused = |situation: Situation| refused_by(&situation, &here, &stanza());
    let ban = |until_ms| Some(("192.0.2.7/32".parse().unwrap(), until_ms));
    let (at_ms, strict) = (here.at_ms, Authenticated::Strict);
    assert_eq!(refused(situation()), None);
    assert_eq!(refused(Situation { fence_ms: at_ms, ..situation() }), Some("fence"));
    assert_eq!(refused(Situation { fence_ms: at_ms - 1, ..situation() }), None);
    assert_eq!(refused(Situation { floor_ms: at_ms, ..situation() }), Some("floor"));
    assert_eq!(refused(Situation { floor_ms: at_ms - 1, ..situation() }), None);
    assert_eq!(refused(Situation { live: 2, ..situation() }), Some("max-grants"));
    assert_eq!(refused(Situation { live: 2, renews: true, ..situation() }), None);
    assert_eq!(refused(Situation { live: 1, ..situation() }), None);
    assert_eq!(refused(Situation { ban: ban(at_ms + 1), ..situation() }), None);
    assert_eq!(
        refused(Situation { ban: ban(at_ms + 1), authenticated: strict, ..situation() }),
        Some("ban")
    );
    assert_eq!(refused(Situation { ban: ban(at_ms), authenticated: strict, ..situation() }), None);
}

#[test]
fn without_an_address_it_depends() {
    let stanza = Stanza { from: vec!["192.0.2.0/24".parse().unwrap()], ..stanza() };
    let out = explain(&registry(&stanza), &query("ssh", None), &situation());
    let depends: Vec<_> =
        out.rules.iter().filter(|rule| rule.says == Says::Depends).map(|rule| rule.name).collect();
    assert_eq!((depends, out.ttl), (vec!["from", "ban"], Some(Duration::from_secs(600))));
}

#[test]
fn nobody_is_no_client() {
    let nobody = KnockQuery { client: "nobody", ..query("ssh", None) };
    let out = explain(&registry(&stanza()), &nobody, &situation());
    assert_eq!((out.rules.len(), out.refused_by().unwrap().name), (1, "client"));
}

#[test]
fn what_is_asked_for() {
    let other = |from, wanted: &str| KnockQuery {
        wanted: Some(wanted.parse().unwrap()),
        ..query("ssh", from)
    };
    let wide = Stanza { prefix_v4: Some(20), third_party: true, ..stanza() };
    let network = |stanza: &Stanza, query: &KnockQuery<'_>| {
        explain(&registry(stanza), query, &situation()).network.map(|network| network.to_string())
    };
    let alone = Some("192.0.23.8/32".to_owned());
    assert_eq!(network(&wide, &query("ssh", Some("192.0.23.7"))).as_deref(), Some("192.0.16.0/20"));
    assert_eq!(network(&wide, &other(Some("192.0.23.7"), "192.0.23.8")), alone);
    assert_eq!(network(&stanza(), &other(None, "192.0.23.8")), alone);
    // Its own address or another's: not told, so not known.
    assert_eq!(network(&wide, &other(None, "192.0.23.8")), None);
    assert_eq!(network(&wide, &query("ssh", None)), None);
    let out = explain(&registry(&stanza()), &other(None, "192.0.23.8"), &situation());
    let says = |name: &str| out.rules.iter().find(|rule| rule.name == name).map(|rule| rule.says);
    assert_eq!((says("third-party"), says("ban")), (Some(Says::Depends), Some(Says::Yes)));
    let hour = KnockQuery { ttl: Some(Duration::from_secs(3601)), ..query("ssh", None) };
    assert_eq!(refused_by(&situation(), &hour, &stanza()), Some("ttl"));
    let inside = Stanza { from: vec!["192.0.2.0/24".parse().unwrap()], ..wide };
    assert_eq!(refused_by(&situation(), &other(None, "192.0.23.8"), &inside), Some("from"));
}
