//! `time_open ADDRESS:PORT LIMIT_MS COMMAND…`: starts the command and tries to connect over TCP
//! until it works. Prints the microseconds from just before the start to the first completed
//! handshake, or `timeout` and ends with code 1.
//!
//! A SYN that the firewall drops is repeated by the kernel only after a second, so a fresh attempt
//! is made every quarter of a millisecond; earlier ones are kept a while, because an answer may be
//! on its way.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use socket2::{Domain, SockAddr, Socket, Type};

/// Between two attempts; also the resolution of the result, save for the handshake itself.
const PACE: Duration = Duration::from_micros(250);
/// How many attempts are kept waiting for an answer: 20 ms worth.
const KEPT: usize = 80;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wrong = || io::Error::other("usage: time_open ADDRESS:PORT LIMIT_MS COMMAND…");
    let [target, limit, program, rest @ ..] = arguments.as_slice() else { return Err(wrong()) };
    let target: SocketAddr = target.parse().map_err(|_| wrong())?;
    let limit = Duration::from_millis(limit.parse().map_err(|_| wrong())?);
    if reaches(target)? {
        return Err(io::Error::other(format!("{target} is open before the command")));
    }
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let opened = first_handshake(target, start + limit)?;
    child.wait()?;
    match opened {
        Some(moment) => {
            println!("{}", (moment - start).as_micros());
            Ok(ExitCode::SUCCESS)
        }
        None => {
            println!("timeout");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Whether a handshake is completed within a few paces: a measurement must begin with a closed
/// port.
fn reaches(target: SocketAddr) -> io::Result<bool> {
    Ok(first_handshake(target, Instant::now() + 8 * PACE)?.is_some())
}

fn first_handshake(target: SocketAddr, deadline: Instant) -> io::Result<Option<Instant>> {
    let mut attempts: VecDeque<Socket> = VecDeque::new();
    while Instant::now() < deadline {
        attempts.push_back(attempt(target)?);
        if attempts.len() > KEPT {
            attempts.pop_front();
        }
        let mut polled: Vec<PollFd<'_>> =
            attempts.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLOUT)).collect();
        if ppoll(&mut polled, Some(TimeSpec::from_duration(PACE)), None)? == 0 {
            continue;
        }
        let now = Instant::now();
        let ready: Vec<bool> = polled.iter().map(|poll| poll.any().unwrap_or(false)).collect();
        let mut ready = ready.into_iter();
        for socket in &attempts {
            if ready.next() == Some(true) && socket.take_error()?.is_none() {
                return Ok(Some(now));
            }
        }
        // What is ready and not connected was refused: it would end every further wait at once.
        attempts.clear();
        let _ = ppoll(&mut [], Some(TimeSpec::from_duration(PACE)), None)?;
    }
    Ok(None)
}

fn attempt(target: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Closed by a reset: thousands of measurements leave no port in TIME_WAIT.
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&SockAddr::from(target)) {
        Err(error) if error.raw_os_error() != Some(nix::Error::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket),
    }
}
