//! A log that nobody reads holds nobody up; and the end of a grant by time is in it.

use std::io::{Read as _, Write as _};

use spa_tests::scene::{SSH, config};

use super::*;

/// Size of the pipe: the least that the kernel gives.
const PIPE_BYTES: i32 = 4096;

#[test]
fn a_server_whose_log_nobody_reads_serves_on_and_counts_the_lines() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &config(60));
    let _ssh = EchoServer::start(&net.server, SSH);
    let client = Client::enrolled(&net.client, &server, "laptop", &["ssh"]);
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let size = nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES);
    nix::fcntl::fcntl(&writer, size).unwrap();
    // Full before the first line.
    writer.write_all(&[b'x'; PIPE_BYTES as usize]).unwrap();
    let mut command = net.server.command(binary("spa-server"));
    command.args(["run", "--config"]).arg(server.folder().join("server.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(writer));
    let child = Waiting(command.spawn().unwrap());
    drop(command);
    let answers = || server.control(&["status"]).status.success();
    assert!(wait_until(PATIENCE, answers), "it hangs at its log");
    server.wait_fence();
    both(|family| drop(client.must_open("ssh", family, &[])));
    // Somebody reads again: what was lost is told behind the next line.
    reader.read_exact(&mut [0; PIPE_BYTES as usize]).unwrap();
    assert!(server.control(&["reload"]).status.success());
    let told = std::thread::spawn(move || {
        let mut text = String::new();
        for byte in std::io::BufReader::new(reader).bytes().map_while(Result::ok) {
            text.push(char::from(byte));
            if text.ends_with('\n') && text.contains("event=log-not-written") {
                break;
            }
        }
        text
    });
    assert!(wait_until(PATIENCE, || {
        let _said = server.control(&["reload"]);
        told.is_finished()
    }));
    let text = told.join().unwrap();
    assert!(text.contains("event=log-not-written lines="), "{text}");
    drop(child);
}

#[test]
fn the_end_of_a_grant_by_time_is_logged() {
    need_namespaces!();
    let house = house(&config(60));
    both(|family| drop(house.scene.client.must_open("ssh", family, &["--ttl", "2s"])));
    let log = house.scene.server.log();
    for grant in ["grant=g1", "grant=g2"] {
        log.wait(&["event=expired", "client=laptop", "service=ssh", grant]);
    }
}
