//! Somebody else changes the tables: ours come back, theirs stay.

use super::*;

#[test]
fn flush_ruleset_with_live_grants() {
    need_namespaces!();
    const TTL: u64 = 8;
    let net = lan();
    let host = &net.server;
    let scene = Scene::ready(host, &net.client, &config(8), &["ssh"]);
    let whole = table(host, "spa").unwrap();
    let begun = Instant::now();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let mut held = Family::BOTH.map(|family| hold(&net.client, host.at(family, SSH), PATIENCE));
    both(|family| {
        run_down(host, family, TTL - 2);
    });

    let mark = scene.server.log().mark();
    let before = Family::BOTH.map(|family| left(host, family).unwrap());
    nft::load(host, "flush ruleset");
    let flushed = Instant::now();
    let back = || Family::BOTH.map(|family| left(host, family));
    assert!(
        wait_until(PATIENCE, || back().iter().all(Option::is_some)),
        "the grants do not come back"
    );
    let took = flushed.elapsed();
    assert!(took < REPAIR, "it took {took:?}");
    for (before, after) in before.into_iter().zip(back()) {
        // Never more than there was, and not much less: two looks and whole seconds lie between.
        let after = after.unwrap();
        assert!(
            after <= before && after + 2 >= before,
            "{before} s were left before, {after} s after"
        );
    }
    assert_eq!(table(host, "spa").unwrap(), whole);
    scene.server.log().wait_since(mark, &["event=firewall-restored", "grants=2"]);
    assert!(held.iter_mut().all(|held| held.is_alive(PATIENCE)), "connections were cut");
    hidden(&scene, &net.stranger);
    both(|family| assert!(scene.is_open(family, SSH), "{family}"));

    assert!(wait_until(PATIENCE, || back() == [None, None]), "never closes");
    let lasted = begun.elapsed();
    assert!(lasted < Duration::from_secs(TTL) + REPAIR, "{lasted:?} instead of {TTL} s");
    hidden(&scene, &net.client);
}

#[test]
fn foreign_tables_are_never_touched() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    nft::load(host, FOREIGN);
    let foreign = table(host, "foreign").unwrap();
    let scene = Scene::ready(host, &net.client, &config(60), &["ssh"]);
    let whole = table(host, "spa").unwrap();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    // As nftables.service and its kin do it: everything away and the own rules back, in one
    // transaction.
    let reload = format!("flush ruleset\n{FOREIGN}");
    for damage in ["delete table inet spa", &reload, "flush chain inet spa input"] {
        nft::load(host, damage);
        let good =
            || table(host, "spa").as_ref() == Some(&whole) && grant(host, Family::V6).is_some();
        assert!(wait_until(REPAIR, good), "not repaired: {damage}");
        assert_eq!(table(host, "foreign").unwrap(), foreign, "{damage}");
    }
    // What is foreign and gone stays gone.
    nft::load(host, "flush ruleset");
    assert!(wait_until(REPAIR, || table(host, "spa").as_ref() == Some(&whole)), "not repaired");
    assert_eq!(table(host, "foreign"), None);
    both(|family| assert!(scene.is_open(family, SSH), "{family}"));
}

#[test]
fn every_damage_is_repaired() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let config = config(300)
        .bait("trap", "ports = [\"tcp/23\"]\nban = \"60s\"")
        .set("ban.never", "[\"10.0.0.0/8\"]");
    let scene = Scene::ready(host, &net.client, &config, &["ssh"]);
    let whole = table(host, "spa").unwrap();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let live = |host: &Host| {
        let sets = ["grant4", "grant6", "live4", "live6"];
        sets.map(|set| {
            let elements = nft::elements(host, "inet", "spa", set).unwrap_or_default();
            elements
                .into_iter()
                .map(|element| (element.key, element.expires.is_some()))
                .collect::<Vec<_>>()
        })
    };
    let granted = live(host);
    assert!(granted.iter().all(|set| set.len() == 1), "{granted:?}");

    let rules = nft::json(host, &["list", "chain", "inet", "spa", "input"]).unwrap();
    let handles: Vec<u64> =
        rules.iter().filter_map(|item| item["rule"]["handle"].as_u64()).collect();
    let first_rule = format!("delete rule inet spa input handle {}", handles[0]);
    let damages = [
        "delete table inet spa",
        first_rule.as_str(),
        "flush chain inet spa input",
        "flush chain inet spa pre",
        "flush chain inet spa bait",
        "flush chain inet spa out; delete chain inet spa out",
        "insert rule inet spa input accept",
        "add rule inet spa input drop",
        "add chain inet spa input { policy drop; }",
        "add chain inet spa foreign { type filter hook input priority 50; policy drop; }",
        "add table inet spa { flags dormant; }",
        "flush set inet spa grant4",
        "flush set inet spa grant6; flush set inet spa live6",
        "flush set inet spa protected_tcp",
        "delete element inet spa protected_tcp { 22 }",
        "add element inet spa protected_tcp { 8080 }",
        "flush set inet spa knock",
        "add element inet spa never4 { 203.0.113.0/24 }",
        "add set inet spa more { type ipv4_addr; }",
        "add chain inet spa more; add rule inet spa input jump more",
    ];
    for damage in damages {
        nft::load(host, damage);
        let good = || table(host, "spa").as_ref() == Some(&whole) && live(host) == granted;
        assert!(wait_until(PATIENCE, good), "not repaired: {damage}\n{:#?}", table(host, "spa"));
        assert!(grant(host, Family::V4).unwrap().expires < Some(300), "{damage}: a whole new time");
    }
    hidden(&scene, &net.stranger);
    both(|family| {
        assert!(scene.is_open(family, SSH), "{family}");
        scene.client.must_open("ssh", family, &[]);
    });
}
