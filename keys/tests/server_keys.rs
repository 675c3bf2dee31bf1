//! A host's file while its server changes its key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use spa_keys::{Folder, HostLine, Sequence, after_answer};
use spa_proto::{ClientSecret, HopKey, HopPlan, Psk, ServerKeys, ServerPublic, ServerSecret};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("spa-server-keys-{name}-{}", std::process::id()));
        let _old = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn folder(&self) -> Folder {
        Folder::at(self.0.clone())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn secret(n: u8) -> ServerSecret {
    ServerSecret::from_bytes([n; 32])
}

fn keys(n: u8) -> ServerKeys {
    ServerKeys { public: secret(n).public(), hop: Some(HopKey::of_server(&secret(n))) }
}

fn line(n: u8) -> HostLine {
    let plan = HopPlan::new(40_000, 41_000, 3, Vec::new()).unwrap();
    HostLine {
        server: secret(n).public(),
        client_check: HostLine::check_of(&ClientSecret::from_bytes([9; 32]).public()),
        psk: Psk::from_bytes([8; 32]),
        name: "anna".into(),
        hosts: vec!["gate.example.org".into()],
        sequence: Sequence::Hop { key: HopKey::of_server(&secret(n)), plan },
        ack: true,
        kem: false,
        services: Vec::new(),
    }
}

#[test]
fn what_an_answer_makes_of_the_lines() {
    let (a, b, c) = (line(1), line(2), line(3));
    for (lines, by, told, expected) in [
        (vec![&a], &a, None, None),
        (vec![&a], &a, Some(2), Some(vec![&b, &a])),
        (vec![&b, &a], &a, Some(2), None),
        (vec![&b, &a], &b, None, Some(vec![&b])),
        // The server went back, before and after we had followed.
        (vec![&b, &a], &a, None, Some(vec![&a])),
        (vec![&b], &b, Some(1), Some(vec![&a, &b])),
        // And on to a third one.
        (vec![&b, &a], &b, Some(3), Some(vec![&c, &b])),
        // Its own key is no other.
        (vec![&a], &a, Some(1), None),
    ] {
        let lines: Vec<HostLine> = lines.into_iter().cloned().collect();
        let expected: Option<Vec<HostLine>> =
            expected.map(|lines| lines.into_iter().cloned().collect());
        assert_eq!(after_answer(&lines, by, told.map(keys).as_ref()), expected);
    }
    let one = std::array::from_fn(|i| u8::from(i == 0));
    for bytes in [[0; 32], one, [0xff; 32]] {
        let told = ServerKeys { public: ServerPublic(bytes), hop: None };
        assert_eq!(after_answer(std::slice::from_ref(&a), &a, Some(&told)), None, "{bytes:?}");
        let both = [b.clone(), a.clone()];
        assert_eq!(after_answer(&both, &a, Some(&told)), None, "{bytes:?}");
    }
}

#[test]
fn the_file_keeps_its_comments_and_its_mode() {
    let scratch = Scratch::new("file");
    let folder = scratch.folder();
    let path = folder.write_host("gate", &line(1), false).unwrap();
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("# mine\n\n{before}# below\n")).unwrap();
    let fresh = folder.answered("gate", &line(1), Some(&keys(2))).unwrap();
    assert_eq!(fresh, Some(vec![line(2), line(1)]));
    assert_eq!(folder.read_host_lines("gate").unwrap(), [line(2), line(1)]);
    assert_eq!(folder.read_host("gate").unwrap(), line(2));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# mine\n\n# gate: enrolment") && text.ends_with("\n# below\n"),
        "{text}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Again the same answer, and a late one that another process has taken already.
    assert_eq!(folder.answered("gate", &line(1), Some(&keys(2))).unwrap(), None);
    assert_eq!(folder.answered("gate", &line(2), None).unwrap(), Some(vec![line(2)]));
    assert_eq!(folder.answered("gate", &line(1), Some(&keys(3))).unwrap(), None);
    assert_eq!(folder.read_host_lines("gate").unwrap(), [line(2)]);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# mine\n\n# gate: enrolment") && text.ends_with("\n# below\n"),
        "{text}"
    );
}

#[test]
fn another_enrolment_is_left_alone() {
    let scratch = Scratch::new("other");
    let folder = scratch.folder();
    let other = HostLine { psk: Psk::from_bytes([7; 32]), ..line(1) };
    folder.write_host("gate", &other, false).unwrap();
    assert_eq!(folder.answered("gate", &line(1), Some(&keys(2))).unwrap(), None);
    assert_eq!(folder.read_host_lines("gate").unwrap(), [other]);
    // Two enrolments in one file are still a mistake.
    let path = folder.host_file("gate").unwrap();
    let (a, b) =
        (line(1).to_text().unwrap(), HostLine { name: "ben".into(), ..line(2) }.to_text().unwrap());
    std::fs::write(&path, format!("{}\n{}\n", a.expose(), b.expose())).unwrap();
    assert!(folder.read_host("gate").is_err());
}

#[test]
fn while_a_rotation_is_open_no_key_goes() {
    let scratch = Scratch::new("rotating");
    let folder = scratch.folder();
    folder.write_host("gate", &line(1), false).unwrap();
    folder.answered("gate", &line(1), Some(&keys(2))).unwrap();
    let pending = folder.hosts().join("gate.rotating");
    std::fs::write(&pending, "").unwrap();
    assert_eq!(folder.answered("gate", &line(2), None).unwrap(), None);
    assert_eq!(folder.read_host_lines("gate").unwrap(), [line(2), line(1)]);
    std::fs::remove_file(&pending).unwrap();
    assert_eq!(folder.answered("gate", &line(2), None).unwrap(), Some(vec![line(2)]));
}

#[test]
fn many_at_once_end_in_one_state() {
    let scratch = Scratch::new("many");
    let folder = scratch.folder();
    folder.write_host("gate", &line(1), false).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| folder.answered("gate", &line(1), Some(&keys(2))).unwrap());
        }
    });
    assert_eq!(folder.read_host_lines("gate").unwrap(), [line(2), line(1)]);
    let files: Vec<_> = std::fs::read_dir(folder.hosts()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}
