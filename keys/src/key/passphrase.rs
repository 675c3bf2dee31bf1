//! Where a passphrase comes from: the terminal, or a file descriptor. Never the command line or the
//! environment.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};
use zeroize::Zeroizing;

use crate::key::locked::MAX_PASSPHRASE;
use crate::text::SecretText;

/// Longest wait for the next byte of a descriptor.
const READ_PATIENCE: Duration = Duration::from_secs(15);

/// Source of a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The user at `/dev/tty`, without echo.
    Terminal,
    /// The kernel's keyring (`spa unlock`), else the terminal.
    Remembered,
    /// The first line of this file descriptor, a pipe or a file that the caller has opened.
    Descriptor(u32),
    /// Nobody: a locked key stays locked.
    Nobody,
}

/// Reason why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Nobody may be asked.
    #[error("it is locked with a passphrase and nobody can be asked: use --passphrase-fd N")]
    Nobody,
    /// There is no terminal.
    #[error(
        "a passphrase is needed and there is no terminal to ask for it ({0}): pass it by a file \
        descriptor, see --passphrase-fd in --help"
    )]
    NoTerminal(io::Error),
    /// Ctrl-C or Ctrl-D.
    #[error("no passphrase was given")]
    Cancelled,
    /// The descriptor cannot be read.
    #[error("file descriptor {number}: {source}; open it like: --passphrase-fd 3 3<FILE")]
    Descriptor {
        /// Number of the descriptor.
        number: u32,
        /// Error that the system gave.
        source: io::Error,
    },
    /// The descriptor is for writing, or this process holds both ends: it would never end.
    #[error(
        "file descriptor {0} is not open for reading alone, so nothing would come from it; open it \
        like: --passphrase-fd 3 3<FILE"
    )]
    NotInput(u32),
    /// Nothing came from the descriptor for too long.
    #[error(
        "nothing came from file descriptor {0} for {patience} s: write the passphrase and a line's \
        end into it", patience = READ_PATIENCE.as_secs()
    )]
    Late(u32),
    /// Not text, or too long.
    #[error("a passphrase is one line of text, at most {MAX_PASSPHRASE} bytes")]
    NotText,
    /// The two are not the same.
    #[error("the two passphrases are not the same; nothing was changed")]
    Different,
}

impl PassphraseError {
    /// Returns the exit code for it: 130 after Ctrl-C, as a shell has it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Cancelled) { 130 } else { crate::exit::FAILURE }
    }
}

impl PassphraseSource {
    /// Asks for the passphrase of something that exists.
    ///
    /// # Errors
    /// See [`PassphraseError`].
    pub fn ask(self, what: &str) -> Result<SecretText, PassphraseError> {
        match self {
            Self::Terminal | Self::Remembered => ask_terminal(&format!("Passphrase for {what}: ")),
            Self::Descriptor(number) => read_descriptor(number),
            Self::Nobody => Err(PassphraseError::Nobody),
        }
    }

    /// Asks for a new one: at the terminal twice, since nobody sees what is typed.
    ///
    /// # Errors
    /// See [`PassphraseError`].
    pub fn ask_new(self, what: &str) -> Result<SecretText, PassphraseError> {
        if self != Self::Terminal {
            return self.ask(what);
        }
        let first = ask_terminal(&format!("New passphrase for {what}: "))?;
        let second = ask_terminal("Repeat it: ")?;
        if first.expose() == second.expose() { Ok(first) } else { Err(PassphraseError::Different) }
    }
}

fn read_descriptor(number: u32) -> Result<SecretText, PassphraseError> {
    let failed = |source| PassphraseError::Descriptor { number, source };
    if number == 1 || number == 2 {
        return Err(PassphraseError::NotInput(number));
    }
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 2));
    let late = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut => PassphraseError::Late(number),
        _ => failed(error),
    };
    let path = format!("/dev/fd/{number}");
    if !is_input(number, &path) {
        return Err(PassphraseError::NotInput(number));
    }
    // Without a buffer, which would take what is another's.
    let file = if number == 0 {
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let file = file.map_err(failed)?;
    read_line(&mut &file, &mut line, || wait_readable(&file)).map_err(late)?;
    parse_line(&line)
}

/// Returns true unless the descriptor is for writing, or a pipe of which we hold the other end too.
fn is_input(number: u32, path: &str) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    let Some(flags) = flags else { return true };
    let access = OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE;
    let is_pipe = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo());
    access != OFlag::O_WRONLY && !(access == OFlag::O_RDWR && is_pipe)
}

