//! Manners of secret files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod folder;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use folder::TempFolder;
use spa_keys::file::{self, FileError};
use spa_keys::key_file::{self, KeyFileError};
use spa_keys::{SecretText, TextError, TextForm};
use spa_proto::{ClientSecret, ServerSecret};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn refused(result: Result<SecretText, FileError>) -> FileError {
    result.err().expect("must be refused")
}

#[test]
fn written_with_0600_and_read_back() {
    let folder = TempFolder::new();
    let path = folder.path("key");
    let key = ClientSecret::from_bytes([7; 32]);
    key_file::write(&path, &key, "2026-05-01T12:00:00.5Z".parse().unwrap()).unwrap();
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let expected = format!(
        "# created: 2026-05-01T12:00:00Z\n# public: {}\n{}\n",
        key.public().to_text(),
        key.to_text().expose()
    );
    assert_eq!(text, expected);
    let read: ClientSecret = key_file::read(&path).unwrap();
    assert_eq!(*read.to_bytes(), [7; 32]);
}

#[test]
fn never_overwritten() {
    let folder = TempFolder::new();
    let path = folder.path("key");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(file::write_new(&path, "other"), Err(FileError::Exists(_))));
    let link = folder.path("link");
    symlink(folder.path("nowhere"), &link).unwrap();
    assert!(matches!(file::write_new(&link, "other"), Err(FileError::Exists(_))));
    assert!(!folder.path("nowhere").exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn replaced_whole_and_nothing_left_beside_it() {
    let folder = TempFolder::new();
    let path = folder.path("clients");
    file::replace(&path, "one").unwrap();
    file::replace(&path, "two").unwrap();
    assert_eq!(file::read_secret(&path).ok().unwrap().expose(), "two");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn refused_modes() {
    let folder = TempFolder::new();
    let path = folder.path("key");
    fs::write(&path, "x").unwrap();
    for bits in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777, 0o440, 0o444] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        let error = refused(file::read_secret(&path));
        assert!(matches!(error, FileError::Mode { mode, .. } if mode == bits), "{bits:o}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
        assert_eq!(error.exit_code(), 77);
    }
    for bits in [0o600, 0o400, 0o700] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        assert!(file::read_secret(&path).is_ok(), "{bits:o}");
    }
}

#[test]
fn refused_kinds_of_files() {
    let folder = TempFolder::new();
    let target = folder.path("target");
    file::write_new(&target, "x").unwrap();
    let link = folder.path("link");
    symlink(&target, &link).unwrap();
    assert!(matches!(refused(file::read_secret(&link)), FileError::Symlink(_)));
    assert!(matches!(
        refused(file::read_secret(target.parent().unwrap())),
        FileError::NotRegular(_)
    ));
    assert!(matches!(refused(file::read_secret("/dev/zero".as_ref())), FileError::NotRegular(_)));
    let pipe = folder.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    // Would hang here if the open waited for a writer.
    assert!(matches!(refused(file::read_secret(&pipe)), FileError::NotRegular(_)));
    assert!(matches!(refused(file::read_secret(&folder.path("none"))), FileError::Missing(_)));
}

#[test]
fn somebody_elses_file_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can give a file away");
        return;
    }
    let folder = TempFolder::new();
    let path = folder.path("key");
    file::write_new(&path, "x").unwrap();
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let error = refused(file::read_secret(&path));
    assert!(matches!(error, FileError::Owner { owner: 65534, .. }), "{error}");
}

#[test]
fn huge_and_binary_files_are_refused() {
    let folder = TempFolder::new();
    let path = folder.path("huge");
    let full = usize::try_from(file::MAX_SECRET_FILE).unwrap();
    file::write_new(&path, &"x".repeat(full)).unwrap();
    assert_eq!(file::read_secret(&path).ok().unwrap().expose().len(), full);
    file::replace(&path, &"x".repeat(full + 1)).unwrap();
    assert!(matches!(refused(file::read_secret(&path)), FileError::Large { .. }));
    // A sparse terabyte must not be read, nor asked memory for.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(refused(file::read_secret(&path)), FileError::Large { .. }));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(refused(file::read_secret(&path)), FileError::NotText(_)));
}

