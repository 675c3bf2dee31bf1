//! Which clients have been seen under the server's present key, while it has two: a file beside the
//! store, so that a restart does not forget what the end of the old key depends on.
//!
//! ```text
//! server HEX64            the present key; a file for another one says nothing
//! new HEX64 MS            this client came by it, unix milliseconds
//! previous HEX64 MS       this client came by the one before
//! ```
//! The last line of a client counts. Nothing is synced: what a crash loses is told anew by the
//! client's next knock, and until then the administrator is warned once more than needed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use spa_keys::file;
use spa_proto::ServerPublic;

/// A client's signing key.
pub type ClientKey = [u8; 32];

/// A link, or a pipe that nobody writes to, must not hold up the start.
const OPEN_FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Most bytes that are read: half a million clients.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A sighting: the client, whether it came by the present key, when (unix milliseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The client's signing key.
    pub client: ClientKey,
    /// By the present key.
    pub new: bool,
    /// When, unix milliseconds.
    pub at_ms: u64,
}

/// The file.
#[derive(Debug)]
pub struct FollowedFile {
    path: PathBuf,
    file: Option<File>,
}

impl FollowedFile {
    /// In the store's folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join("followed"), file: None }
    }

    /// Sightings under this key of the server; none when the file cannot be read or is about
    /// another key.
    #[must_use]
    pub fn read(&self, server: &ServerPublic) -> Vec<Sighting> {
        let open = OpenOptions::new().read(true).custom_flags(OPEN_FLAGS).open(&self.path);
        let Ok(file) = open else { return Vec::new() };
        let mut lines = BufReader::new(file.take(MAX_FILE_BYTES)).lines().map_while(Result::ok);
        if lines.next() != Some(format_head(server)) {
            return Vec::new();
        }
        // A crash may have cut the last one.
        lines.filter_map(|line| parse_line(&line)).collect()
    }

    /// Begins anew for a key of the server, with what is known.
    ///
    /// # Errors
    /// What the system said.
    pub fn begin(&mut self, server: &ServerPublic, known: &[Sighting]) -> io::Result<()> {
        self.file = None;
        let fresh = self.path.with_extension("new");
        let mut text = format_head(server);
        text.push('\n');
        known.iter().for_each(|known| text.push_str(&format_line(known)));
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = file::create_private(&fresh)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&fresh, &self.path)?;
        self.file = Some(self.append_to()?);
        Ok(())
    }

    /// One more.
    ///
    /// # Errors
    /// What the system said.
    pub fn add(&mut self, sighting: &Sighting) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.append_to()?,
        };
        self.file.insert(file).write_all(format_line(sighting).as_bytes())
    }

    fn append_to(&self) -> io::Result<File> {
        OpenOptions::new().append(true).custom_flags(OPEN_FLAGS).open(&self.path)
    }
}

fn format_head(server: &ServerPublic) -> String {
    format!("server {}", to_hex(&server.0))
}

fn format_line(sighting: &Sighting) -> String {
    let word = if sighting.new { "new" } else { "previous" };
    format!("{word} {} {}\n", to_hex(&sighting.client), sighting.at_ms)
}

fn parse_line(line: &str) -> Option<Sighting> {
    let mut words = line.split(' ');
    let new = match words.next()? {
        "new" => true,
        "previous" => false,
        _ => return None,
    };
    Some(Sighting { new, client: from_hex(words.next()?)?, at_ms: words.next()?.parse().ok()? })
}

fn to_hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<ClientKey> {
    if text.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn outlives_a_restart_and_not_another_key() {
        let folder = std::env::temp_dir().join(format!("spa-followed-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (server, other) = (ServerPublic([1; 32]), ServerPublic([2; 32]));
        let seen = |n: u8, new| Sighting { client: [n; 32], new, at_ms: u64::from(n) };
        let mut file = FollowedFile::of(&folder);
        assert_eq!(file.read(&server), []);
        assert!(file.add(&seen(1, true)).is_err(), "nothing is begun");
        file.begin(&server, &[seen(1, true)]).unwrap();
        file.add(&seen(2, false)).unwrap();
        // A restart, and a line that a crash cut.
        let mut file = FollowedFile::of(&folder);
        file.add(&seen(2, true)).unwrap();
        let mut cut = OpenOptions::new().append(true).open(folder.join("followed")).unwrap();
        cut.write_all(b"new 0303").unwrap();
        assert_eq!(file.read(&server), [seen(1, true), seen(2, false), seen(2, true)]);
        assert_eq!(file.read(&other), []);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
