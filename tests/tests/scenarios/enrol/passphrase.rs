//! Keys under a passphrase that comes from a file descriptor: nobody sits at a terminal.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use spa_tests::daemon::{Client, binary};
use spa_tests::need_namespaces;
use spa_tests::temp::TempDir;

use super::{House, said};

/// One of our programs with two passphrases behind descriptors 3 and 4, and no terminal.
fn with(client: &Client, three: &str, four: &str, program: &str, arguments: &[&str]) -> Output {
    let folder = TempDir::new();
    let (three, four) = (folder.write("3", three), folder.write("4", four));
    let mut command: Command = client.tool("setsid");
    command.args(["-w", "sh", "-c", "exec 3<\"$1\" 4<\"$2\"; shift 2; exec \"$@\"", "sh"]);
    command.arg(three).arg(four).arg(binary(program)).args(arguments).output().unwrap()
}

#[test]
fn a_passphrase_comes_from_a_descriptor() {
    need_namespaces!();
    let house = House::new();
    let client = Client::new(&house.net.client);
    let line = TempDir::new();
    let file = line.write("line", house.invite("laptop"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let address = house.net.server.address(spa_tests::Family::V4).to_string();
    let join = [
        "join",
        file.to_str().unwrap(),
        "--name",
        "server",
        "--address",
        &address,
        "--passphrase-fd",
        "3",
    ];
    let joined = with(&client, "horse\nrest\n", "", "spa-client", &join);
    assert!(joined.status.success(), "{joined:?}");
    assert!(std::fs::read_to_string(client.key()).unwrap().contains("\nSPA-LOCKED-KEY-1"));

    let open = ["open", "ssh@server"];
    let fd = ["open", "ssh@server", "--passphrase-fd", "3"];
    let opened = with(&client, "horse\n", "", "spa-client", &fd);
    assert!(opened.status.success(), "{opened:?}");
    let closed =
        with(&client, "horse", "", "spa-client", &["close", "ssh@server", "--passphrase-fd", "3"]);
    assert!(closed.status.success(), "{closed:?}");
    let wrong = with(&client, "house\n", "", "spa-client", &fd);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    let nobody = with(&client, "horse\n", "", "spa-client", &open);
    assert!(
        nobody.status.code() == Some(1) && said(&nobody).contains("see --passphrase-fd"),
        "{nobody:?}"
    );
    let closed_one =
        with(&client, "", "", "spa-client", &["open", "ssh@server", "--passphrase-fd", "9"]);
    assert!(said(&closed_one).contains("file descriptor 9"), "{closed_one:?}");
    // Where standard input is another's, it is not taken.
    for words in [
        &["connect", "ssh@server"][..],
        &["run", "--passphrase-fd", "0", "ssh@server", "--", "true"],
    ] {
        let words =
            [words, if words.len() == 2 { &["--passphrase-fd", "0"][..] } else { &[] }].concat();
        let refused = with(&client, "", "", "spa-client", &words);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }

    // The doctor needs none without a knock.
    let doctor = with(&client, "", "", "spa-client", &["doctor"]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("spa unlock"), "{doctor:?}");

    // A rotated key has the same passphrase, or a new one.
    let rotated =
        with(&client, "horse\n", "", "spa", &["rotate", "server", "--passphrase-fd", "3"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let opened = with(&client, "horse\n", "", "spa-client", &fd);
    assert!(opened.status.success(), "{opened:?}");
    let both = ["rotate", "server", "--passphrase-fd", "3", "--new-passphrase-fd", "4"];
    let rotated = with(&client, "horse\n", "staple\n", "spa", &both);
    assert!(rotated.status.success(), "{rotated:?}");
    let old = with(&client, "horse\n", "", "spa-client", &fd);
    assert_eq!(old.status.code(), Some(1), "{old:?}");
    let new = with(&client, "staple\n", "", "spa-client", &fd);
    assert!(new.status.success(), "{new:?}");
}