#[test]
fn what_stands_in_a_key_file() {
    let folder = TempFolder::new();
    let good = ClientSecret::from_bytes([7; 32]).to_text();
    let good = good.expose();
    let server = ServerSecret::from_bytes([7; 32]).to_text();
    let read = |text: &str| {
        let path = folder.path("key");
        file::replace(&path, text).unwrap();
        key_file::read::<ClientSecret>(&path).err()
    };
    assert!(read(&format!("# a\r\n\n  {good}  \r\n# b")).is_none());
    assert!(matches!(read(""), Some(KeyFileError::Count { found: 0, .. })));
    assert!(matches!(read("# only\n"), Some(KeyFileError::Count { found: 0, .. })));
    assert!(matches!(
        read(&format!("{good}\n{good}\n")),
        Some(KeyFileError::Count { found: 2, .. })
    ));
    assert!(matches!(
        read(&format!("# one\n{}", server.expose())),
        Some(KeyFileError::Text { line: 2, error: TextError::Other { .. }, .. })
    ));
}

#[test]
fn a_sparse_file_of_a_terabyte_is_refused_unread() {
    let folder = TempFolder::new();
    let path = folder.path("clients");
    file::create_private(&path).unwrap().set_len(1 << 40).unwrap();
    let begun = std::time::Instant::now();
    let error = refused(file::read_secret_up_to(&path, 512 << 20));
    assert!(matches!(error, FileError::Large { .. }), "{error}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// As NixOS and Kubernetes make them: a chain of links, relative and absolute, through folders that
/// are links too.
#[test]
fn links_that_only_we_and_root_can_change_lead_to_their_file() {
    let folder = TempFolder::new();
    let at = |name: &str| folder.path(name);
    fs::create_dir_all(at("..2026/sub")).unwrap();
    file::write_new(&at("..2026/key"), "x").unwrap();
    symlink("..2026", at("..data")).unwrap();
    symlink("..data/key", at("key")).unwrap();
    symlink(at("key"), at("..2026/sub/again")).unwrap();
    symlink("..data/sub/../sub/again", at("far")).unwrap();
    let real = at("..2026/key").canonicalize().unwrap();
    for name in ["key", "far", "..2026/sub/again"] {
        assert_eq!(file::follow_trusted(&at(name)).unwrap(), real, "{name}");
    }
    assert_eq!(file::follow_trusted(&at("..2026/key")).unwrap(), at("..2026/key"));
    assert_eq!(file::follow_trusted(&at("none")).unwrap(), at("none"));
    symlink("round", at("round")).unwrap();
    let refused = |name: &str| file::follow_trusted(&at(name)).is_err();
    symlink("gone", at("nowhere")).unwrap();
    let nowhere = file::follow_trusted(&at("nowhere")).unwrap_err();
    assert!(nowhere.to_string().contains("leads nowhere"), "{nowhere}");
    assert_eq!(nowhere.exit_code(), spa_keys::exit::CONFIG, "a start that is tried again for ever");
    assert!(!matches!(nowhere, FileError::Missing(_)));
    assert!(refused("round"));
    // A folder in which others put another link.
    fs::set_permissions(at("..2026"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!refused("key"), "the link itself is not there");
    assert!(!refused("..2026/key"), "no link: the reader looks at the file");
    fs::set_permissions(at("..2026/sub"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused("far") && refused("..2026/sub/again"));
    fs::set_permissions(at("..2026/sub"), fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(!refused("far"));
    if nix::unistd::geteuid().is_root() {
        // A link of somebody else.
        std::os::unix::fs::lchown(at("..data"), Some(65_534), None).unwrap();
        assert!(refused("key"));
        std::os::unix::fs::lchown(at("..data"), Some(0), None).unwrap();
        // A folder of somebody else: its owner's files alone.
        let theirs = at("..2026/sub");
        std::os::unix::fs::chown(&theirs, Some(65_534), None).unwrap();
        assert!(refused("..2026/sub/again"));
        std::os::unix::fs::chown(&real, Some(65_534), None).unwrap();
        assert!(!refused("..2026/sub/again"));
    }
}
