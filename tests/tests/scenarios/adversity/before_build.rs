//! C12. A machine without a battery boots in 1970, and NTP comes later.

use spa_tests::clock::Clock;
use spa_tests::daemon::Server;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, config};
use spa_tests::{Family, need_namespaces};

/// Seconds from now back to the first day of 1970.
fn to_1970() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    3600 - i64::try_from(now.as_secs()).unwrap()
}

#[test]
fn c12_a_server_of_1970_says_so_and_invites_nobody() {
    need_namespaces!();
    let net = lan();
    let mut server = Server::prepare(&net.server, &config(60)).with_clock();
    server.set_clock_offset(to_1970());
    server.launch();
    server.wait_log(&["level=error", "event=clock-wrong", "1970-01-01"]);
    let clock = Clock::at(server.folder());
    let run = |words: &[&str]| {
        let mut command = net.server.command(spa_tests::daemon::binary("spa-server"));
        command.args(words);
        clock.apply(&mut command);
        let output = command.output().unwrap();
        (output.status.code(), [output.stdout, output.stderr].concat())
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let config = server.folder().join("server.toml").display().to_string();
    let (code, said) = run(&["invite", "phone", "--service", "ssh", "--config", &config]);
    assert_eq!(code, Some(1), "{}", text(&said));
    assert!(text(&said).contains("no invitation was made: the clock is wrong"), "{}", text(&said));
    for words in [&["check", "--live", "--config", &config][..], &["status", "--config", &config]] {
        let (_, said) = run(words);
        assert!(text(&said).contains("the clock is wrong: 1970-01-01"), "{}", text(&said));
    }
    // NTP sets it.
    server.set_clock_offset(0);
    let (code, said) = run(&["invite", "phone", "--service", "ssh", "--config", &config]);
    assert_eq!(code, Some(0), "{}", text(&said));
    let (_, said) = run(&["status", "--config", &config]);
    assert!(!text(&said).contains("the clock is wrong"), "{}", text(&said));
}

#[test]
fn c12_a_client_of_1970_is_told_so() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    let clock = Clock::new(&scene.client.folder());
    clock.set_offset(to_1970());
    for words in ["open ssh@server", "doctor server --knock", "rotate server"] {
        let mut command = scene.client.command("spa-client");
        command.args(words.split(' ')).args(["--timeout", "2s", Family::V4.switch()]);
        clock.apply(&mut command);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success(), "{words}: {text}");
        assert!(text.contains("1970-01-01"), "{words}: {text}");
        assert!(text.contains("before this program was made"), "{words}: {text}");
        assert!(text.contains("timedatectl set-ntp true"), "{words}: {text}");
    }
}
