//! Checks that a hook can be run: asked by the runner before each run, because files and users
//! change, by the broker at the start, and by `check`.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use spa_keys::Failure;
use spa_keys::file::{self, FileError};

/// Bytes of a program in which the kernel looks for an interpreter (`BINPRM_BUF_SIZE`).
const INTERPRETER_LINE: u64 = 256;
/// Interpreters of interpreters that the kernel follows.
const MAX_INTERPRETERS: usize = 5;
/// Links of one path that the kernel follows.
const MAX_LINKS: usize = 40;

/// A program that nobody but us and root can change, interpreter included, and that can be run at
/// all.
///
/// # Errors
/// What is wrong with it, and the command that mends it.
pub(crate) fn check_program(path: &Path) -> Result<(), Failure> {
    let mut interpreter = check_file(path)?;
    for _ in 0..MAX_INTERPRETERS {
        let Some(link) = interpreter else { break };
        interpreter = check_file(&resolve_checked(&link)?)?;
    }
    Ok(())
}

/// Follows the links of a path; the folder of each is checked.
fn resolve_checked(path: &Path) -> Result<PathBuf, Failure> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        check_folders(&path)?;
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Ok(path)
}

/// Checks one file. Returns the interpreter that it names, which is run in its place (execve(2)).
fn check_file(path: &Path) -> Result<Option<PathBuf>, Failure> {
    check_folders(path)?;
    let failed = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let file = file::open_trusted(path)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o111 == 0 {
        let path = path.display();
        let problem = format!("{path} is not executable (mode {:04o})", mode & 0o7777);
        return Err(Failure::permission(problem).remedy(format!("chmod +x {path}")));
    }
    let mut head = Vec::new();
    file.take(INTERPRETER_LINE).read_to_end(&mut head).map_err(failed)?;
    Ok(parse_interpreter(&head))
}

/// The interpreter of a script, as the kernel reads it.
fn parse_interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0));
    words.find(|word| !word.is_empty()).map(|word| PathBuf::from(OsStr::from_bytes(word)))
}

/// Refuses a path with a folder in which others could put another program in the place of this one.
/// Both the path as it is written and the one that its links lead to count.
fn check_folders(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let failed = |error: io::Error| Failure::from(FileError::from_io(path, error));
    let resolved = std::fs::canonicalize(folder).map_err(failed)?;
    for folder in folder.ancestors().chain(resolved.ancestors()) {
        let meta = std::fs::metadata(folder).map_err(failed)?;
        let (mode, owner) = (meta.mode() & 0o7777, meta.uid());
        // With the sticky bit others can only replace what is theirs, and that is refused as such.
        let writable = mode & 0o022 != 0 && mode & 0o1000 == 0;
        if !writable && (owner == 0 || owner == geteuid().as_raw()) {
            continue;
        }
        let (path, at) = (path.display(), folder.display());
        let problem = format!(
            "others may replace {path}: its folder {at} belongs to user {owner}, mode {mode:04o}"
        );
        return Err(
            Failure::permission(problem).remedy(format!("chown root {at}; chmod go-w {at}"))
        );
    }
    Ok(())
}

/// Whom a hook of this server runs as; `None`: as the server does.
///
/// # Errors
/// As [`user`], and that it would be root.
pub(crate) fn user_or_own(name: Option<&str>) -> Result<Option<User>, Failure> {
    match name {
        Some(name) => find_user(name).map(Some),
        None if geteuid().is_root() => refuse_root().map(|()| None),
        None => Ok(None),
    }
}

/// Refuses a hook that would run as root.
///
/// # Errors
/// Always.
pub(crate) fn refuse_root() -> Result<(), Failure> {
    Err(Failure::config("a hook never runs as root: name its user = \"nobody\" or another"))
}

/// The user that a hook runs as.
///
/// # Errors
/// There is none of this name, it is root, or a process of ours cannot become it.
pub(crate) fn find_user(name: &str) -> Result<User, Failure> {
    let user =
        User::from_name(name).map_err(|error| Failure::failed(format!("user {name}: {error}")))?;
    let user = user.ok_or_else(|| {
        Failure::config(format!("there is no user {name}"))
            .remedy_after("make one", format!("useradd --system --shell /usr/sbin/nologin {name}"))
    })?;
    if user.uid.is_root() {
        let problem = format!("{name} is root, and a hook never runs as root: name another user");
        return Err(Failure::config(problem));
    }
    let us = geteuid();
    if !us.is_root() && user.uid != us {
        return Err(Failure::permission(format!(
            "a server that runs as user {us} cannot become {name}: leave `user` out, and it runs \
             as the server does"
        )));
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn programs() {
        let folder = std::env::temp_dir().join(format!("spa-fit-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("hook");
        assert!(check_program(&path).unwrap_err().to_string().contains("does not exist"));
        fs::write(&path, "#!/bin/sh\n").unwrap();
        for (mode, wrong) in
            [(0o644, "not executable"), (0o775, "others may change"), (0o757, "others may change")]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(check_program(&path).unwrap_err().to_string().contains(wrong), "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(check_program(&path), Ok(()));
        assert!(check_program(&folder).unwrap_err().to_string().contains("not a regular file"));
        let shell = folder.join("shell");
        fs::copy("/bin/sh", &shell).unwrap();
        let by = |interpreter: &Path| {
            fs::write(&path, format!("#! \t{} -e\n", interpreter.display())).unwrap();
            check_program(&path).map_err(|error| error.to_string())
        };
        assert_eq!(by(&shell), Ok(()));
        fs::set_permissions(&shell, Permissions::from_mode(0o757)).unwrap();
        assert!(by(&shell).unwrap_err().contains("others may change"));
        let open = folder.join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink("/bin/sh", open.join("sh")).unwrap();
        std::os::unix::fs::symlink(open.join("sh"), folder.join("by")).unwrap();
        assert!(by(&folder.join("by")).unwrap_err().contains("others may replace"));
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let link = folder.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(check_program(&link).unwrap_err().to_string().contains("symbolic link"));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            assert!(
                check_program(&path).unwrap_err().to_string().contains("belongs to user 65534")
            );
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn users() {
        assert!(
            find_user("no-such-user-here")
                .unwrap_err()
                .to_string()
                .contains("there is no user no-such-user-here")
        );
        assert!(find_user("root").unwrap_err().to_string().contains("never runs as root"));
        if geteuid().is_root() {
            assert_eq!(find_user("nobody").unwrap().uid.as_raw(), 65_534);
        } else {
            assert!(find_user("nobody").unwrap_err().to_string().contains("cannot become nobody"));
        }
    }
}
