//! What a client costs in memory: counted at the allocator, not estimated.
#![allow(unsafe_code, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use spa_proto::{ClientPublic, KeyKind, Psk, ServerSecret};
use spa_server::domain::grant::Scope;
use spa_server::engine::{RegisteredClient, Registry, ServiceTerms, Stanza};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 100_000;
const STAGES: u8 = 3;

fn client(index: usize) -> RegisteredClient {
    let mut sign = [0; 32];
    sign[..8].copy_from_slice(&index.to_be_bytes());
    let stanza = Stanza { services: vec!["ssh".into()], ..Stanza::default() };
    let public = ClientPublic { sign, dh: [2; 32], kind: KeyKind::Ed25519 };
    let psk = Psk::from_bytes(sign);
    RegisteredClient {
        name: format!("client-{index:07}"),
        public,
        psk,
        stanza,
        since_ms: None,
        kem: None,
    }
}

#[test]
fn a_client_costs_less_than_200_bytes() {
    let service = ServiceTerms {
        name: "ssh".into(),
        scope: Scope::All,
        ttl: std::time::Duration::from_secs(60),
        max_ttl: std::time::Duration::from_secs(60),
    };
    let before = LIVE.load(Ordering::Relaxed);
    let clients = (0..CLIENTS).map(client);
    let registry =
        Registry::new(ServerSecret::from_bytes([1; 32]), vec![service], clients).unwrap();
    let packed = LIVE.load(Ordering::Relaxed) - before;
    let tables = [registry.table(29_000_000, STAGES), registry.table(29_000_001, STAGES)];
    let held = LIVE.load(Ordering::Relaxed) - before;
    // The next epoch is built while these two are there.
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    let next = registry.table(29_000_002, STAGES);
    let extra = PEAK.load(Ordering::Relaxed) - before - held;
    let per = |bytes: usize| bytes as f64 / CLIENTS as f64;
    println!(
        "registry {:.1}, with two tables {:.1}, building {:.1}",
        per(packed),
        per(held),
        per(extra)
    );
    assert_eq!(next.len(), CLIENTS * usize::from(STAGES));
    assert_eq!(tables[0].heap_bytes() + tables[1].heap_bytes(), held - packed);
    assert!(per(held) < 200.0, "{} bytes per client", per(held));
    assert!(per(extra) < 50.0, "{} bytes per client while a table is built", per(extra));
}
