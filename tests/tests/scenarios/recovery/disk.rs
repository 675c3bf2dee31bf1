//! A disk without room.

use super::*;

/// A disk of the daemon's own, seen from outside.
struct Disk {
    root: PathBuf,
}

impl Disk {
    fn of(server: &mut Server) -> Disk {
        let inside = server.folder().join("disk");
        let root = PathBuf::from(format!("/proc/{}/root", server.daemon().pid()));
        Disk { root: root.join(inside.strip_prefix("/").unwrap()) }
    }

    /// Takes all the room, down to the last byte.
    fn fill(&self) {
        let mut ballast = File::create(self.root.join("ballast")).unwrap();
        for size in [65536, 4096, 1] {
            while ballast.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.root.join("ballast")).unwrap();
    }
}

#[test]
fn a_full_disk() {
    need_namespaces!();
    let net = lan();
    let config = config(2).set("server.state", "\"{dir}/disk/state\"");
    let script =
        "mkdir -p \"$0\" && mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\" && exec \"$@\"";
    let server =
        Server::prepare(&net.server, &config).with_wrapper(&["sh", "-c", script, "{dir}/disk"]);
    let mut scene = Scene::of(server, &net.client, &["ssh"]);
    scene.server.wait_fence();
    let disk = Disk::of(&mut scene.server);
    assert!(disk.root.join("state/spa.store").exists(), "the store is not on the small disk");

    // Time stamps of the first two seconds are covered by what the start has written.
    assert!(wait_until(PATIENCE, || scene.server.status()["up-s"].as_u64() >= Some(3)));
    // The store's file has room for some more records inside itself; without the file there is
    // none.
    disk.fill();
    fs::rename(disk.root.join("state/spa.store"), disk.root.join("state/away")).unwrap();
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        assert_eq!(opened.status.code(), Some(1), "{family}: {opened:?}");
        let service = &opened.json["services"][0];
        assert_eq!(
            (&service["granted"], &service["reason"]),
            (&false.into(), &"store".into()),
            "{opened:?}"
        );
        assert!(opened.stderr.contains("store"), "{family}: {opened:?}");
        let source = format!("source={} ", net.client.address(family));
        let line =
            scene.server.wait_log(&["event=failed", "client=laptop ", &source, "reason=store"]);
        assert!(line.contains("space"), "{family}: {line}");
        assert_eq!(grant(&net.server, family), None, "{family}");
        assert!(scene.is_hidden(family, SSH), "{family}");
    });
    scene.server.wait_log(&["event=store", "level=error", "space"]);

    disk.free();
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH) && scene.is_hidden(family, WEB), "{family}");
    });
    assert!(disk.root.join("state/spa.store").exists(), "the store was not made anew");
}
