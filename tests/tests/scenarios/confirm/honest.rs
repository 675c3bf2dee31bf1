//! Without anybody in between.

use spa_tests::daemon::Client;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::need_namespaces;
use spa_tests::scene::both;
use spa_tests::tap::{inside, outside, translate_to};

use super::*;

/// Another address of the router, to which it translates the client later.
fn moved(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([192, 0, 2, 253]),
        Family::V6 => IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfd]),
    }
}

/// Gives the router its other address on the server's side.
fn add_moved_addresses(net: &Routed) {
    net.router.ip(&[
        &format!("address add {}/32 dev server", moved(Family::V4)),
        // Deprecated: it is used where the translator says so, and nowhere else.
        &format!("address add {}/128 dev server nodad preferred_lft 0", moved(Family::V6)),
    ]);
}

#[test]
fn a_client_behind_a_router_is_let_in_for_the_whole_time() {
    need_namespaces!();
    let house = House::new(|config| config);
    both(|family| {
        let json = house.scene.client.must_open("ssh", family, &[]);
        let told = &json["services"][0]["families"][0]["observed"];
        assert_eq!(*told, outside(family).to_string(), "{json}");
        let moment = house.log_line("provisional", outside(family));
        assert!(moment.contains("ttl=10s"), "{moment}");
        let lasting = house.log_line("granted", outside(family));
        assert!(lasting.contains("ttl=60s"), "{lasting}");
        house.assert_let_in(family, outside(family));
    });
    // Each counts once, and the record knows nothing of the moments.
    assert_eq!(house.scene.server.status()["knocks"]["granted"], 2);
    let record = house.scene.server.control(&["audit", "--json"]);
    let record: Value = serde_json::from_slice(&record.stdout).unwrap();
    assert_eq!(record["entries"].as_array().unwrap().len(), 2, "{record}");
}

/// The router gets another address: what was confirmed stays with the old one, the next knock opens
/// for the new one, and a close that knows neither ends both.
#[test]
fn a_grant_follows_the_confirmed_address_and_a_close_ends_them_all() {
    need_namespaces!();
    let house = House::new(|config| config);
    add_moved_addresses(&house.net);
    both(|family| {
        house.scene.client.must_open("ssh", family, &[]);
        house.assert_let_in(family, outside(family));
        translate_to(&house.net, family, &format!("snat to {}", moved(family)));
        assert!(house.scene.is_hidden(family, SSH), "{family}: the old address is let in only");
        house.scene.client.must_open("ssh", family, &[]);
        assert!(house.scene.is_open(family, SSH), "{family}");
        let mut sources: Vec<IpAddr> = house.grants(family).iter().map(|row| row.0).collect();
        sources.sort();
        assert_eq!(sources, [moved(family), outside(family)], "{family}");

        house.scene.client.must_open("web", family, &[]);
        let mut close = house.scene.client.command("spa-client");
        let closed = close.args(["close", "ssh@server", family.switch()]).output().unwrap();
        assert!(closed.status.success(), "{family}: {closed:?}");
        let left: Vec<IpAddr> = house.grants(family).iter().map(|row| row.0).collect();
        assert_eq!(left, [moved(family)], "{family}: the grant for another service stays");
        assert!(house.scene.is_hidden(family, SSH), "{family}");
        translate_to(&house.net, family, "masquerade");
        assert!(house.scene.is_hidden(family, SSH), "{family}: and from the address of before");
    });
}

/// Nobody can confirm: the knock is good for the whole time at once.
#[test]
fn a_server_that_never_answers_opens_for_the_whole_time_behind_a_router() {
    need_namespaces!();
    let house = House::new(|config| config.set("server.ack", "\"off\""));
    both(|family| {
        house.scene.client.must_open("ssh", family, &[]);
        house.assert_let_in(family, outside(family));
        let line = house.log_line("granted", outside(family));
        assert!(line.contains("ttl=60s"), "{line}");
    });
}

