//! Files, sockets and disks.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use spa_server::config::{Surroundings, clients::parse_clients, load_text};
use spa_server::control::Question;
use spa_server::ipc::channel::{Channel, ChannelError};
use spa_server::ipc::hooks::{JobReport, Task};
use spa_server::ipc::message::{ListenerOrder, Notice, Reply, Request};
use spa_server::store::{DiskStore, StoreSnapshot, StoreState, Used};

const PATH: &str = "/etc/spa/spa-server.toml";

/// A configuration: it is read in bounded words, or its findings are bounded.
pub(crate) fn config(data: &[u8]) {
    let nothing = |_: &Path| -> io::Result<Vec<u8>> { Ok(Vec::new()) };
    let around = Surroundings { read_secret: &nothing, ..Surroundings::none() };
    match load_text(Path::new(PATH), data, &around) {
        Ok(loaded) => {
            let rules = loaded.config.rules(&[]);
            let _text = format!("{rules:?}");
        }
        Err(findings) => assert!(findings.to_string().len() < 200_000, "findings without end"),
    }
}

/// A configuration of ours may have findings, but no fault of syntax.
pub(crate) fn must_parse(text: &str) {
    let nothing = |_: &Path| -> io::Result<Vec<u8>> { Ok(Vec::new()) };
    let around = Surroundings { read_secret: &nothing, ..Surroundings::none() };
    if let Err(findings) = load_text(Path::new(PATH), text.as_bytes(), &around) {
        let said = findings.to_string();
        assert!(!said.contains("TOML"), "{said}\n{text}");
    }
}

/// The clients' file.
pub(crate) fn clients(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (_, findings) = parse_clients("clients.toml", text, None, &Surroundings::none());
    assert!(findings.to_string().len() < 200_000, "findings without end");
}

/// A line of the control socket: what is understood is written the same way.
pub(crate) fn control(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Question::read(text) {
        Ok(question) => {
            let line = serde_json::to_string(&question).unwrap();
            assert_eq!(Question::read(&line).unwrap(), question);
        }
        Err(failure) => assert!(failure.to_string().len() < 4096),
    }
}

/// A message of each kind between the processes, by the real channel: what is taken is sent again
/// and taken as the same.
pub(crate) fn ipc(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    if bytes.is_empty() || send(ours.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT).is_err() {
        return;
    }
    let taken = Channel::from_inherited(theirs).unwrap();
    macro_rules! again {
        ($type:ty) => {
            match taken.receive_now::<$type>() {
                Ok((message, files)) => {
                    assert!(files.is_empty());
                    let (a, b) = Channel::pair().unwrap();
                    if a.send_now(&message, &[]).is_ok() {
                        let again = b.receive_now::<$type>().map(|(again, _)| again);
                        assert_eq!(again.ok().as_ref(), Some(&message));
                    }
                }
                Err(ChannelError::Garbage(_)) => {}
                Err(error) => panic!("{error}"),
            }
        };
    }
    match kind % 6 {
        0 => again!(Request),
        1 => again!(Reply),
        2 => again!(ListenerOrder),
        3 => again!(Notice),
        4 => again!(Task),
        _ => again!(JobReport),
    }
}

/// A folder of the process's own, in memory.
fn folder() -> PathBuf {
    let shm = Path::new("/dev/shm");
    let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    parent.join(format!("spa-fuzz-{}-{number}", std::process::id()))
}

fn snapshot() -> StoreSnapshot {
    let used = |i: u8| Used { session: [i; 16], client: [i; 32], ts: i.into(), accepted: i > 3 };
    StoreSnapshot { used: (0..8).map(used).collect(), stopped: 80, ..StoreSnapshot::default() }
}

/// Store files of the three kinds: as a crash leaves it, as a stop leaves it, torn in between.
fn made() -> &'static [Vec<u8>; 2] {
    static MADE: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let folder = folder().with_extension("made");
        let _old = fs::remove_dir_all(&folder);
        let mut store = DiskStore::open(&folder).unwrap().store;
        store.advance(200).unwrap();
        store.advance(300).unwrap();
        store.settle();
        let crashed = fs::read(folder.join("spa.store")).unwrap();
        store.stop(&snapshot()).unwrap();
        let stopped = fs::read(folder.join("spa.store")).unwrap();
        drop(store);
        fs::remove_dir_all(&folder).unwrap();
        [crashed, stopped]
    })
}

/// A store's file with bytes changed or cut: it says what was written last, or nothing.
pub(crate) fn store(data: &[u8]) {
    thread_local! {
        static FOLDER: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
    }
    let Some((kind, changes)) = data.split_first() else { return };
    let stopped = kind % 2 == 1;
    let mut file = made()[usize::from(stopped)].clone();
    let mut touched = [false; 2];
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        touched[usize::from(at >= 4096)] |= change[2] != 0;
        match file.get_mut(at) {
            Some(byte) => *byte ^= change[2],
            None if change[2] == 0 => {
                file.truncate(at % 16_384);
                touched = [true; 2];
            }
            None => file.push(change[2]),
        }
    }
    let folder = FOLDER.with(|own| own.borrow_mut().get_or_insert_with(folder).clone());
    let _old = fs::remove_dir_all(&folder);
    fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    fs::write(folder.join("spa.store"), &file).unwrap();
    let opened = DiskStore::open(&folder).unwrap();
    let spa_server::store::OpenedStore { state, store, .. } = opened;
    match state {
        StoreState::Crashed { mark } => assert_eq!(mark, 300),
        StoreState::Clean { snapshot: found } => assert!(stopped && found == snapshot()),
        StoreState::Unreadable { .. } => assert!(touched == [true; 2], "one whole slot is enough"),
        StoreState::Missing => panic!("the file was there"),
    }
    drop(store);
    let again = DiskStore::open(&folder).unwrap().state;
    assert!(matches!(again, StoreState::Crashed { .. }), "a snapshot twice");
    fs::remove_dir_all(&folder).unwrap();
}
