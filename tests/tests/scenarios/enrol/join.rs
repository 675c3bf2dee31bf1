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