/// Waits until there is something to read, or the end; a person at a terminal may think.
fn wait_readable(from: &(impl AsFd + IsTerminal)) -> io::Result<()> {
    if from.is_terminal() {
        return Ok(());
    }
    let mut polled = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
    let patience = PollTimeout::try_from(READ_PATIENCE).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, patience) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Reads a line byte by byte, so that what follows it is left to the next reader of a pipe.
fn read_line(
    from: &mut dyn Read,
    line: &mut Vec<u8>,
    wait: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut byte = [0];
    while line.len() <= MAX_PASSPHRASE {
        wait()?;
        if from.read(&mut byte)? == 0 || byte == *b"\n" {
            break;
        }
        line.extend(byte);
    }
    Ok(())
}

fn parse_line(line: &[u8]) -> Result<SecretText, PassphraseError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) if text.len() <= MAX_PASSPHRASE => Ok(SecretText::new(text.to_owned())),
        _ => Err(PassphraseError::NotText),
    }
}

/// Terminal settings that are restored on drop.
struct Restore<'a>(&'a File, Termios);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(self.0, SetArg::TCSAFLUSH, &self.1);
    }
}

fn ask_terminal(prompt: &str) -> Result<SecretText, PassphraseError> {
    let open = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let tty = open.map_err(PassphraseError::NoTerminal)?;
    let failed = |errno: nix::Error| PassphraseError::NoTerminal(errno.into());
    let before = termios::tcgetattr(&tty).map_err(failed)?;
    let mut quiet = before.clone();
    // Without signals too: one that ended the process here would leave the user's terminal without
    // echo.
    quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    for (index, value) in [(SpecialCharacterIndices::VMIN, 1), (SpecialCharacterIndices::VTIME, 0)]
    {
        if let Some(slot) = quiet.control_chars.get_mut(index as usize) {
            *slot = value;
        }
    }
    termios::tcsetattr(&tty, SetArg::TCSAFLUSH, &quiet).map_err(failed)?;
    let restore = Restore(&tty, before);
    let _ = (&tty).write_all(prompt.as_bytes());
    let typed = read_typed_line(&mut &tty);
    let _ = (&tty).write_all(b"\n");
    drop(restore);
    parse_line(&typed?)
}

/// Reads a line as it is typed, with the few keys that edit it.
fn read_typed_line(from: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 2));
    let mut byte = [0];
    loop {
        if from.read(&mut byte).map_err(PassphraseError::NoTerminal)? == 0 {
            return Err(PassphraseError::Cancelled);
        }
        match byte {
            [b'\r' | b'\n'] => return Ok(line),
            [0x03] => return Err(PassphraseError::Cancelled),
            [0x04] if line.is_empty() => return Err(PassphraseError::Cancelled),
            [0x15] => line.clear(),
            [0x7f | 0x08] => {
                // A whole character, however many bytes it has.
                while line.pop().is_some_and(|last| last & 0xc0 == 0x80) {}
            }
            [other] if line.len() <= MAX_PASSPHRASE => line.push(other),
            _ => return Err(PassphraseError::NotText),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn typing() {
        let as_typed = |keys: &[u8]| read_typed_line(&mut &*keys).map(|line| line.to_vec());
        assert_eq!(as_typed(b"abc\n").unwrap(), b"abc");
        assert_eq!(as_typed("ab\u{e4}\x7f\x7fc\r".as_bytes()).unwrap(), b"ac");
        assert_eq!(as_typed(b"wrong\x15right\n").unwrap(), b"right");
        assert_eq!(as_typed(b"\x7f\n").unwrap(), b"");
        for cancelled in [&b"ab\x03"[..], b"\x04", b"no end"] {
            assert!(matches!(as_typed(cancelled), Err(PassphraseError::Cancelled)));
        }
        assert!(matches!(as_typed(&[b'a'; 2000]), Err(PassphraseError::NotText)));
    }

    #[test]
    fn lines() {
        let mut pipe = &b"first\r\nsecond\n"[..];
        let mut line = Vec::new();
        read_line(&mut pipe, &mut line, || Ok(())).unwrap();
        assert_eq!(parse_line(&line).unwrap().expose(), "first");
        assert_eq!(pipe, b"second\n", "the rest is another's");
        assert!(parse_line(&[0xff]).is_err());
    }
}
