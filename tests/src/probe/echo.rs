use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::Family;
use crate::netns::Host;

/// How often a server looks whether it shall end.
const TICK: Duration = Duration::from_millis(20);

/// A TCP service that sends back what it receives, for both families, on one port of a host.
#[derive(Debug)]
pub struct EchoServer {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens when this returns. Port 0: the kernel chooses, see [`EchoServer::port`].
    pub fn start(host: &Host, port: u16) -> EchoServer {
        let socket = bound(host, Type::STREAM, port);
        socket.listen(128).expect("listen");
        // Linux lets accept(2) honour the receive timeout.
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        let port = local_port(&socket);
        let listener = TcpListener::from(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    let stopped = Arc::clone(&stopped);
                    thread::spawn(move || echo(stream, &stopped));
                }
            }
        });
        EchoServer { port, stop, thread: Some(thread) }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn echo(mut stream: TcpStream, stopped: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(TICK));
    let mut buffer = [0; 4096];
    while !stopped.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) if stream.write_all(&buffer[..length]).is_err() => return,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

/// A UDP service that sends back what it receives, for both families.
#[derive(Debug)]
pub struct UdpEcho {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Is bound when this returns. Port 0: the kernel chooses.
    pub fn start(host: &Host, port: u16) -> UdpEcho {
        let socket = bound(host, Type::DGRAM, port);
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        let port = local_port(&socket);
        let socket = UdpSocket::from(socket);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 65536];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], peer);
                }
            }
        });
        UdpEcho { port, stop, thread: Some(thread) }
    }

    /// The port it is bound to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection that stays open, to show that it survives what happens around it.
#[derive(Debug)]
pub struct Held {
    stream: TcpStream,
}

impl Held {
    pub(super) fn new(socket: Socket) -> Held {
        Held { stream: TcpStream::from(socket) }
    }

    /// Whether fresh bytes still come back within the time.
    pub fn is_alive(&mut self, patience: Duration) -> bool {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        // Numbered, so that a late echo of an earlier question is not taken for this one's answer.
        let question = COUNTER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut answer = [0; 8];
        self.stream.set_read_timeout(Some(patience)).is_ok()
            && self.stream.write_all(&question).is_ok()
            && self.stream.read_exact(&mut answer).is_ok()
            && answer == question
    }
}

/// One dual-stack socket: the kernel then guarantees the same port in both families.
fn bound(host: &Host, kind: Type, port: u16) -> Socket {
    host.run(|| {
        let socket = Socket::new(Domain::IPV6, kind, None).expect("a socket");
        socket.set_only_v6(false).expect("dual stack");
        // A restart finds the connections of its predecessor in TIME_WAIT.
        socket.set_reuse_address(true).expect("SO_REUSEADDR");
        let local = Family::V6.any(port);
        socket
            .bind(&SockAddr::from(local))
            .unwrap_or_else(|error| panic!("cannot bind {local}: {error}"));
        socket
    })
}

fn local_port(socket: &Socket) -> u16 {
    socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .as_ref()
        .map(SocketAddr::port)
        .expect("a port")
}
