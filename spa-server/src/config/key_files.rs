//! Key files and secret files of a configuration: opened in one place, with every check.

use std::fs::File;
use std::path::{Path, PathBuf};

use spa_keys::file::{self, FileError};
use spa_keys::key_file::KeyFileError;
use spa_keys::{Failure, TextForm, UnixMillis, exit, key_file};
use spa_proto::{ClientPublic, HopPlan, Psk, ServerSecret};

use super::{Config, KeyText, SecretFile, Stages, Surroundings};

/// Most bytes of a clients' file: a million stanzas.
pub(crate) const CLIENTS_LIMIT: u64 = 512 << 20;

/// This process's surroundings, with keys checked and secret files opened in the one place that
/// does so.
#[must_use]
pub fn surroundings(check_only: bool) -> Surroundings<'static> {
    Surroundings {
        check_key: &check_key,
        read_secret: &read_secret,
        check_only,
        now_ms: check_only.then(|| UnixMillis::now().as_millis()),
        ..Surroundings::of_process()
    }
}

fn check_key(key: KeyText<'_>) -> Result<(), Failure> {
    match key {
        KeyText::Public(text) => ClientPublic::from_text(text).map(drop)?,
        KeyText::Psk(text) => Psk::from_text(text).map(drop)?,
    }
    Ok(())
}

fn read_secret(path: &Path) -> std::io::Result<Vec<u8>> {
    let read = || file::read_opened(path, open_followed(path)?, CLIENTS_LIMIT);
    match read() {
        Ok(text) => Ok(text.expose().as_bytes().to_vec()),
        Err(error @ FileError::Missing(_)) => {
            Err(std::io::Error::new(std::io::ErrorKind::NotFound, error.to_string()))
        }
        Err(error) => Err(std::io::Error::other(error.to_string())),
    }
}

/// The server's key from its file or credential.
///
/// # Errors
/// What is wrong with it, and the command that makes one.
pub fn server_key(file: &SecretFile, around: &Surroundings<'_>) -> Result<ServerSecret, Failure> {
    let path = key_path(file, around)?;
    key_file::read_opened(&path, open_key(file, around)?).map_err(|error| key_failure(&error))
}

/// The opened file of the server's key.
///
/// # Errors
/// As [`server_key`].
pub(crate) fn open_key(file: &SecretFile, around: &Surroundings<'_>) -> Result<File, Failure> {
    let path = key_path(file, around)?;
    open_followed(&path).map_err(|error| key_failure(&error.into()))
}

/// Opens a file with secrets, or what a link leads to that only we and root can change.
pub(crate) fn open_followed(path: &Path) -> Result<File, FileError> {
    file::open_behind(path, file::open_secret)
}

/// The opened file of the server's key from before and its path, unless there is none or its time
/// is over: then its file may be gone as well.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn open_previous(
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Option<(PathBuf, File)>, Failure> {
    let now_ms = UnixMillis::now().as_millis();
    let Some(previous) =
        config.server.previous.as_ref().filter(|previous| !previous.is_over(now_ms))
    else {
        return Ok(None);
    };
    let path = key_path(&previous.file, around)?;
    let file = open_followed(&path).map_err(|error| previous_failure(&error.into()))?;
    Ok(Some((path, file)))
}

