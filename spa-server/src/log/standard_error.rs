//! Standard error as the log's sink: whoever is on its other side and does not read holds nobody
//! up. A line that does not fit at this moment is lost, and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// Where this process's standard error leads.
pub(super) enum StandardError {
    /// A pipe, opened anew: our own mode of writing is not its other writers'.
    Pipe(File),
    /// A socket, as systemd's journal gives one.
    Socket,
    /// A terminal or a file.
    Other,
}

impl StandardError {
    /// Looks where it leads.
    pub(super) fn find() -> Self {
        let path = "/proc/self/fd/2";
        let Ok(kind) = std::fs::metadata(path).map(|meta| meta.file_type()) else {
            return Self::Other;
        };
        if kind.is_socket() {
            return Self::Socket;
        }
        let anew =
            || OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        match kind.is_fifo().then(anew) {
            Some(Ok(pipe)) => Self::Pipe(pipe),
            _ => Self::Other,
        }
    }
}

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // Up to 4096 bytes go as a whole or not at all (pipe(7), PIPE_BUF).
            Self::Pipe(pipe) => pipe.write(bytes),
            Self::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(io::stderr().as_raw_fd(), bytes, flags)?)
            }
            Self::Other => {
                let stderr = io::stderr();
                let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut polled, PollTimeout::ZERO) {
                    Ok(0) => Err(ErrorKind::WouldBlock.into()),
                    _ => stderr.lock().write(bytes),
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
