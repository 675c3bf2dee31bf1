//! `check` looks with the eyes of the unit: its user, rights and sandbox, from its files and
//! drop-ins.

use super::*;

/// A server below a unit of ours, as systemd would read it.
struct Installed {
    server: Server,
    _net: Lan,
}

impl Installed {
    fn new() -> Installed {
        let net = lan();
        let server = Server::prepare(&net.server, &scene::config(60));
        let folder = server.folder();
        for path in [folder.to_owned(), folder.join("state"), folder.join("state-broker")] {
            fs::create_dir_all(&path).unwrap();
        }
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in files.chain([folder.to_owned()]) {
            chown(&path, Some(65_534), Some(65_534)).unwrap();
        }
        Installed { server, _net: net }
    }

    /// Findings about the unit, with these lines in a drop-in of its own; `before` is a script that
    /// prepares the mounts. `{dir}` is the server's folder.
    fn check(&self, before: &str, lines: &str) -> Vec<(String, String)> {
        let dir = self.server.folder().display().to_string();
        let units = TempDir::new();
        fs::create_dir_all(units.join("spa-server.service.d")).unwrap();
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/systemd/spa-server.service");
        fs::copy(real, units.join("spa-server.service")).unwrap();
        let config = format!("{dir}/server.toml");
        let base = format!(
            "[Service]\nUser=nobody\nGroup=nogroup\nLoadCredential=\nExecStart=\n\
             ExecStart=spa-server run --config {config}\nPrivateTmp=no\nReadWritePaths={dir}\n"
        );
        units.write("spa-server.service.d/10-base.conf", base);
        let lines = format!("[Service]\n{}\n", lines.replace("{dir}", &dir));
        units.write("spa-server.service.d/20-case.conf", lines);
        let script = format!(
            "mount -t tmpfs none /run; mkdir -p /run/systemd/system\n\
             mount --bind {} /run/systemd/system\n{}\n\
             exec {} check --live --json {config}",
            units.path().display(),
            before.replace("{dir}", &dir),
            binary("spa-server").display()
        );
        let host = self.server.host();
        let (_, out, err) = run(host.command("unshare").args(["-m", "sh", "-ec", &script]));
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        let rows = answer["live"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
        let of_unit = rows.filter(|row| row["about"] == "unit");
        of_unit
            .map(|row| {
                let text = |key: &str| row[key].as_str().unwrap().to_owned();
                (text("weight"), text("text"))
            })
            .collect()
    }
}

/// Lines of a drop-in, and what is said, with its weight.
const CASES: [(&str, &str, &str); 25] = [
    ("", "good", "reaches its files, folders and the firewall"),
    // Files.
    ("ReadWritePaths=", "error", "ProtectSystem=strict makes it read-only"),
    ("ReadWritePaths=", "error", "[Service] ReadWritePaths={dir}/state"),
    ("ReadOnlyPaths={dir}/state", "error", "state: ReadOnlyPaths={dir}/state makes it read"),
    ("InaccessiblePaths={dir}/server.key", "error", "key {dir}/server.key: InaccessiblePaths="),
    ("TemporaryFileSystem={dir}:ro", "error", "TemporaryFileSystem={dir}:ro keeps it from"),
    ("ReadOnlyPaths=/srv/nothing-here", "error", "does not start (226/NAMESPACE)"),
    ("ReadWritePaths=-/srv/nothing-here", "good", "reaches its files"),
    ("PrivateTmp=yes\nReadWritePaths=", "error", "PrivateTmp=yes keeps it from"),
    ("User=daemon\nGroup=daemon", "error", "cannot enter {dir}: chgrp daemon {dir}"),
    ("User=root\nCapabilityBoundingSet=CAP_DAC_OVERRIDE", "good", "reaches its files"),
    ("User=root", "error", "root, the user of spa-server.service, cannot enter {dir}"),
    ("User=no-such-user", "error", "no user no-such-user, and spa-server.service does not"),
    ("SupplementaryGroups=no-such", "error", "there is no group no-such"),
    ("LoadCredential=server.key:/srv/no.key", "error", "does not start (243/CREDENTIALS)"),
    ("RootDirectory=/srv", "unknown", "RootDirectory=/srv gives spa-server.service files"),
    // Rights.
    ("AmbientCapabilities=", "error", "does not get CAP_NET_ADMIN"),
    ("AmbientCapabilities=~CAP_NET_RAW", "error", "does not get CAP_NET_RAW"),
    ("CapabilityBoundingSet=~CAP_NET_RAW", "error", "leaves out CAP_NET_RAW"),
    (
        "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX AF_NETLINK",
        "error",
        "leaves out AF_PACKET",
    ),
    ("RestrictAddressFamilies=~AF_NETLINK", "error", "leaves out AF_NETLINK"),
    ("PrivateNetwork=yes", "error", "keeps the network of this host from the server"),
    ("PrivateUsers=yes", "error", "PrivateUsers=no"),
    ("NetworkNamespacePath=/run/netns/x", "error", "hides ports there"),
    ("ProcSubset=pid", "warning", "ProcSubset=all"),
];

#[test]
fn h5_the_units_user_rights_and_sandbox() {
    need_namespaces!();
    let installed = Installed::new();
    let dir = installed.server.folder().display().to_string();
    for (lines, weight, words) in CASES {
        let found = installed.check("", lines);
        let words = words.replace("{dir}", &dir);
        let said = found.iter().any(|(is, text)| is == weight && text.contains(&words));
        assert!(said, "{lines}: {words}: {found:#?}");
        let wrong = found.iter().any(|(is, _)| ["error", "warning"].contains(&is.as_str()));
        assert_eq!(wrong, ["error", "warning"].contains(&weight), "{lines}: {found:#?}");
    }
}

/// Each path that the server uses, where it lies in a home folder, and where its mode is wrong.
#[test]
fn h5_every_path_that_the_server_uses() {
    need_namespaces!();
    let installed = Installed::new();
    let dir = installed.server.folder().to_owned();
    let hook = dir.join("hook");
    fs::write(&hook, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    let paths = [
        ("server.key", "\"/home/server.key\"", "the server's key /home/server.key: ProtectHome"),
        ("server.clients", "\"/home/clients.toml\"", "the clients' file /home/clients.toml: Prot"),
        ("server.state", "\"/home/state\"", "[server] state /home/state: ProtectHome=yes"),
        ("server.control", "\"/home/c.sock\"", "the folder of [server] control /home: Protect"),
        ("metrics.textfile", "\"/home/m/s.prom\"", "folder of [metrics] textfile /home/m: Prot"),
        ("metrics.textfile", "\"/srv/s.prom\"", "textfile /srv: ProtectSystem=strict makes it"),
    ];
    for (key, value, words) in paths {
        let config = scene::config(60).set(key, value);
        installed.server.configure(&config);
        chown(dir.join("server.toml"), Some(65_534), None).unwrap();
        let found = installed.check("mount --bind {dir} /home", "");
        assert!(found.iter().any(|(_, text)| text.contains(words)), "{key}: {found:#?}");
    }
    let run = format!("ports = [\"tcp/99\"]\non-open = {{ run = [\"{}\"] }}", hook.display());
    installed.server.configure(&scene::config(60).service("hooked", &run));
    chown(dir.join("server.toml"), Some(65_534), None).unwrap();
    let found = installed.check("", "");
    let words = "cannot start it: chmod a+rx";
    assert!(found.iter().any(|(_, text)| text.contains(words)), "{found:#?}");
    // Files of root among its own.
    installed.server.configure(&scene::config(60));
    fs::write(dir.join("clients.toml"), "").unwrap();
    fs::set_permissions(dir.join("clients.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["server.toml", "server.key", "clients.toml", "state", "state-broker"] {
        let path = dir.join(name);
        chown(&path, Some(0), Some(0)).unwrap();
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let found = installed.check("", "");
        let said = format!("{}: nobody, the user of spa-server.service, cannot", path.display());
        assert!(found.iter().any(|(_, text)| text.contains(&said)), "{name}: {found:#?}");
        chown(&path, Some(65_534), Some(65_534)).unwrap();
    }
}
