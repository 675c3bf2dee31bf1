//! What works: from a line to an open service, also over lost answers and crashes.

use spa_tests::daemon::Client;
use spa_tests::{Family, need_namespaces};

use super::{Deaf, House, said};

#[test]
fn one_line_and_it_opens() {
    need_namespaces!();
    let house = House::new();
    for family in Family::BOTH {
        let name = format!("phone-{}", family.digit());
        let line = house.invite(&name);
        assert!(line.starts_with("SPA-INVITATION-1"), "{line}");
        assert_eq!(house.invited(), 1);
        let client = Client::new(&house.net.client);
        let output = house.join(&client, &line, &[family.switch()]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "spa-client open ssh@server\n");
        // At once: whoever has the answer is known.
        client.must_open("ssh", family, &[]);
        house.server.wait_log(&["event=enrolled", &format!("client={name}")]);
        assert_eq!(house.invited(), 0);
        assert!(house.clients().contains(&name));
        // To run it again changes nothing.
        let again = house.join(&client, &line, &[family.switch()]);
        assert!(again.status.success() && said(&again).contains("enrolled already"), "{again:?}");
    }
    assert_eq!(house.clients().len(), 2);
}

#[test]
fn an_answer_that_is_lost_is_found_again() {
    need_namespaces!();
    let mut house = House::new();
    let line = house.invite("phone");
    let client = Client::new(&house.net.client);
    let deaf = Deaf::new(&house.net.client);
    let output = house.join(&client, &line, &["-4", "--timeout", "4s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    house.server.wait_log(&["event=enrolled", "client=phone"]);
    assert_eq!((house.invited(), house.clients()), (0, vec!["phone".to_owned()]));
    house.server.kill9();
    drop(deaf);
    house.server.launch();
    house.server.wait_fence();
    house.must_join(&client, &line);
    client.must_open("ssh", Family::V4, &[]);
    assert_eq!(house.clients(), ["phone"]);
}

#[test]
fn crashes_lose_and_double_nothing() {
    need_namespaces!();
    let mut house = House::new();
    let crash = |house: &mut House| {
        house.server.kill9();
        house.server.launch();
        house.server.wait_fence();
    };
    let line = house.invite("phone");
    crash(&mut house);
    assert_eq!(house.invited(), 1);
    // The packets come to a server that is not there: the key is made, and nothing has happened.
    house.server.kill9();
    let client = Client::new(&house.net.client);
    let output = house.join(&client, &line, &["--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let key = std::fs::read(client.key()).unwrap();
    house.server.launch();
    house.server.wait_fence();
    house.must_join(&client, &line);
    assert_eq!(std::fs::read(client.key()).unwrap(), key, "the key of the first try is used");
    crash(&mut house);
    client.must_open("ssh", Family::V6, &[]);
    assert_eq!((house.invited(), house.clients()), (0, vec!["phone".to_owned()]));
    // What was removed stays removed, and its grants are closed.
    let revoked = house.server.control(&["client", "revoke", "phone"]);
    assert!(revoked.status.success(), "{revoked:?}");
    house.server.wait_log(&["event=closed", "client=phone", "reason=client-removed"]);
    crash(&mut house);
    assert!(house.clients().is_empty());
    assert_eq!(client.open("ssh", Family::V4, &["--timeout", "2s"]).status.code(), Some(3));
}

#[test]
fn c11_rights_are_changed_by_a_command_also_of_a_device() {
    need_namespaces!();
    let house = House::new();
    let line = house.invite("phone");
    // Before it is taken, and after that.
    let set = |words: &[&str]| house.server.control(&[&["client", "set", "phone"], words].concat());
    let changed = set(&["--service", "+web", "--max-grants", "5"]);
    assert!(changed.status.success(), "{changed:?}");
    let client = Client::new(&house.net.client);
    house.must_join(&client, &line);
    for service in ["ssh", "web"] {
        client.must_open(service, Family::V4, &[]);
    }
    assert!(set(&["--service", "-web", "--expires", "2199-12-31"]).status.success());
    let refused = client.open("web", Family::V4, &[]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(set(&["--from", "203.0.113.0/24"]).status.success());
    assert!(!client.open("ssh", Family::V4, &[]).status.success());
    assert!(set(&["--from", "any", "--expires", "never"]).status.success());
    client.must_open("ssh", Family::V4, &[]);
    // One of the administrator's file, and nobody.
    let other = Client::enrolled(&house.net.client, &house.server, "laptop", &["ssh"]);
    let changed = house.server.control(&["client", "set", "laptop", "--service", "web"]);
    assert!(changed.status.success(), "{changed:?}");
    other.must_open("web", Family::V6, &[]);
    assert!(!other.open("ssh", Family::V6, &[]).status.success());
    for words in [&["client", "set", "nobody", "--service", "ssh"][..], &["client", "set", "phone"]]
    {
        assert!(!house.server.control(words).status.success(), "{words:?}");
    }
}
