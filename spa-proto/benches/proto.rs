//! Costs of the parts of the protocol. `cargo bench -p spa-proto`; read the figures against each
//! other, not against other machines.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use spa_proto::{
    ClientSecret, Confirm, Context, Op, PairKeys, Psk, Request, ServerSecret, ServerSession,
    Session, SessionParts, TagKey, TagTable, TagTableBuilder, epoch_of, random,
};

const TS: u64 = 1_767_225_612_345;
const PORTS: [u16; 3] = [40_001, 40_002, 40_003];

/// A splitmix generator: only its spread matters here.
fn spread(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn table(clients: u32, stages: u8) -> TagTable {
    let mut builder = TagTableBuilder::with_capacity(clients as usize * usize::from(stages));
    let mut state = 1;
    for client in 0..clients {
        for stage in 0..stages {
            builder.add(spread(&mut state).to_be_bytes(), client, stage);
        }
    }
    builder.build()
}

fn tags(c: &mut Criterion) {
    for clients in [1, 1_000, 100_000, 1_000_000] {
        let table = table(clients, 3);
        let mut state = 2;
        let mut packet = [0u8; 144];
        c.bench_function(&format!("tag: a stranger misses, {clients} clients of 3 stages"), |b| {
            b.iter(|| {
                packet[..8].copy_from_slice(&spread(&mut state).to_be_bytes());
                table.find(black_box(&packet)).count()
            });
        });
    }
}

fn protocol(c: &mut Criterion) {
    let (server, client, psk) = (
        ServerSecret::generate().unwrap(),
        ClientSecret::generate().unwrap(),
        Psk::generate().unwrap(),
    );
    let (server_public, client_public) = (server.public(), client.public());
    let context = Context::new(&server_public, &client_public);
    let tag = TagKey::derive(&psk, &context);
    let hedge = client.hedge_key();
    let pair = PairKeys::of_client(&psk, &client, &server_public, &context).unwrap();
    let parts = SessionParts {
        server: &server_public,
        context: &context,
        tag: &tag,
        pair: &pair,
        signer: &client,
        hedge: &hedge,
    };
    let request = Request {
        service: 1,
        ttl_s: 1800,
        op: Op::Open,
        want_ack: true,
        bind_src: None,
        for_addr: None,
        all: false,
        ports: &PORTS,
        padding: &[],
    };
    let knock = Session::new(&parts, &request, TS).unwrap();
    let packets: Vec<&[u8]> = knock.packets().iter().map(|(_, packet)| &packet[..]).collect();
    let epoch = epoch_of(TS);

    c.bench_function("gate: derive a client's tag key", |b| {
        b.iter(|| TagKey::derive(&psk, black_box(&context)))
    });
    c.bench_function("gate: one tag", |b| b.iter(|| tag.tag(black_box(epoch), 1)));
    c.bench_function("gate: mac of 336 bytes", |b| {
        b.iter(|| pair.mac_is_right(black_box(packets[0])))
    });
    let mut forged = packets[0].to_vec();
    forged[100] ^= 1;
    c.bench_function("gate: mac of 336 bytes, wrong", |b| {
        b.iter(|| pair.mac_is_right(black_box(&forged)))
    });
    c.bench_function("gate: unmask", |b| b.iter(|| pair.ephemeral(black_box(packets[0]))));
    c.bench_function("server: the pair's keys, once a client", |b| {
        b.iter(|| PairKeys::of_server(&psk, &server, black_box(&client_public), &context));
    });
    c.bench_function("server: first packet, mac to signature", |b| {
        b.iter(|| {
            let packet = black_box(packets[0]);
            assert!(pair.mac_is_right(packet));
            let big_e = pair.ephemeral(packet).unwrap();
            let session = ServerSession::agree(&server, &pair, &context, &big_e).unwrap();
            let sealed = session.open(packet, epoch, 0, PORTS[0]).unwrap();
            assert!(session.verify(&client_public, &sealed));
        });
    });
    let big_e = pair.ephemeral(packets[0]).unwrap();
    let session = ServerSession::agree(&server, &pair, &context, &big_e).unwrap();
    let first = session.open(packets[0], epoch, 0, PORTS[0]).unwrap();
    c.bench_function("server: later packet, mac to comparison", |b| {
        b.iter(|| {
            let packet = black_box(packets[1]);
            assert!(pair.mac_is_right(packet));
            assert!(pair.ephemeral(packet).unwrap() == big_e);
            assert!(session.open(packet, epoch, 1, PORTS[1]).unwrap().same_as(&first));
        });
    });
    let confirm = Confirm { number: 1, address: [192, 0, 2, 1].into() };
    let confirm = knock.make_confirm(&pair, &confirm, 0);
    c.bench_function("server: CONFIRM, mac to address", |b| {
        b.iter(|| {
            let packet = black_box(&confirm[..]);
            assert!(pair.mac_is_right(packet));
            assert!(pair.ephemeral(packet).unwrap() == big_e);
            assert!(session.open_confirm(packet).is_some());
        });
    });
    c.bench_function("server: X25519 alone", |b| {
        b.iter(|| ServerSession::agree(&server, &pair, &context, black_box(&big_e)));
    });
    c.bench_function("server: Ed25519 alone", |b| {
        b.iter(|| session.verify(&client_public, black_box(&first)));
    });
    c.bench_function("client: Session::new, 3 stages", |b| {
        b.iter_batched(
            || TS,
            |now| Session::new(&parts, &request, now).unwrap(),
            BatchSize::SmallInput,
        );
    });
    c.bench_function("32 random bytes", |b| b.iter(|| random::<32>().unwrap()));
}

criterion_group!(benches, tags, protocol);
criterion_main!(benches);
