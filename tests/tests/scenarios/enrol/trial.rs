//! Invitations and new keys while a trial runs: nothing of them may be lost with it, so they wait
//! for its end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use spa_tests::daemon::Client;
use spa_tests::scene::{PATIENCE, config};
use spa_tests::{Family, need_namespaces, wait_until};

use super::{House, said};

const WAIT: [&str; 3] = ["-4", "--timeout", "6s"];

fn rotate(client: &Client, more: &[&str]) -> Output {
    client.command("spa").args(["rotate", "server"]).args(more).output().unwrap()
}

/// What the device is told: that it can be asked again, and what stands in the way.
fn waits(house: &House, mark: usize, output: &Output, client: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = said(output);
    assert!(
        said.contains("a trial of another configuration") && said.contains("Nothing is lost"),
        "{said}"
    );
    house
        .server
        .log()
        .wait_since(mark, &["event=failed", &format!("client={client} "), "a trial of another"]);
}

#[test]
fn new_keys_wait_for_the_end_of_a_trial() {
    need_namespaces!();
    for end in [&["confirm", "--same-session"][..], &["try", "--cancel"]] {
        let house = House::new();
        let laptop = Client::enrolled(&house.net.client, &house.server, "laptop", &["ssh"]);
        let phone = Client::new(&house.net.client);
        let line = house.invite("phone");
        // Later than before the trial, earlier than its end.
        house.server.configure(&config(61));
        assert!(house.server.control(&["try", "--for", "1h", "--no-wait"]).status.success());

        let mark = house.server.log().mark();
        waits(&house, mark, &house.join(&phone, &line, &WAIT), "phone");
        waits(&house, mark, &rotate(&laptop, &WAIT), "laptop");
        assert_eq!((house.invited(), house.clients()), (1, vec!["laptop".to_owned()]), "{end:?}");
        both_open(&laptop);
        let key = std::fs::read(phone.key()).unwrap();

        let ended = house.server.control(end);
        assert!(ended.status.success(), "{end:?}: {ended:?}");
        house.must_join(&phone, &line);
        assert_eq!(
            std::fs::read(phone.key()).unwrap(),
            key,
            "{end:?}: the key of the first try is used"
        );
        let rotated = rotate(&laptop, &[]);
        assert!(
            rotated.status.success() && said(&rotated).contains("earlier run"),
            "{end:?}: {rotated:?}"
        );
        both_open(&laptop);
        both_open(&phone);
        assert_eq!((house.invited(), house.clients().len()), (0, 2), "{end:?}");
    }
}

fn both_open(client: &Client) {
    for family in Family::BOTH {
        client.must_open("ssh", family, &[]);
    }
}

/// The trial and the new keys come to the broker in one moment, the trial first: what the rollback
/// brings back knows nothing of them, so they must not be said to be good.
#[test]
fn keys_that_come_with_the_trial_wait_as_well() {
    need_namespaces!();
    let mut house = House::new();
    let phone = Client::new(&house.net.client);
    let line = house.invite("phone");
    let listener = house.server.daemon().listener();
    // The number of the system call that it waits in.
    let waits_in =
        || std::fs::read_to_string(format!("/proc/{listener}/syscall")).unwrap_or_default();
    let number = |text: &str| text.split(' ').next().and_then(|word| word.parse::<u32>().ok());
    let mut idle = None;
    let is_idle = || {
        idle = number(&waits_in());
        idle.is_some()
    };
    assert!(wait_until(PATIENCE, is_idle));

    let mark = house.server.log().mark();
    house.server.signal(Signal::SIGSTOP);
    let mut asking = connected(&house);
    writeln!(asking.get_mut(), r#"{{"version":1,"command":"try","time-s":3600}}"#).unwrap();
    // Who is asked later and answers has taken the first question: this one needs no broker.
    let mut other = connected(&house);
    writeln!(other.get_mut(), r#"{{"version":1,"command":"clients"}}"#).unwrap();
    assert!(answer(&mut other).contains("\"ok\":true"));
    let joining = house.joining(&phone, &line, &WAIT).stderr(Stdio::piped()).spawn().unwrap();
    let asks = || number(&waits_in()).is_some_and(|now| Some(now) != idle);
    assert!(wait_until(PATIENCE, asks), "the listener does not ask the broker for new keys");
    house.server.signal(Signal::SIGCONT);

    assert!(answer(&mut asking).contains("\"ok\":true"));
    house.server.log().wait_since(mark, &["event=trial "]);
    let joined = joining.wait_with_output().unwrap();
    waits(&house, mark, &joined, "phone");
    assert_eq!((house.invited(), house.clients().len()), (1, 0));
    assert!(house.server.control(&["try", "--cancel"]).status.success());
    house.must_join(&phone, &line);
    both_open(&phone);
}

fn connected(house: &House) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(house.server.folder().join("control.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn answer(from: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line
}