/// The server's key from before, while it lives.
///
/// # Errors
/// What is wrong with it.
pub fn previous_key(
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Option<ServerSecret>, Failure> {
    open_previous(config, around)?.map(|(path, file)| read_previous(&path, file)).transpose()
}

/// Reads the previous key from a file that was opened before privileges were dropped.
pub(crate) fn read_previous(path: &Path, file: File) -> Result<ServerSecret, Failure> {
    key_file::read_opened(path, file).map_err(|error| previous_failure(&error))
}

fn previous_failure(error: &KeyFileError) -> Failure {
    let Failure { code, .. } = key_failure(error);
    Failure::new(
        code,
        format!(
            "previous server key: {error}; put the file back, or take previous-key out of \
             [server]: clients that have not followed are then locked out"
        ),
    )
}

fn key_path(file: &SecretFile, around: &Surroundings<'_>) -> Result<PathBuf, Failure> {
    file.path(around.credentials.as_deref()).ok_or_else(|| {
        Failure::config(
            "the server key is a credential, but $CREDENTIALS_DIRECTORY is not set: start the \
             server by its systemd \
             unit, or name a file in [server] key",
        )
    })
}

/// Failure for a server key that cannot be read, with the exit code for its cause.
pub(crate) fn key_failure(error: &KeyFileError) -> Failure {
    let (code, hint) = match error {
        // A start that cannot work before somebody acts: systemd must not try it again and again.
        KeyFileError::File(FileError::Missing(_)) => {
            (exit::CONFIG, "; make one: spa-server init [--config FILE]".to_owned())
        }
        KeyFileError::File(FileError::NotText(_) | FileError::Large { .. })
        | KeyFileError::Count { .. }
        | KeyFileError::Text { .. } => {
            let hint = "; put back a copy, or move it away and make a new one: spa keygen --server \
                -o FILE; each client then needs a new line";
            (error.exit_code(), hint.to_owned())
        }
        error => (error.exit_code(), String::new()),
    };
    Failure::new(code, format!("server key: {error}{hint}"))
}

/// Ports between which the stages hop: the configured range without the excluded ports. The
/// enrolment line carries the same, so nothing that may change later, as baits may, is taken out
/// here; a knock port takes precedence over a bait in the table.
pub fn hop_plan(config: &Config) -> Option<Result<HopPlan, Failure>> {
    let Stages::Hop { range, count, exclude } = &config.sequence.stages else { return None };
    let exclude = exclude.iter().map(|e| (e.first, e.last)).collect();
    let plan = HopPlan::new(range.first, range.last, *count, exclude);
    Some(plan.map_err(|error| Failure::config(format!("[sequence] hop: {error}"))))
}

/// The name that `rotate-key` gives to key number `n`: `/etc/spa/server-2.key` beside
/// `/etc/spa/server.key` and beside `/etc/spa/server-7.key`.
pub(crate) fn numbered_key(old: &Path, n: u32) -> PathBuf {
    let stem = old.file_stem().unwrap_or_default().to_string_lossy();
    let extension =
        old.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    old.with_file_name(format!("{}-{n}{extension}", cut_number(&stem)))
}

/// Tells whether two files of a folder are named as one key and another that `rotate-key` made of
/// it.
pub(crate) fn is_numbered_alike(one: &Path, other: &Path) -> bool {
    let plain = |path: &Path| {
        let stem = path.file_stem()?.to_string_lossy().into_owned();
        Some((path.extension().map(ToOwned::to_owned), cut_number(&stem).to_owned()))
    };
    one.parent() == other.parent() && plain(one) == plain(other)
}

/// A stem without the number at its end.
fn cut_number(stem: &str) -> &str {
    let numbered = stem.rsplit_once('-').filter(|(_, n)| n.parse::<u32>().is_ok());
    numbered.map_or(stem, |(plain, _)| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys() {
        for (old, n, new) in [
            ("/etc/spa/server.key", 2, "/etc/spa/server-2.key"),
            ("/etc/spa/server-2.key", 3, "/etc/spa/server-3.key"),
            ("/k/my-key", 2, "/k/my-key-2"),
        ] {
            assert_eq!(numbered_key(Path::new(old), n), Path::new(new));
            assert!(is_numbered_alike(Path::new(old), Path::new(new)));
        }
        for (one, other) in
            [("/k/server.key", "/k/server.old"), ("/k/a-2.key", "/k/b-2.key"), ("/k/a", "/j/a-2")]
        {
            assert!(!is_numbered_alike(Path::new(one), Path::new(other)), "{one} {other}");
        }
    }
}
