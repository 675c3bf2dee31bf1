//! Targets for fuzzing: each takes any bytes, and panics when what came of them is wrong. Not only
//! that nothing panics by itself: what is read is what is written, what is refused leaves nothing,
//! and the engine opens nothing that an independent count does not allow.
//!
//! `tests/corpus.rs` runs each over its files in `corpus/`; `make fuzz` looks for new ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a target speaks"
)]

mod engine;
mod files;
mod kernel;
mod texts;
mod wire;

// The engine's own world, with its clients, faults and checks.
#[path = "../../spa-server/tests/engine/actors.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod actors;
#[path = "../../spa-server/tests/engine/doubles.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod doubles;
#[path = "../../spa-server/tests/engine/effects.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod effects;
#[path = "../../spa-server/tests/engine/network.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod network;
#[path = "../../spa-server/tests/engine/seen.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod seen;
#[path = "../../spa-server/tests/engine/setup.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod setup;
#[path = "../../spa-server/tests/engine/token.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod token;
#[path = "../../spa-server/tests/engine/world.rs"]
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
mod world;

/// A name, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets by name; the name is that of the folder in `corpus/`.
pub const TARGETS: &[Target] = &[
    ("headers", wire::headers),
    ("packet", wire::packet),
    ("body", wire::body),
    ("ack", wire::ack),
    ("confirm", wire::confirm),
    ("text", texts::text),
    ("host-line", texts::host_line),
    ("invitation", texts::invitation),
    ("import", texts::import),
    ("config", files::config),
    ("clients", files::clients),
    ("control", files::control),
    ("ipc", files::ipc),
    ("store", files::store),
    ("netlink", kernel::netlink),
    ("foreign", kernel::foreign),
    ("engine", engine::engine),
];
