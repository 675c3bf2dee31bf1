//! Makes every vector in memory. `tests/vectors.rs` compares them with the files,
//! `examples/vectors.rs` writes them.

pub mod acks;
pub mod bodies;
pub mod confirms;
pub mod hedges;
pub mod hops;
pub mod kems;
pub mod keys;
pub mod packets;
pub mod packets_ext;
pub mod session_fields;
pub mod sessions;
pub mod sessions_new_keys;

use std::path::PathBuf;

use super::{counted, hex};

/// One file: a comment, then `key: value` lines in order.
pub struct Vector {
    pub name: String,
    pub comment: String,
    pub fields: Vec<(String, String)>,
}

impl Vector {
    pub fn new(kind: &str, name: &str, comment: &str, expect: &str) -> Self {
        let vector = Self {
            name: format!("{kind}-{name}.txt"),
            comment: comment.into(),
            fields: Vec::new(),
        };
        vector.with("kind", kind).with("expect", expect)
    }

    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.fields.push((key.into(), value.to_string()));
        self
    }

    pub fn secrets(self) -> Self {
        self.with("server-secret", hex(counted(0)))
            .with("client-seed", hex(counted(0x20)))
            .with("psk", hex(counted(0x40)))
    }

    pub fn text(&self) -> String {
        let lines: String =
            self.fields.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        format!("# {}\n{lines}", self.comment)
    }

    pub fn parse(name: &str, text: &str) -> Self {
        let (comment, rest) = text.strip_prefix("# ").unwrap().split_once('\n').unwrap();
        let fields = rest
            .lines()
            .map(|line| {
                line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))).unwrap()
            })
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        Self { name: name.into(), comment: comment.into(), fields }
    }

    pub fn find(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }
}

/// The folder of the files.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// The files in it, without the page that explains them.
pub fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect()
}

/// All of them.
pub fn all() -> Vec<Vector> {
    [
        keys::vectors(),
        bodies::vectors(),
        sessions::vectors(),
        sessions_new_keys::vectors(),
        hedges::vectors(),
        kems::vectors(),
        packets::vectors(),
        confirms::vectors(),
        acks::vectors(),
        hops::vectors(),
        keys::services(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `a,b,c`.
pub fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// A changed copy.
pub fn edited(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    change(&mut copy);
    copy
}
