//! Forwarding of a connection to standard input and output: its bytes, or the socket itself.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;

use nix::sys::socket::{
    ControlMessage, MsgFlags, SockType, UnixAddr, getsockopt, sendmsg, sockopt,
};
use spa_keys::Failure;

/// Bytes copied at once: a pipe holds 64 KiB, a socket more.
const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// Checks that standard output is a socket that can take another one, as ssh gives with
/// `ProxyUseFdpass yes`.
pub(crate) fn check_can_pass() -> Result<(), Failure> {
    let stdout = io::stdout();
    let is_unix = nix::sys::socket::getsockname::<UnixAddr>(stdout.as_raw_fd()).is_ok();
    if is_unix && getsockopt(&stdout, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream)
    {
        return Ok(());
    }
    let message = "standard output is not a socket that can receive the connection; set \
        ProxyUseFdpass yes in ssh_config, or leave out --fdpass";
    Err(Failure::usage(message))
}

/// Sends the connected socket over standard output, with one byte of zero, as ssh expects it
/// (`mm_receive_fd` of OpenSSH's monitor_fdpass.c).
pub(crate) fn pass_socket(stream: &TcpStream) -> Result<(), Failure> {
    let stdout = io::stdout();
    let sent = sendmsg::<()>(
        stdout.as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&[stream.as_raw_fd()])],
        MsgFlags::empty(),
        None,
    );
    sent.map(drop).map_err(|error| {
        Failure::failed(format!("the connection could not be handed over: {error}"))
    })
}

/// Copies bytes both ways until both directions have ended. The end of one direction is passed on
/// and does not end the other: `ssh … < file` still gets its answer.
pub(crate) fn forward_stdio(stream: &TcpStream) -> Result<(), Failure> {
    let stdout = duplicate_descriptor(io::stdout().as_fd())?;
    let (mut input, mut to_server) =
        (File::from(duplicate_descriptor(io::stdin().as_fd())?), stream.try_clone()?);
    let sender = thread::Builder::new().spawn(move || {
        let carried = copy_bytes(&mut input, &mut to_server);
        // Also after a failure: the server shall not wait for more.
        let _ = to_server.shutdown(Shutdown::Write);
        carried
    })?;
    let mut output = File::from(stdout);
    let received = copy_bytes(&mut &*stream, &mut output);
    // The reader behind standard output sees the end now, not when the other direction has ended.
    drop(output);
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
    if let Err(error) = received {
        // Nobody reads, or the connection is broken: then nobody waits for the other direction
        // either.
        return ignore_disconnect(error);
    }
    match sender.join() {
        Ok(Err(error)) => ignore_disconnect(error),
        _ => Ok(()),
    }
}

/// Duplicates a descriptor, without the buffers of the standard library.
fn duplicate_descriptor(fd: std::os::fd::BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    Ok(fd.try_clone_to_owned()?)
}

fn copy_bytes(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => to.write_all(buffer.get(..len).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes a failure of an error, unless the other side has gone: the usual end of a connection.
fn ignore_disconnect(error: io::Error) -> Result<(), Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
        _ => Err(Failure::failed(format!("the connection broke: {error}"))),
    }
}
