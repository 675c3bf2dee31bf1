//! What a reload costs a knock, by number of clients: the time from the first stage to the ack,
//! without and with reloads back to back, and the ratio of both. `make bench` runs it. Needs root.
//! CLIENTS may be set: numbers with spaces between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use spa_tests::Family;
use spa_tests::crowd;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, Scene, config};

/// Knocks that are timed, each way; less than one client may send in short order.
const KNOCKS: usize = 200;

fn main() {
    let counts = std::env::var("CLIENTS").unwrap_or_else(|_| "10 1000 100000".to_owned());
    for count in counts.split_whitespace() {
        measure(count.parse().expect("a number of clients"));
    }
}

fn measure(clients: u32) {
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    let knocker = Knocker::of(&scene.client);
    let file = scene.server.folder().join("clients.toml");
    let text = fs::read_to_string(&file).unwrap() + &crowd::stanzas(clients);
    fs::write(&file, text).unwrap();
    let reload = || {
        let stream = UnixStream::connect(scene.server.folder().join("control.sock")).unwrap();
        let mut control = BufReader::new(stream);
        let begun = Instant::now();
        writeln!(control.get_mut(), "{{\"version\":1,\"command\":\"reload\"}}").unwrap();
        let mut line = String::new();
        control.read_line(&mut line).unwrap();
        assert!(line.contains("\"ok\":true"), "{line}");
        begun.elapsed()
    };
    reload();
    let sender = Sender::new(&net.client, &net.server, Family::V4);
    let knocks = || {
        let mut times: Vec<Duration> = (0..KNOCKS)
            .map(|_| {
                // Within what one client may, so that nothing waits for its budget.
                thread::sleep(Duration::from_millis(60));
                let session = knocker.session("ssh");
                let begun = Instant::now();
                sender.all(&session);
                sender.ack(&session, PATIENCE).expect("an ack");
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        [50, 99].map(|percent| times[(KNOCKS * percent).div_ceil(100) - 1])
    };
    let quiet = knocks();
    let stop = AtomicBool::new(false);
    let (busy, reloads, longest) = thread::scope(|scope| {
        let knocks = scope.spawn(|| {
            let times = knocks();
            stop.store(true, Ordering::Relaxed);
            times
        });
        let (mut reloads, mut longest) = (0, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            longest = longest.max(reload());
            reloads += 1;
        }
        (knocks.join().unwrap(), reloads, longest)
    });
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "reload_delay clients={clients} quiet_ms median={:.2} p99={:.2} busy_ms median={:.2} \
         p99={:.2} ratio_p99={:.1} reloads={reloads} longest_reload_ms={:.0}",
        ms(quiet[0]),
        ms(quiet[1]),
        ms(busy[0]),
        ms(busy[1]),
        busy[1].as_secs_f64() / quiet[1].as_secs_f64(),
        ms(longest)
    );
}
