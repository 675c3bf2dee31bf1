//! A host with files of its own: what a new machine looks like after `make install`.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::daemon::binary;
use crate::netns::Host;
use crate::process;
use crate::temp::TempDir;

/// What `make install` installs, in a folder.
#[derive(Debug)]
pub struct Installed(TempDir);

impl Installed {
    /// Runs `make install` with the programs under test.
    pub fn new() -> Installed {
        let folder = TempDir::new();
        let profile = binary("spa-server").parent().expect("a folder").to_owned();
        let built = profile.parent().expect("a folder").display().to_string();
        let name = profile.file_name().expect("a name").to_str().expect("UTF-8");
        let mut make = Command::new("make");
        make.args(["-s", "-C", concat!(env!("CARGO_MANIFEST_DIR"), "/.."), "install"]);
        make.arg(format!("PROFILE={name}")).arg(format!("DESTDIR={}", folder.path().display()));
        // What a make around us has set is not meant for this one.
        make.env("CARGO_TARGET_DIR", built).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        process::succeed(&mut make);
        Installed(folder)
    }

    /// A file below the prefix, `bin/spa` for example.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join("usr/local").join(name)
    }
}

impl Default for Installed {
    fn default() -> Self {
        Self::new()
    }
}

/// A namespaced host with `/etc`, `/root`, `/run`, `/var/lib` and `/usr/local` of its own. Nothing
/// of ours is there but what was installed.
#[derive(Debug)]
pub struct Machine {
    host: Host,
    folder: TempDir,
    keeper: Child,
}

impl Machine {
    /// Makes it; `hosts` are lines for `/etc/hosts`.
    pub fn new(host: &Host, installed: &Installed, hosts: &str) -> Machine {
        let folder = TempDir::new();
        for name in ["root", "lib"] {
            fs::create_dir(folder.join(name)).expect("a folder");
        }
        fs::set_permissions(folder.join("root"), Permissions::from_mode(0o700)).expect("its mode");
        let etc = folder.join("etc");
        process::succeed(Command::new("cp").args(["-a", "/etc"]).arg(&etc));
        let _ = fs::remove_dir_all(etc.join("spa"));
        process::succeed(Command::new("cp").arg("-rT").arg(installed.0.join("etc")).arg(&etc));
        fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n::1 localhost\n{hosts}"))
            .expect("hosts");
        let here = folder.path().display();
        let script = format!(
            "set -e; mount --bind {here}/root /root; mount --bind {here}/lib /var/lib; mount \
             --bind {} /usr/local; \
             mount -t tmpfs tmpfs /run; mount --bind {here}/etc /etc; echo ready; exec sleep infinity",
            installed.0.join("usr/local").display()
        );
        let mut keeper = Command::new("nsenter");
        keeper.arg(format!("--net=/run/netns/{}", host.namespace()));
        keeper.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script]);
        let mut keeper =
            keeper.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("nsenter");
        let mut line = String::new();
        let said = BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut line);
        assert!(said.is_ok() && line == "ready\n", "no folders of its own for {host:?}: {line}");
        Machine { host: host.clone(), folder, keeper }
    }

    /// Words that run the shell's line on this host as root, in nothing but what a login gives.
    pub fn words(&self, line: &str) -> Vec<String> {
        let net = format!("--net=/run/netns/{}", self.host.namespace());
        let mount = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let words = [
            "nsenter",
            &net,
            &mount,
            "--wd=/",
            "env",
            "HOME=/root",
            "TZ=UTC",
            path,
            "bash",
            "-c",
            line,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// The same as a command without input.
    pub fn shell(&self, line: &str) -> Command {
        let words = self.words(line);
        let mut command = Command::new(&words[0]);
        for name in ["XDG_CONFIG_HOME", "SSH_AUTH_SOCK", "SSH_CONNECTION", "LANG", "LC_ALL"] {
            command.env_remove(name);
        }
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    /// The folder that is its `/root`.
    pub fn home(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A file of its `/etc`.
    pub fn etc(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join("etc").join(name)
    }

    /// The namespaced host.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
