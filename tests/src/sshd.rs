//! The real OpenSSH server in a host, and what its client needs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::daemon::{Daemon, Log};
use crate::netns::Host;
use crate::process;
use crate::temp::TempDir;

/// An sshd that lets in the holder of one key, as the user that runs the tests.
#[derive(Debug)]
pub struct Sshd {
    folder: TempDir,
    _daemon: Daemon,
}

impl Sshd {
    /// Takes connections on this port of both families when this returns: Debian's sshd tells
    /// systemd, and so us.
    pub fn start(host: &Host, port: u16) -> Sshd {
        let folder = TempDir::new();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
            process::succeed(keygen.arg(folder.join(key)));
        }
        fs::copy(folder.join("user.pub"), folder.join("authorized")).expect("authorize the key");
        // The shells of sessions must not run what this machine's user keeps in .bashrc.
        fs::create_dir(folder.join("home")).expect("make a home");
        // Debian's sshd does not start without it.
        fs::create_dir_all("/run/sshd").expect("make sshd's folder");
        let here = folder.path().display();
        let config = folder.write(
            "sshd_config",
            format!(
                "SetEnv HOME={here}/home\nPort {port}\nHostKey {here}/host\nAuthorizedKeysFile \
                 {here}/authorized\nPidFile none\nStrictModes no\n\
                 UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 MaxStartups 200\nSubsystem sftp internal-sftp\n"
            ),
        );
        let mut command = host.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(config);
        let log = Log::default();
        let daemon = Daemon::start(&mut command, folder.path(), &log);
        Sshd { folder, _daemon: daemon }
    }

    /// A file for `ssh -F`: this text, then the user's key and no questions.
    pub fn client_config(&self, name: &str, text: &str) -> PathBuf {
        let here = self.folder.path().display();
        self.folder.write(
            name,
            format!(
                "{text}\nHost *\n    User root\n    IdentityFile {here}/user\n    IdentitiesOnly \
                 yes\n    BatchMode yes\n    \
                 StrictHostKeyChecking accept-new\n    UserKnownHostsFile {here}/known-{name}\n    ConnectTimeout 30\n"
            ),
        )
    }

    /// A folder of its own for the tests' files.
    pub fn folder(&self) -> &TempDir {
        &self.folder
    }
}
