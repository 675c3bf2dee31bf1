//! Root's commands in a folder of a lesser user, who puts something else in the place of a file.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};

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

#[test]
fn b11_what_the_system_refuses_is_said_with_its_file() {
    need_namespaces!();
    let files = Files::new(&config(60));
    let path = |name: &str| files.at(name).display().to_string();
    let (server, config) = (binary("spa-server").display().to_string(), path("server.toml"));
    let limited = |words: &str| {
        let script = format!("ulimit -f 0; exec {words}");
        let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output();
        output.unwrap()
    };
    for words in [
        format!("{server} client add a {} --service ssh --config {config}", files.public),
        format!("{server} init --config {}", path("new/x.toml")),
        format!("{} keygen -o {}", binary("spa").display(), path("other.key")),
        format!("{server} run --config {config}"),
    ] {
        let output = limited(&words);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{words}: {:?}: {}",
            output.status,
            said(&output)
        );
        assert!(said(&output).contains("File too large"), "{words}: {}", said(&output));
        // The server's first files are copies without a name.
        let told = said(&output).contains(&path("")) || said(&output).contains("into memory");
        assert!(told, "{words}: no file: {}", said(&output));
    }
    for (name, command) in [
        (".clients.toml.lock", "client"),
        (".clients.toml.new", "client"),
        ("state/spa.lock", "run"),
        ("state/spa.store.new", "run"),
    ] {
        let _a_lock = fs::remove_file(files.at(name));
        fs::create_dir_all(files.at(name)).unwrap();
        fs::set_permissions(files.at(name).parent().unwrap(), Permissions::from_mode(0o700))
            .unwrap();
        let output = match command {
            "client" => files.add_client("laptop"),
            _ => files.server(&["run"]),
        };
        assert!(!output.status.success() && output.status.code().is_some(), "{name}");
        let stem = name.trim_end_matches(".new").trim_end_matches(".lock");
        assert!(said(&output).contains(stem), "{name}: {}", said(&output));
        fs::remove_dir(files.at(name)).unwrap();
    }
}

#[test]
fn b8_a_hook_in_a_folder_of_others_is_refused() {
    need_namespaces!();
    let programs = TempDir::new();
    fs::set_permissions(programs.path(), Permissions::from_mode(0o755)).unwrap();
    for (folder, mode, owner) in [("group", 0o775, 0), ("all", 0o757, 0), ("theirs", 0o755, NOBODY)]
    {
        let inner = programs.join(folder).join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(programs.join(folder), Permissions::from_mode(mode)).unwrap();
        chown(programs.join(folder), Some(owner), Some(owner)).unwrap();
        let program = inner.join("hook");
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let link = programs.join(format!("link-{folder}"));
        symlink(&inner, &link).unwrap();
        for program in [program, link.join("hook")] {
            let hook = format!(
                "ports = [\"tcp/22\"]\non-open = {{ run = [\"{}\"], user = \"nobody\" }}",
                program.display()
            );
            let files = Files::new(&Config::default().service("ssh", &hook));
            let path = files.at("server.toml").display().to_string();
            let output = run("spa-server", &["check", &path]);
            assert!(said(&output).contains("others may replace"), "{folder}: {}", said(&output));
        }
    }
}

/// What stands in the place of a small file of the server's neither holds up its start nor fills
/// its memory.
#[test]
fn b5_a_pipe_or_an_endless_file_ends_no_start() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    for file in ["state/followed", "control.run"] {
        for is_pipe in [true, false] {
            assert!(scene.server.stop().success(), "{file}");
            let path = scene.server.folder().join(file);
            let _may_not_be_there = fs::remove_file(&path);
            if is_pipe {
                assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            } else {
                symlink("/dev/zero", &path).unwrap();
            }
            // Ready, or the test fails.
            scene.server.launch();
            scene.server.wait_fence();
            both(|family| drop(scene.client.must_open("ssh", family, &[])));
        }
    }
}
