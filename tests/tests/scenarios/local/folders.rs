//! Root's commands in a folder of a lesser user, who puts something else in the place of a file.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use spa_tests::scene::config;

use super::*;

/// What root's commands are led to.
fn assert_untouched(victim: &Path, output: &Output) {
    assert_eq!(owner_of(victim), 0, "given away: {}", said(output));
    assert_eq!(fs::read_to_string(victim).unwrap(), "root:x\n", "{}", said(output));
}

#[test]
fn b1_a_link_in_place_of_a_lock_is_not_followed() {
    need_namespaces!();
    let roots = TempDir::new();
    let victim = secret_of_root(&roots);
    let files = Files::of_nobody(&config(60));
    fs::create_dir(files.at("state-broker")).unwrap();
    chown(files.at("state-broker"), Some(NOBODY), Some(NOBODY)).unwrap();
    let commands: [(&str, &[&str]); 4] = [
        (".clients.toml.lock", &["client", "add", "laptop", &files.public, "--service", "ssh"]),
        (".clients.toml.lock", &["client", "remove", "laptop"]),
        ("state-broker/.enrolled.toml.lock", &["invite", "phone", "--service", "ssh"]),
        (".server.toml.lock", &["rotate-key"]),
    ];
    for (lock, command) in commands {
        // A hard link tells of itself by the number of links only.
        for hard in [false, true] {
            let lock = files.at(lock);
            let link = if hard { fs::hard_link(&victim, &lock) } else { symlink(&victim, &lock) };
            link.unwrap();
            let output = files.server(command);
            assert_untouched(&victim, &output);
            assert!(!output.status.success(), "{command:?}: {}", said(&output));
            assert!(said(&output).contains("link"), "{command:?}: {}", said(&output));
            fs::remove_file(&lock).unwrap();
        }
    }
    // Without the link they work, and the daemon's user can use what root has made.
    let output = files.add_client("laptop");
    assert!(output.status.success(), "{}", said(&output));
    for name in ["clients.toml", ".clients.toml.lock"] {
        assert_eq!(owner_of(&files.at(name)), NOBODY, "{name}");
    }
}

#[test]
fn b1_a_link_in_place_of_a_file_is_not_written_through() {
    need_namespaces!();
    let roots = TempDir::new();
    let files = Files::of_nobody(&config(60));
    let victim = roots.write("other.toml", "[other]\n");
    for name in ["clients.toml", "state-broker/enrolled.toml"] {
        let path = files.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&victim, &path).unwrap();
        let output = match name {
            "clients.toml" => files.add_client("laptop"),
            _ => files.server(&["invite", "phone", "--service", "ssh"]),
        };
        assert_eq!(fs::read_to_string(&victim).unwrap(), "[other]\n", "{}", said(&output));
        assert!(!output.status.success(), "{name}: {}", said(&output));
        assert!(!said(&output).contains("[other]"), "it is shown: {}", said(&output));
        // Nor is anything made beside what it points at.
        assert_eq!(fs::read_dir(roots.path()).unwrap().count(), 1, "{name}");
        fs::remove_file(&path).unwrap();
    }
    let made = nix::unistd::mkfifo(&files.at("clients.toml"), nix::sys::stat::Mode::S_IRUSR);
    made.unwrap();
    let output = files.add_client("laptop");
    assert!(said(&output).contains("not a regular file"), "{}", said(&output));
}

#[test]
fn b1_what_init_and_rotate_key_make_is_not_exchanged_before_it_is_given_away() {
    need_namespaces!();
    let roots = TempDir::new();
    let victim = secret_of_root(&roots);
    let folder = TempDir::new();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let (key, link) = (folder.join("server.key"), folder.join("link"));
    symlink(&victim, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let exchange = RenameFlags::RENAME_EXCHANGE;
                if renameat2(AT_FDCWD, &key, AT_FDCWD, &link, exchange).is_ok() {
                    done.store(true, Ordering::Relaxed);
                }
            }
        });
        let config = folder.join("spa-server.toml").display().to_string();
        for _ in 0..100 {
            let output = run("spa-server", &["init", "--host", "gate", "--config", &config]);
            let given = owner_of(&victim);
            for name in ["spa-server.toml", "server.key"] {
                let _gone = fs::remove_file(folder.join(name));
            }
            let _gone = fs::remove_file(&link);
            symlink(&victim, &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
            if given != 0 {
                stop.store(true, Ordering::Relaxed);
                panic!("/etc/shadow would belong to user {given}: {}", said(&output));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(done.load(Ordering::Relaxed), "nothing was ever exchanged");
}
