//! The firewall as the kernel tells it, through `nft`, which shares no code with the programs under
//! test.

use serde_json::Value;

use crate::netns::Host;
use crate::process;

/// One element of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// The parts of the key as `nft` prints them: `["192.0.2.7", "tcp", "22"]`; ranges and
    /// prefixes as `lo-hi`, `addr/len`.
    pub key: Vec<String>,
    /// Whole life in seconds, when it has its own.
    pub timeout: Option<u64>,
    /// Seconds left; it ends by itself.
    pub expires: Option<u64>,
}

/// `nft -j ARGUMENTS`: the list under the key `nftables`. Nothing when nft fails (no such table or
/// set).
pub fn json(host: &Host, arguments: &[&str]) -> Option<Vec<Value>> {
    let output = process::output(host.command("nft").arg("-j").args(arguments));
    if !output.status.success() {
        return None;
    }
    let mut value: Value = serde_json::from_slice(&output.stdout).expect("nft -j prints JSON");
    match value["nftables"].take() {
        Value::Array(list) => Some(list),
        other => panic!("nft -j {arguments:?} printed {other}"),
    }
}

/// Whether the table exists.
pub fn table_exists(host: &Host, family: &str, table: &str) -> bool {
    json(host, &["list", "tables"])
        .expect("nft lists tables")
        .iter()
        .any(|item| item["table"]["family"] == family && item["table"]["name"] == table)
}

/// The elements of a set; nothing when there is no such set.
pub fn elements(host: &Host, family: &str, table: &str, set: &str) -> Option<Vec<Element>> {
    let list = json(host, &["list", "set", family, table, set])?;
    let set = list.iter().map(|item| &item["set"]).find(|set| set.is_object())?;
    Some(
        set["elem"]
            .as_array()
            .map(|elements| elements.iter().map(element).collect())
            .unwrap_or_default(),
    )
}

/// The packets that the rules with a counter in one chain have counted, in all.
pub fn counted(host: &Host, family: &str, table: &str, chain: &str) -> u64 {
    let list = json(host, &["list", "chain", family, table, chain]).expect("the chain exists");
    let statements = list.iter().filter_map(|item| item["rule"]["expr"].as_array()).flatten();
    statements.filter_map(|statement| statement["counter"]["packets"].as_u64()).sum()
}

/// Loads rules with `nft -f -`: a foreign firewall around ours, or an administrator's flush.
pub fn load(host: &Host, rules: &str) {
    process::feed(host.command("nft").args(["-f", "-"]), rules);
}

/// `nft list ruleset` as text, for messages and for comparing before with after.
pub fn ruleset(host: &Host) -> String {
    process::succeed(host.command("nft").args(["list", "ruleset"]))
}

fn element(value: &Value) -> Element {
    let inner = &value["elem"];
    if inner.is_object() {
        let seconds = |name: &str| inner[name].as_u64();
        return Element {
            key: key(&inner["val"]),
            timeout: seconds("timeout"),
            expires: seconds("expires"),
        };
    }
    Element { key: key(value), timeout: None, expires: None }
}

fn key(value: &Value) -> Vec<String> {
    match value["concat"].as_array() {
        Some(parts) => parts.iter().map(part).collect(),
        None => vec![part(value)],
    }
}

fn part(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    if let Some(range) = value["range"].as_array() {
        return range.iter().map(part).collect::<Vec<_>>().join("-");
    }
    if value["prefix"].is_object() {
        return format!("{}/{}", part(&value["prefix"]["addr"]), value["prefix"]["len"]);
    }
    value.to_string()
}
