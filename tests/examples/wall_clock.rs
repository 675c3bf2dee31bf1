//! Says `READY=1` as a daemon does, then writes both of its clocks to stderr again and again until
//! it is ended.
//!
//! The harness tries its readiness, log and clock control on it.
#![allow(clippy::expect_used)]

use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

fn main() {
    let start = Instant::now();
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(b"STATUS=alive\nREADY=1", path).expect("notify");
    }
    loop {
        let wall = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
        eprintln!("wall={wall} monotonic={}", start.elapsed().as_millis());
        thread::sleep(Duration::from_millis(10));
    }
}
