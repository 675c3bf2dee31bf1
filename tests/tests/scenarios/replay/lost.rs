//! What stands in the place of the store tells of no knock.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use spa_proto::ServerSecret;
use spa_server::store::DiskStore;
use spa_tests::daemon::Server;

use super::*;

/// How far ahead the client's clock is: less than the window at first, more than the
/// fence of the lowered one, and time for a restart on a busy machine.
const AHEAD: Duration = Duration::from_secs(20);

/// P7: the store is lost while an administrator lowers `window-future`. What was accepted under the
/// wider window, from a clock that was ahead, is sent again when its time has come.
fn lost_while_the_window_is_lowered(name: &str, lose: impl Fn(&Path, &Path)) {
    let net = lan();
    let config = config(TTL).set("server.window-past", "\"5m\"");
    let server = Server::prepare(&net.server, &config);
    let (state, new) = (server.folder().join("state"), server.folder().join("new"));
    fs::create_dir(&new).unwrap();
    fs::copy(state.join("spa.store"), new.join("spa.store")).unwrap();
    let scene = Scene::of(server, &net.client, &["ssh"]);
    let mut tape = Tape { scene, net, recorded: Vec::new() };
    tape.scene.server.wait_fence();
    let wide = config.clone().set("server.window-future", "\"60s\"");
    tape.scene.server.configure(&wide);
    assert!(tape.scene.server.control(&["reload"]).status.success());

    let folder = TempDir::new();
    let clock = Clock::new(folder.path());
    clock.set_offset(AHEAD.as_secs().cast_signed());
    let wire = Sniffer::start(&tape.net.server, Host::DEVICE);
    both(|family| {
        let mut command: Command = tape.scene.client.command("spa-client");
        command.args(["open", "ssh@server", family.switch()]);
        clock.apply(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}, {family}: {output:?}");
    });
    let due = Instant::now() + AHEAD;
    wire.catch_up(&tape.net.client, Host::DEVICE);
    tape.keep(&wire);
    tape.closed();
    assert!(tape.scene.server.stop().success());
    lose(&state.join("spa.store"), &new.join("spa.store"));
    tape.scene.server.configure(&config);
    tape.scene.server.launch();
    // Not before: what is refused as of the future is spent.
    assert!(wait_until(PATIENCE + AHEAD, || Instant::now() > due));
    tape.replay_in_vain(name);
    tape.scene.server.wait_fence();
    tape.replay_in_vain(&format!("{name}: behind the fence"));
    tape.the_client_opens();
}

#[test]
fn p7_lost_while_the_window_is_lowered() {
    need_namespaces!();
    type Loss<'a> = (&'a str, &'a (dyn Fn(&Path, &Path) + Sync));
    let remove = |store: &Path| fs::remove_file(store).unwrap();
    let losses: [Loss<'_>; 5] = [
        ("removed", &|store, _| remove(store)),
        ("damaged", &|store, _| fs::write(store, "no store").unwrap()),
        ("made anew by a start that was killed", &|store, _| {
            remove(store);
            drop(DiskStore::open(store.parent().unwrap()).unwrap());
        }),
        ("that of before the first run put back", &|store, new| {
            fs::copy(new, store).unwrap();
        }),
        ("made anew beside another key", &|store, _| {
            remove(store);
            let key = ServerSecret::generate().unwrap().public();
            DiskStore::prepare(store.parent().unwrap(), &key).unwrap();
        }),
    ];
    thread::scope(|scope| {
        for (name, lose) in losses {
            scope.spawn(move || lost_while_the_window_is_lowered(name, lose));
        }
    });
}