/// `provisional = "0s"`: the way back is proved before anything opens.
#[test]
fn without_a_provisional_time_nothing_opens_before_the_confirm() {
    need_namespaces!();
    let house = House::new(|config| config.set("server.provisional", "\"0s\""));
    let knocker = Knocker::of(&house.scene.client);
    both(|family| {
        let sender = Sender::from(&house.net.client, inside(family), &house.net.server);
        let session = knocker.session("ssh");
        sender.all(&session);
        let told = sender.ack(&session, PATIENCE).expect("an answer");
        assert_eq!(
            (told.provisional, u64::from(told.ttl_s), told.observed.ip()),
            (true, TTL, outside(family)),
            "{family}"
        );
        assert_eq!(house.elements(family), [], "{family}: open before its CONFIRM");
        assert!(house.scene.is_hidden(family, SSH), "{family}");
        // The program does both.
        house.scene.client.must_open("ssh", family, &[]);
        house.assert_let_in(family, outside(family));
    });
}

/// A door that nobody confirms closes by itself, and its connections with it.
#[test]
fn an_unconfirmed_grant_ends_with_its_connections() {
    need_namespaces!();
    let house = House::new(|config| config.set("server.provisional", "\"2s\""));
    let knocker = Knocker::of(&house.scene.client);
    both(|family| {
        let sender = Sender::from(&house.net.client, inside(family), &house.net.server);
        let session = knocker.session("ssh");
        sender.all(&session);
        assert!(sender.ack(&session, PATIENCE).is_some_and(|told| told.provisional), "{family}");
        let mut held = spa_tests::probe::hold(&house.net.client, house.door(family), PATIENCE);
        assert!(held.is_alive(PATIENCE), "{family}");
        assert!(wait_until(PATIENCE, || house.elements(family).is_empty()), "{family}");
        assert!(!held.is_alive(SILENCE), "{family}: a connection outlives its moment");
        assert_eq!(house.grants(family), [], "{family}");
    });
}

/// A line of version 1 in the client's folder: said plainly, before anything is sent.
#[test]
fn an_old_line_is_refused() {
    need_namespaces!();
    let house = House::new(|config| config);
    let path = house.scene.client.folder().join("hosts/server.host");
    let line = std::fs::read_to_string(&path).unwrap();
    let old = as_version_1(line.lines().find(|line| line.starts_with("SPA-HOST-1")).unwrap());
    let said = |client: &Client, arguments: &[&str], program: &str| {
        let output = client.command(program).args(arguments).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let client = &house.scene.client;
    let words = "made for an older server";
    let told = said(client, &["host", "add", &old, "--name", "other"], "spa");
    assert!(told.contains(words), "{told}");
    std::fs::write(&path, format!("{old}\n")).unwrap();
    let mark = house.scene.server.status()["packets"]["all"].clone();
    let told = said(client, &["open", "ssh@server"], "spa-client");
    assert!(told.contains(words), "{told}");
    assert_eq!(house.scene.server.status()["packets"]["all"], mark, "nothing was sent");
}

/// The same line with the version of before (BIP 350, data groups of 5 bits).
fn as_version_1(line: &str) -> String {
    const LETTERS: &str = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
    let (prefix, data) = line.trim().rsplit_once('1').unwrap();
    let group = |letter: char| LETTERS.find(letter).unwrap() as u32;
    let mut groups: Vec<u32> = data[..data.len() - 6].chars().map(group).collect();
    // The version is the first byte: five bits and three.
    assert_eq!((groups[0], groups[1] >> 2), (0, 2), "version 2");
    groups[1] = (1 << 2) | (groups[1] & 3);
    let low = prefix.to_ascii_lowercase();
    let mut values: Vec<u32> = low.bytes().map(|byte| u32::from(byte) >> 5).collect();
    values.push(0);
    values.extend(low.bytes().map(|byte| u32::from(byte) & 31));
    values.extend(&groups);
    values.extend([0; 6]);
    let sum = values.iter().fold(1, |sum: u32, value| {
        let steps = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
        let next = ((sum & 0x1ff_ffff) << 5) ^ value;
        (0..5).filter(|bit| (sum >> 25) >> bit & 1 == 1).fold(next, |next, bit| next ^ steps[bit])
    }) ^ 0x2bc8_30a3;
    groups.extend((0..6).map(|at| (sum >> (5 * (5 - at))) & 31));
    let text = groups.iter().map(|group| LETTERS.as_bytes()[*group as usize] as char);
    format!("{prefix}1{}", text.collect::<String>())
}
