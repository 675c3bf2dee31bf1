//! Where a passphrase comes from: the terminal, or a file descriptor. Never the command line or the
//! environment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};
use zeroize::Zeroizing;

use crate::key::locked::MAX_PASSPHRASE;
use crate::text::SecretText;

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
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 2));
    if number == 0 {
        read_line(&mut io::stdin().lock(), &mut line).map_err(failed)?;
    } else {
        let file = File::open(format!("/dev/fd/{number}")).map_err(failed)?;
        read_line(&mut { file }, &mut line).map_err(failed)?;
    }
    parse_line(&line)
}

/// Reads a line byte by byte, so that what follows it is left to the next reader of a pipe.
fn read_line(from: &mut dyn Read, line: &mut Vec<u8>) -> io::Result<()> {
    let mut byte = [0];
    while line.len() <= MAX_PASSPHRASE && from.read(&mut byte)? == 1 && byte != *b"\n" {
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
        read_line(&mut pipe, &mut line).unwrap();
        assert_eq!(parse_line(&line).unwrap().expose(), "first");
        assert_eq!(pipe, b"second\n", "the rest is another's");
        assert!(parse_line(&[0xff]).is_err());
    }
}
