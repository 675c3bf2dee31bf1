//! Why an enrolment or new keys did not come about: the same words as for a knock.

use std::process::{Command, Output};

use spa_tests::clock::Clock;
use spa_tests::daemon::Client;
use spa_tests::{Family, need_namespaces, nft};

use super::{Deaf, House, said};

/// Rules of a switch that lets no UDP through.
const NO_UDP: &str = "table bridge cloud { chain forward { type filter hook forward priority 0;
    ether type ip ip protocol udp drop; ether type ip6 ip6 nexthdr udp drop; }; }";

/// The lines of the causes, in their order.
fn causes(output: &Output) -> Vec<String> {
    said(output).lines().filter(|line| line.starts_with("  ")).map(str::to_owned).collect()
}

/// C3. A clock 90 s off: `join` and `rotate` said "cannot now (future); run this again" for ever.
/// Each knocks once more by the server's clock, and says so.
#[test]
fn c3_a_wrong_clock_is_named_whatever_the_knock_was_for() {
    need_namespaces!();
    let house = House::new();
    for (offset, direction) in [(90, "ahead of"), (-90, "behind")] {
        let client = Client::new(&house.net.client);
        let clock = Clock::new(&client.folder());
        clock.set_offset(offset);
        let check = |mut command: Command, words: &str| {
            clock.apply(&mut command);
            let output = command.output().unwrap();
            let text = said(&output);
            assert!(output.status.success(), "{words}: {output:?}");
            // The seconds of the way there and back.
            let named = ["1m29s", "1m30s", "1m31s"]
                .iter()
                .any(|by| text.contains(&format!("this machine's clock is {by} {direction}")));
            assert!(named && text.contains("timedatectl set-ntp true"), "{words}: {text}");
        };
        let line = house.invite(&format!("phone{offset}"));
        check(house.joining(&client, &line, &[]), "join");
        for words in [
            "rotate server",
            "open ssh@server",
            "run ssh@server -- true",
            "connect ssh@server",
            "doctor server --knock",
        ] {
            let mut command = client.command("spa-client");
            command.args(words.split(' '));
            check(command, words);
        }
    }
}

/// C2. UDP does not arrive, as behind a router or a cloud's group of rules.
#[test]
fn c2_a_join_that_nobody_hears_names_the_ports_to_let_through() {
    need_namespaces!();
    let house = House::new();
    nft::load(&house.net.switch, NO_UDP);
    let line = house.invite("phone");
    let client = Client::new(&house.net.client);
    let output = house.join(&client, &line, &["--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let causes = causes(&output);
    let ports = "let UDP ports 40001, 40002, 40003 through";
    assert!(causes[0].contains(ports) && causes[0].contains("security group"), "{causes:#?}");
    assert!(causes[1].contains("the line may be used up"), "{causes:#?}");
    assert!(said(&output).contains("Nothing is lost, run this again"), "{output:?}");
}

/// C2. The host answers by TCP, since nothing hides it: that is no guess.
#[test]
fn c2_a_join_at_a_stopped_server_names_what_answers_in_its_place() {
    need_namespaces!();
    let mut house = House::new();
    let line = house.invite("phone");
    assert!(house.server.stop().success());
    assert!(house.server.control(&["firewall", "remove"]).status.success());
    let client = Client::new(&house.net.client);
    for family in Family::BOTH {
        let output = house.join(&client, &line, &["--timeout", "4s", family.switch()]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains("refuses UDP ports 40001, 40002, 40003 (ICMP)"), "{text}");
        assert!(text.contains("its port 22 takes connections (TCP)"), "{text}");
    }
}

/// C13. The answer that new keys are in force was lost. Until the overlap ends, the old ones do;
/// then they meet silence.
#[test]
fn c13_a_rotation_whose_last_answer_was_lost_is_named() {
    need_namespaces!();
    let house = House::new();
    let line = house.invite("phone");
    let client = Client::new(&house.net.client);
    house.must_join(&client, &line);
    let deaf = Deaf::new(&house.net.client);
    let spa = |words: &[&str]| client.command("spa").args(words).output().unwrap();
    let output = spa(&["rotate", "server", "--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    house.server.wait_log(&["event=rekeyed", "client=phone"]);
    drop(deaf);
    // As when the overlap is over: nobody answers the old keys.
    nft::load(&house.net.switch, NO_UDP);
    let nft = |words: &[&str]| {
        let deleted = house.net.switch.command("nft").args(words).output().unwrap();
        assert!(deleted.status.success(), "{deleted:?}");
    };
    let named = |output: &Output| {
        let first = causes(output).first().cloned().unwrap_or_default();
        first.contains("server.rotating") && first.contains("spa rotate server")
    };
    for words in ["open ssh@server --timeout 1s", "run ssh@server --timeout 1s -- true"] {
        let mut command = client.command("spa-client");
        let output = command.args(words.split(' ')).output().unwrap();
        assert!(named(&output), "{words}: {output:?}");
    }
    nft(&["delete", "table", "bridge", "cloud"]);
    assert!(spa(&["rotate", "server"]).status.success());
    client.must_open("ssh", Family::V4, &[]);
}
