use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::super::Surroundings;
use spa_keys::file::FileError;

use crate::domain::rotation::Rotation;

use super::super::{EditError, add_client, parse_clients, remove_client};
use super::newcomer;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("spa-clients-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn clients(&self) -> PathBuf {
        self.0.join("clients.toml")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn add_one(path: &Path, name: &str) -> Result<(), EditError> {
    add_client(path, &newcomer(name), None, &Surroundings::none())
}

fn names(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let (clients, findings) = parse_clients("clients.toml", &text, None, &Surroundings::none());
    clients.unwrap_or_else(|| panic!("{findings}")).iter().map(|c| c.name.to_string()).collect()
}

#[test]
fn add_and_remove() {
    let scratch = Scratch::new();
    let path = scratch.clients();
    add_one(&path, "alice").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    let mut bob = newcomer("bob");
    bob.from = vec!["192.0.2.0/24".to_owned()];
    bob.hours = Some("22:00-06:00".to_owned());
    bob.expires = Some("2027-01-31".to_owned());
    bob.ttl = Some("1h".to_owned());
    bob.max_ttl = Some("2h".to_owned());
    bob.max_grants = Some(3);
    bob.grant_prefix_v4 = Some(24);
    bob.grant_prefix_v6 = Some(64);
    bob.third_party = true;
    bob.rotate = Some(Rotation::Never);
    add_client(&path, &bob, None, &Surroundings::none()).unwrap();
    assert_eq!(names(&path), ["alice", "bob"]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# Who may knock"));
    assert!(text.ends_with(
        "\n[[client]]\nname = \"bob\"\npublic = \"spa1bob\"\npsk = \"SPA-PSK-1BOB\"\nservices = \
         [\"ssh\"]\nfrom = [\"192.0.2.0/24\"]\nhours = \"22:00-06:00\"\nexpires = \
         \"2027-01-31\"\nttl = \"1h\"\nmax-ttl = \"2h\"\nmax-grants = 3\ngrant-prefix-v4 = \
         24\ngrant-prefix-v6 = 64\nthird-party = true\nrotate = \"never\"\nsequence = { ports = [888, 555, \
         222] }\n"
    ), "{text}");
    remove_client(&path, "alice", &Surroundings::none()).unwrap();
    assert_eq!(names(&path), ["bob"]);
    assert!(fs::read_to_string(&path).unwrap().starts_with("# Who may knock"));
    let error = remove_client(&path, "alice", &Surroundings::none()).unwrap_err();
    assert!(matches!(error, EditError::Unknown { .. }), "{error}");
    remove_client(&path, "bob", &Surroundings::none()).unwrap();
    assert!(names(&path).is_empty());
    assert!(fs::read_to_string(&path).unwrap().contains("# Who may knock"));
    add_one(&path, "carol").unwrap();
    assert_eq!(names(&path), ["carol"]);
}

#[test]
fn comments_are_kept() {
    let stanza = |name: &str| {
        format!(
            "[[client]]\nname = \"{name}\" # the {name}\npublic = \"spa1{name}\"\npsk = \
             \"SPA-PSK-1{name}\"\nservices = [\n  \"ssh\", # shell\n]\n"
        )
    };
    let text = format!(
        "# head of the file\n\n# about a\n{}\n# a heading\n\n# about b\n{}\n# about c\n{}\n# the \
         end\n",
        stanza("a"),
        stanza("b"),
        stanza("c")
    );
    let scratch = Scratch::new();
    let path = scratch.clients();
    fs::write(&path, &text).unwrap();
    add_one(&path, "d").unwrap();
    let with_d = fs::read_to_string(&path).unwrap();
    for comment in text.lines().filter(|l| l.contains('#')) {
        assert!(with_d.contains(comment), "{comment}\n{with_d}");
    }
    remove_client(&path, "d", &Surroundings::none()).unwrap();
    remove_client(&path, "b", &Surroundings::none()).unwrap();
    remove_client(&path, "a", &Surroundings::none()).unwrap();
    let left = fs::read_to_string(&path).unwrap();
    for (comment, kept) in [
        ("# head of the file", true),
        ("# about a", false),
        ("# a heading", true),
        ("# about b", false),
        ("# about c", true),
        ("# the c", true),
        ("# the end", true),
    ] {
        assert_eq!(left.contains(comment), kept, "{comment}\n{left}");
    }
    remove_client(&path, "c", &Surroundings::none()).unwrap();
    let left = fs::read_to_string(&path).unwrap();
    assert!(left.contains("# head of the file") && left.contains("# the end"), "{left}");
}

#[test]
fn refused_and_unchanged() {
    let scratch = Scratch::new();
    let path = scratch.clients();
    add_one(&path, "alice").unwrap();
    let before = fs::read(&path).unwrap();
    let mut same_key = newcomer("other");
    same_key.public = "spa1alice".to_owned();
    let mut odd_hours = newcomer("other");
    odd_hours.hours = Some("always".to_owned());
    let mut quoted = newcomer("other");
    quoted.name = "x\"\n[[client]]".to_owned();
    for client in [newcomer("alice"), same_key, odd_hours, quoted] {
        let error = add_client(&path, &client, None, &Surroundings::none()).unwrap_err();
        assert!(matches!(error, EditError::Refused(_)), "{error}");
        assert!(!error.to_string().contains("PSK-1ALICE"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    let unknown =
        add_client(&path, &newcomer("other"), Some(&[]), &Surroundings::none()).unwrap_err();
    assert!(unknown.to_string().contains("there is no service `ssh`"), "{unknown}");
    fs::write(&path, "client = []\n").unwrap();
    assert!(matches!(add_one(&path, "x"), Err(EditError::Form)));
    fs::write(&path, "[[client]\n").unwrap();
    assert!(matches!(add_one(&path, "x"), Err(EditError::Refused(_))));
    assert_eq!(fs::read(&path).unwrap(), b"[[client]\n");
    let nowhere = add_one(&scratch.0.join("no/such/folder"), "x").unwrap_err();
    assert!(matches!(nowhere, EditError::File(FileError::Missing(_))), "{nowhere}");
}

#[test]
fn links_modes_and_leftovers() {
    let scratch = Scratch::new();
    let real = scratch.0.join("real.toml");
    add_one(&real, "alice").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&real, scratch.clients()).unwrap();
    let link = add_one(&scratch.clients(), "bob").unwrap_err();
    assert!(matches!(link, EditError::File(FileError::Symlink(_))), "{link}");
    fs::write(scratch.0.join(".real.toml.new"), "left by a crash").unwrap();
    add_one(&real, "bob").unwrap();
    assert_eq!(names(&real), ["alice", "bob"]);
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o600);
    assert!(!scratch.0.join(".real.toml.new").exists());
    if nix::unistd::geteuid().is_root() {
        for path in [&scratch.0, &real] {
            std::os::unix::fs::chown(path, Some(65534), Some(65533)).unwrap();
        }
        add_one(&real, "carol").unwrap();
        let meta = fs::metadata(&real).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (65534, 65533, 0o600));
    }
}

#[test]
fn many_writers_lose_nothing() {
    let scratch = Scratch::new();
    let path = scratch.clients();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                (0..10).for_each(|i| add_one(path, &format!("c{writer}-{i}")).unwrap())
            });
        }
    });
    assert_eq!(names(&path).len(), 40);
}

