//! What a listener without rights does when the configuration, the ports or the interfaces change.

use std::process::Command;

use spa_tests::config::Config;
use spa_tests::daemon::Client;
use spa_tests::netns::{Host, lan};
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::{Family, clock::Clock, need_namespaces, temp::TempDir, wait_until};

/// Longer than an hour: other hop epochs, other tags.
const LATER: i64 = 3700;

fn live(scene: &Scene) -> Vec<String> {
    let grants = scene.server.status()["grants"].as_array().unwrap().clone();
    let mut names: Vec<_> = grants
        .iter()
        .map(|grant| {
            format!("{} {}", grant["client"].as_str().unwrap(), grant["service"].as_str().unwrap())
        })
        .collect();
    names.sort();
    names
}

fn reload(scene: &Scene) {
    let mark = scene.server.log().mark();
    scene.server.signal(nix::sys::signal::Signal::SIGHUP);
    scene.server.log().wait_since(mark, &["event=reloaded"]);
}

#[test]
fn grants_end_with_their_client_stanza_and_service() {
    need_namespaces!();
    let net = lan();
    let whole = config(600);
    let (scene, more) =
        Scene::crowd(&net.server, &net.client, &whole, &["ssh", "web"], &["tablet"]);
    scene.server.wait_fence();
    for service in ["ssh", "web"] {
        scene.client.must_open(service, Family::V4, &[]);
        more[0].must_open(service, Family::V6, &[]);
    }
    assert_eq!(live(&scene), ["laptop ssh", "laptop web", "tablet ssh", "tablet web"]);
    reload(&scene);
    assert_eq!(live(&scene), ["laptop ssh", "laptop web", "tablet ssh", "tablet web"]);

    // The stanza no longer names it.
    let clients = scene.server.folder().join("clients.toml");
    let text = std::fs::read_to_string(&clients).unwrap();
    let fewer = text.replacen(
        "services = [\"ssh\", \"web\"]",
        "services = [\"ssh\"]\nhours = \"00:00-24:00 Europe/Berlin\"",
        1,
    );
    assert_ne!(text, fewer);
    std::fs::write(&clients, &fewer).unwrap();
    let mark = scene.server.log().mark();
    reload(&scene);
    assert_eq!(live(&scene).len(), 3);
    scene.server.log().wait_since(mark, &["event=closed", "service=web", "reason=right-removed"]);

    // The client is gone.
    let removed = scene.server.control(&["client", "remove", "tablet"]);
    assert!(removed.status.success(), "{removed:?}");
    assert!(wait_until(PATIENCE, || live(&scene).iter().all(|grant| grant.starts_with("laptop "))));
    assert!(scene.is_open(Family::V4, SSH));

    // The service is gone, with the last stanza that names it.
    let text = std::fs::read_to_string(&clients)
        .unwrap()
        .replace("\"ssh\"", "\"web\"")
        .replace(", \"web\"", "");
    std::fs::write(&clients, &text).unwrap();
    scene
        .server
        .configure(&Config::default().service("web", "ports = [\"tcp/80\"]\nttl = \"600s\""));
    reload(&scene);
    assert!(live(&scene).iter().all(|grant| grant == "laptop web"), "{:?}", live(&scene));
}

#[test]
fn a_bad_configuration_changes_nothing_in_either() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    scene.server.wait_fence();
    let file = scene.server.folder().join("server.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let key = std::fs::read(scene.server.folder().join("server.key")).unwrap();
    type Break<'a> = Box<dyn Fn() + 'a>;
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let mode = |name: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = scene.server.folder().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let breaks: [(&str, Break<'_>, Break<'_>); 6] = [
        ("this is not valid TOML", Box::new(|| write("[")), Box::new(|| write(&good))),
        (
            "is not a time",
            Box::new(|| write(&good.replace("60s", "6o s"))),
            Box::new(|| write(&good)),
        ),
        (
            "others may change",
            Box::new(|| mode("server.toml", 0o666)),
            Box::new(|| mode("server.toml", 0o644)),
        ),
        (
            "others may use",
            Box::new(|| mode("server.key", 0o644)),
            Box::new(|| mode("server.key", 0o600)),
        ),
        (
            "others may use",
            Box::new(|| mode("clients.toml", 0o640)),
            Box::new(|| mode("clients.toml", 0o600)),
        ),
        (
            "server key",
            Box::new(|| {
                std::fs::write(scene.server.folder().join("server.key"), "nonsense\n").unwrap()
            }),
            Box::new(|| std::fs::write(scene.server.folder().join("server.key"), &key).unwrap()),
        ),
    ];
    for (words, damage, mend) in breaks {
        damage();
        let mark = scene.server.log().mark();
        scene.server.signal(nix::sys::signal::Signal::SIGHUP);
        let line = scene.server.log().wait_since(mark, &["event=reload-refused"]);
        assert!(line.contains(words), "{words}: {line}");
        mend();
        both(|family| {
            scene.client.must_open("ssh", family, &[]);
            assert!(scene.is_open(family, SSH), "{family}");
        });
    }
    reload(&scene);
}

/// The user's program under a clock that agrees with the server's.
fn opens_at(client: &Client, clock: &Clock, family: Family) {
    let mut command: Command = client.command("spa-client");
    command.args(["open", "web@server", family.switch()]);
    clock.apply(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{family}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn knock_ports_hop_without_rights() {
    need_namespaces!();
    for mode in ["udp", "ring", "nflog"] {
        let net = lan();
        let config = config(60)
            .set("capture.mode", &format!("\"{mode}\""))
            .unset("sequence.ports")
            .set("sequence.hop", "\"20000-29999\"")
            .set("sequence.stages", "3");
        let scene = Scene::aged(&net.server, &net.client, &config, &["ssh", "web"]);
        scene.server.wait_fence();
        both(|family| drop(scene.client.must_open("ssh", family, &[])));
        let folder = TempDir::new();
        let clock = Clock::new(folder.path());
        clock.set_offset(LATER);
        scene.server.set_clock_offset(LATER);
        // The ports move with the next tick; the client tries again by itself.
        both(|family| {
            opens_at(&scene.client, &clock, family);
            assert!(scene.is_open(family, WEB), "{mode} {family}");
        });
        let log = scene.server.log().lines();
        assert!(
            !log.iter().any(|line| line.contains("event=hop") || line.contains("request-refused")),
            "{log:?}"
        );
    }
}

#[test]
fn an_interface_gets_its_name_later() {
    need_namespaces!();
    for mode in ["ring", "nflog"] {
        let net = lan();
        let config = config(60)
            .set("capture.mode", &format!("\"{mode}\""))
            .set("capture.interfaces", "[\"wan7\"]");
        let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
        scene.server.wait_fence();
        let opened = scene.client.open("ssh", Family::V4, &[]);
        assert!(!opened.status.success(), "{mode}: it listens to {}", Host::DEVICE);
        let device = Host::DEVICE;
        net.server.ip(&[
            &format!("link set dev {device} down"),
            &format!("link set dev {device} name wan7"),
            "link set dev wan7 up",
        ]);
        net.server.ip(&["route add default dev wan7", "-6 route add default dev wan7"]);
        net.server.ip(&["-6 address replace 2001:db8:1::1/64 dev wan7 nodad"]);
        both(|family| {
            let knocked = || scene.client.open("ssh", family, &[]).status.success();
            assert!(wait_until(PATIENCE, knocked), "{mode} {family}");
        });
    }
}
