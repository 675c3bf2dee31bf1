//! Somebody else's hands on the firewall, and ends of the daemon of every kind.

mod damage;
mod disk;
mod ends;
mod firewall;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::daemon::{Client, Server, binary};
use spa_tests::netns::{Host, lan};
use spa_tests::nft::Element;
use spa_tests::probe::{EchoServer, TcpProbe, hold};
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::wait::wait_for;
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// How soon a damaged table must be whole again.
const REPAIR: Duration = Duration::from_secs(1);
/// An administrator's own table, with something of everything.
const FOREIGN: &str = "table inet foreign {
    set friends { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 } }
    chain input { type filter hook input priority 10; policy accept; ip saddr @friends counter accept; }
    chain own { tcp dport 9999 drop; }
}";

fn grant(host: &Host, family: Family) -> Option<Element> {
    nft::elements(host, "inet", "spa", &format!("grant{}", family.digit()))?.into_iter().next()
}

fn left(host: &Host, family: Family) -> Option<u64> {
    grant(host, family)?.expires
}

/// Waits until a grant has this many seconds left at most.
fn run_down(host: &Host, family: Family, seconds: u64) -> u64 {
    wait_for(PATIENCE, || left(host, family).filter(|left| *left <= seconds))
        .expect("a grant that runs down")
}

/// A table without what changes by itself: handles, counts, elements with a time, the order in
/// which things were made. Nothing when there is no such table.
fn table(host: &Host, name: &str) -> Option<Vec<Value>> {
    let mut list = nft::json(host, &["list", "table", "inet", name])?;
    list.retain(|item| item["metainfo"].is_null());
    for item in &mut list {
        let timed = |set: &Value| {
            set["flags"].as_array().is_some_and(|flags| flags.contains(&"timeout".into()))
        };
        if timed(&item["set"]) {
            item["set"].as_object_mut().unwrap().remove("elem");
        }
        settle(item);
    }
    // A chain that was made anew comes last. Stable: the rules of a chain stay in their order.
    list.sort_by_key(|item| {
        let (kind, what) =
            item.as_object().and_then(|item| item.iter().next()).expect("one object");
        let name = if kind == "rule" { &what["chain"] } else { &what["name"] };
        (kind.clone(), name.as_str().map(str::to_owned))
    });
    Some(list)
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(map) => {
            ["handle", "packets", "bytes"].iter().for_each(|key| drop(map.remove(*key)));
            map.values_mut().for_each(settle);
        }
        Value::Array(list) => list.iter_mut().for_each(settle),
        _ => {}
    }
}

/// Whether somebody who may not gets no sign of life.
fn hidden(scene: &Scene, from: &Host) {
    both(|family| {
        assert_eq!(scene.seen(from, family, SSH), TcpProbe::Silent, "{family}: {from:?}")
    });
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