const FULL: &str = "SPA_CLIENTS_TEST_FULL";

#[test]
#[ignore = "run by full_disk as its child"]
fn child() {
    let Some(folder) = std::env::var_os(FULL) else { return };
    let path = Path::new(&folder).join("clients.toml");
    let mut added = 0;
    let error = loop {
        let before = fs::read(&path).unwrap_or_default();
        match add_one(&path, &format!("client-{added}")) {
            Ok(()) => added += 1,
            Err(error) => {
                assert_eq!(fs::read(&path).unwrap(), before, "the old file is whole");
                break error;
            }
        }
    };
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(!Path::new(&folder).join(".clients.toml.new").exists());
    assert_eq!(names(&path).len(), added);
    // Less is always possible again after something is freed.
    fs::remove_file(Path::new(&folder).join("ballast")).unwrap();
    remove_client(&path, "client-0", &Surroundings::none()).unwrap();
    assert_eq!(names(&path).len(), added - 1);
    println!("all of it, {added} clients");
}

#[test]
fn full_disk() {
    let scratch = Scratch::new();
    let script = "mount -t tmpfs -o size=64k,mode=700 tmpfs \"$SPA_CLIENTS_TEST_FULL\" \
        && head -c 16384 /dev/zero > \"$SPA_CLIENTS_TEST_FULL/ballast\" && exec \"$0\" \"$@\"";
    let root = nix::unistd::geteuid().is_root();
    let output = Command::new("unshare")
        .args(if root { ["-m", "--"] } else { ["-rm", "--"] })
        .args(["sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "config::clients::tests::editing::child", "--ignored", "--nocapture"])
        .env(FULL, &scratch.0)
        .output()
        .expect("unshare of util-linux");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("all of it"), "needs the right to make mount namespaces\n{out}\n{err}");
}
