//! The tag table, and that no parser of strangers' bytes does anything but refuse them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::HashMap;
use std::fs;

use proptest::prelude::*;
use spa_proto::{Body, Evidence, Hit, ServerSession, Session, TagTable, TagTableBuilder};
use support::vectors::{Vector, files};
use support::{World, epoch, random, unhex};

fn build(tags: &[([u8; 8], u32, u8)]) -> TagTable {
    let mut builder = TagTableBuilder::with_capacity(tags.len());
    tags.iter().for_each(|(tag, client, stage)| builder.add(*tag, *client, *stage));
    builder.build()
}

fn random_tags(n: usize) -> Vec<[u8; 8]> {
    (0..n.div_ceil(4))
        .flat_map(|_| {
            random().chunks_exact(8).map(|tag| tag.try_into().unwrap()).collect::<Vec<_>>()
        })
        .take(n)
        .collect()
}

#[test]
fn all_of_100_000_tags_are_found_and_strangers_miss() {
    let tags: Vec<_> =
        (0u32..).zip(random_tags(100_000)).map(|(i, tag)| (tag, i >> 3, (i & 7) as u8)).collect();
    let table = build(&tags);
    assert_eq!(table.len(), 100_000);
    assert!(!table.is_empty());
    // 8 bytes a tag, 8 bytes for every four, one bucket more for the end.
    assert!(table.heap_bytes() <= 100_000 * 10 + 16, "{}", table.heap_bytes());
    for (tag, client, stage) in &tags {
        let hits: Vec<Hit> = table.find(tag).collect();
        assert!(hits.contains(&Hit { client: *client, stage: *stage }));
    }
    let false_hits =
        random_tags(100_000).iter().filter(|tag| table.find(&tag[..]).next().is_some()).count();
    assert!(false_hits <= 1, "{false_hits}");
}

#[test]
fn duplicates_yield_all() {
    let tag = [7; 8];
    let table =
        build(&[(tag, 1, 0), ([8; 8], 5, 5), (tag, 2, 3), (tag, 2, 3), (tag, (1 << 29) - 1, 7)]);
    let mut hits: Vec<(u32, u8)> = table.find(&tag).map(|hit| (hit.client, hit.stage)).collect();
    hits.sort_unstable();
    assert_eq!(hits, [(1, 0), (2, 3), (2, 3), ((1 << 29) - 1, 7)]);
}

#[test]
fn what_does_not_fit_is_left_out() {
    let table =
        build(&[([1; 8], 1 << 29, 0), ([1; 8], u32::MAX, 0), ([1; 8], 0, 8), ([1; 8], 0, 255)]);
    assert!(table.is_empty());
    assert_eq!(table.find(&[1; 8]).count(), 0);
    assert_eq!(TagTable::default().find(&[1; 8]).count(), 0);
}

#[test]
fn extreme_tags() {
    let ends = [
        [0; 8],
        [0xff; 8],
        [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
    ];
    let table = build(&ends.map(|tag| (tag, 3, 1)));
    for tag in ends {
        assert!(table.find(&tag).count() >= 1);
    }
    assert_eq!(table.find(&[0; 7]).count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Against a map. Only the low half of a tag is compared, so equal low halves may appear in addition.
    #[test]
    fn the_table_agrees_with_a_map(
        tags in prop::collection::vec((any::<u64>(), 0u32..50, 0u8..8), 0..300),
        strangers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..50),
    ) {
        let mut map: HashMap<u64, Vec<(u32, u8)>> = HashMap::new();
        for (tag, client, stage) in &tags {
            map.entry(*tag).or_default().push((*client, *stage));
        }
        let table = build(&tags.iter().map(|(tag, c, s)| (tag.to_be_bytes(), *c, *s)).collect::<Vec<_>>());
        for (tag, wanted) in &map {
            let mut hits: Vec<_> = table.find(&tag.to_be_bytes()).map(|hit| (hit.client, hit.stage)).collect();
            let others = map.iter().filter(|(other, _)| *other != tag && **other as u32 == *tag as u32);
            hits.retain(|hit| wanted.contains(hit) || others.clone().all(|(_, them)| !them.contains(hit)));
            hits.sort_unstable();
            let mut wanted = wanted.clone();
            wanted.sort_unstable();
            prop_assert_eq!(hits, wanted);
        }
        for stranger in strangers {
            for hit in table.find(&stranger) {
                let low = u64::from_be_bytes(stranger[..8].try_into().unwrap()) as u32;
                prop_assert!(tags.iter().any(|(tag, c, s)| *tag as u32 == low && (*c, *s) == (hit.client, hit.stage)));
            }
        }
    }
}

/// Everything that a stranger's bytes can reach. None of it may panic, and none may accept.
fn parse(world: &World, table: &TagTable, session: &Session, bytes: &[u8]) {
    let hits = table.find(bytes).count();
    let mac = world.pair.mac_is_right(bytes);
    assert!(hits == 0 || !mac, "a stranger's bytes passed the gate");
    let ephemeral = world.pair.ephemeral(bytes);
    assert_eq!(ephemeral.is_some(), bytes.len() >= 48);
    assert_eq!(session.open_ack(bytes), None);
    let _ = Body::decode(bytes.get(..16).unwrap_or(bytes), bytes.get(16..).unwrap_or_default());
    // Behind the gate, as if it had been passed.
    let evidence = Evidence::from_bytes(bytes.to_vec());
    assert_eq!(evidence.read(&world.server_public, &world.client_public), None);
    let pair = world.server_pair().unwrap();
    if let Some(server) =
        ephemeral.and_then(|e| ServerSession::agree(&world.server, &pair, &world.context, &e))
    {
        assert_eq!(server.open_confirm(bytes), None);
        for stage in [0, 7, 255] {
            assert!(server.open(bytes, epoch(), stage, 1).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn any_bytes_are_only_refused(bytes in prop::collection::vec(any::<u8>(), 0..1400)) {
        let world = World::fixed();
        parse(&world, &world.table(epoch()), &world.knock(), &bytes);
    }

    /// Bytes near to a real packet: cut, spliced and changed at a few places.
    #[test]
    fn bytes_near_a_packet_are_only_refused(
        cut in 0usize..=336,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        tail in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let world = World::fixed();
        let session = world.knock();
        let original = &session.packets()[0].1;
        let mut bytes = [&original[..cut], &tail].concat();
        for (at, change) in edits {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= change;
            }
        }
        prop_assume!(&bytes != original);
        parse(&world, &world.table(epoch()), &session, &bytes);
    }
}

/// The corpus: every hex field of every vector, thrown at every parser under keys that it was not
/// made for.
#[test]
fn the_vectors_are_a_corpus_for_every_parser() {
    let world = World::fresh();
    let (table, session) = (world.table(epoch()), world.knock());
    let mut fields = 0;
    for path in files() {
        let vector = Vector::parse(path.to_str().unwrap(), &fs::read_to_string(&path).unwrap());
        for (_, value) in vector.fields {
            if value.len().is_multiple_of(2) && value.bytes().all(|c| c.is_ascii_hexdigit()) {
                parse(&world, &table, &session, &unhex(&value));
                fields += 1;
            }
        }
    }
    assert!(fields > 300, "{fields}");
}
