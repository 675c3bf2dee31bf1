//! `spa-server init`: from nothing to a configuration that hides ssh, without a question.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

use clap::Args;
use serde_json::json;
use spa_keys::file::{self, FileError};
use spa_keys::{Fingerprint, key_file, note, printable};
use spa_proto::ServerSecret;

use super::table::describe_way_in;
use super::{ConfigArg, DEFAULT_CONFIG, output};
use crate::config::surroundings;
use crate::config::{self, SecretFile, Surroundings, load_alone};
use crate::host_check;
use crate::store::DiskStore;
use spa_keys::Failure;

/// Folder of the store beside a configuration that is not the host's own.
const OWN_STATE: &str = "state";
/// Stages of the sequence that is chosen.
const STAGE_COUNT: usize = 3;
/// Knock ports are chosen from here on: below, others may bind by right
/// (`net.ipv4.ip_unprivileged_port_start`).
const LOWEST_PORT: u16 = 1024;
/// And below this, unless the kernel takes local ports from lower ones (the kernel's default for
/// both families).
const LOCAL_PORTS_START: u16 = 32768;

/// Write a first configuration that hides ssh, and a server key
#[derive(Debug, Args)]
#[command(after_help = "Asks no questions and overwrites nothing. Where a configuration is \
        already, only the key that\nit names is made.\n\n\
        Example:\n  spa-server init --host gate.example.org")]
pub(super) struct InitArgs {
    /// Name or address at which clients reach this host; may be given several times [default: its
    /// addresses]
    #[arg(long = "host", value_name = "HOST", value_parser = config::host_name)]
    hosts: Vec<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

impl InitArgs {
    /// Writes the key and the configuration, and prints what to do next.
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = std::path::absolute(&self.config.config)?;
        if path.symlink_metadata().is_ok() {
            return self.make_missing_key(&path);
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let key = folder.join("server.key");
        file::private_folder(folder)?;
        let state = if path == Path::new(DEFAULT_CONFIG) {
            config::state_folder(&path, &surroundings(true))
        } else {
            folder.join(OWN_STATE)
        };
        let (secret, made) = server_key(&key, &state)?;
        let guessed = self.hosts.is_empty();
        let hosts = if guessed { list_addresses() } else { self.hosts };
        let (ports, ssh) = (knock_ports(&surroundings(true))?, host_check::ssh_ports());
        let text = format_config(&path, &hosts, &ports, &ssh);
        file::write_new(&path, &text)?;

        let fingerprint = tell_key(&key, &secret, made);
        match hosts.as_slice() {
            [] => note!(
                "this host has no address that clients could reach: add one to [server] hosts, or \
                --host to `spa-server invite`"
            ),
            hosts if guessed => note!(
                "clients are told to knock at {}; if they know this host by another name or \
                 address, change [server] hosts",
                hosts.join(" and ")
            ),
            hosts => note!("clients are told to knock at {}", hosts.join(" and ")),
        }
        let shown: Vec<String> = ports.iter().map(ToString::to_string).collect();
        note!("{}", describe_way_in(&shown.join(", ")));
        if let Some(problem) = host_check::describe_wrong_clock() {
            note!("warning: {problem}");
        }
        note!(
            "ssh ({}) stays visible until a client has opened it once",
            format_services(&ssh).join(", ")
        );
        let config = if path == Path::new(DEFAULT_CONFIG) {
            String::new()
        } else {
            format!(" --config {}", path.display())
        };
        note!("next: spa-server invite NAME --service ssh{config}");
        match Path::new("/run/systemd/system").exists() && config.is_empty() {
            true => note!("then:  systemctl enable --now spa-server"),
            false => note!("then:  spa-server run{config}"),
        }
        if self.json {
            let answer = json!({
                "version": 1, "config": path.display().to_string(),
                "key": key.display().to_string(),
                "key-made": made, "fingerprint": fingerprint, "hosts": hosts, "knock-ports": ports,
                "services": [{ "name": "ssh", "ports": format_services(&ssh) }],
            });
            return output::answer(&format!("{answer}\n"));
        }
        output::answer(&format!("{}\n", path.display()))
    }

    /// The key of a configuration that somebody wrote by hand. What is there is left as it is.
    fn make_missing_key(self, path: &Path) -> Result<(), Failure> {
        let of_config = load_alone(path, &surroundings(true)).ok().map(|config| config.server);
        let missing = of_config.and_then(|server| match server.key {
            SecretFile::File(key) if key.symlink_metadata().is_err() => Some((key, server.state)),
            _ => None,
        });
        let Some((key, state)) = missing else {
            return Err(Failure::failed(format!(
                "{path} exists already and is left unchanged; to check it: spa-server check \
                {path}; to start over, first: mv {path} {path}.old",
                path = path.display()
            )));
        };
        let (secret, made) = server_key(&key, &state)?;
        let fingerprint = tell_key(&key, &secret, made);
        note!("{} is left unchanged", path.display());
        if self.json {
            let answer = json!({
                "version": 1, "config": path.display().to_string(),
                "key": key.display().to_string(), "key-made": made, "fingerprint": fingerprint,
            });
            return output::answer(&format!("{answer}\n"));
        }
        output::answer(&format!("{}\n", key.display()))
    }
}

/// Tells of the key and its fingerprint, which is returned.
fn tell_key(path: &Path, secret: &ServerSecret, made: bool) -> String {
    let fingerprint = Fingerprint::from(&secret.public()).to_string();
    if made {
        note!("secret key: {} (keep it safe: it cannot be recreated)", path.display());
    } else {
        note!("secret key: {} (it existed already)", path.display());
    }
    note!("fingerprint: {fingerprint}");
    fingerprint
}

/// The key in the file, and whether it was made: an earlier run may have been interrupted before
/// the configuration. A new key has no past, and its store in `state` says so; without it the
/// server would take a lost store for what it finds.
fn server_key(path: &Path, state: &Path) -> Result<(ServerSecret, bool), Failure> {
    let secret = ServerSecret::generate().map_err(|error| Failure::failed(error.to_string()))?;
    // The store first: a key that has a name may have been used.
    if path.symlink_metadata().is_err()
        && let Err(error) = DiskStore::prepare(state, &secret.public())
    {
        note!(
            "no replay record could be made, and the first start takes no knocks for a minute: \
             {error}"
        );
    }
    match key_file::write(path, &secret, jiff::Timestamp::now()) {
        Ok(()) => Ok((secret, true)),
        Err(FileError::Exists(_)) => Ok((key_file::read(path)?, false)),
        Err(error) => Err(error.into()),
    }
}

/// Those from which this host would speak to the outside; nothing is sent to find out.
fn list_addresses() -> Vec<String> {
    // Documentation addresses (RFC 5737, RFC 3849): a route to them is the route to everybody.
    let outside: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let own = |(any, outside): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((outside, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    };
    outside.into_iter().filter_map(own).map(|ip| ip.to_string()).collect()
}

/// Different, in no order, and none that a program of this host has now.
fn knock_ports(around: &Surroundings<'_>) -> Result<Vec<u16>, Failure> {
    let end =
        around.local_ports.map_or(LOCAL_PORTS_START, |local| local.first.min(LOCAL_PORTS_START));
    // A kernel that is told to take local ports from nearly everywhere leaves no better place.
    let end = if end > LOWEST_PORT + 1000 { end } else { LOCAL_PORTS_START };
    let used: BTreeSet<u16> =
        crate::sockets::read_sockets().0.iter().map(|socket| socket.local.port()).collect();
    let mut random = File::open("/dev/urandom")?;
    let mut ports = Vec::new();
    while ports.len() < STAGE_COUNT {
        let mut bytes = [0; 2];
        random.read_exact(&mut bytes)?;
        let port = u16::from_ne_bytes(bytes);
        if (LOWEST_PORT..end).contains(&port) && !ports.contains(&port) && !used.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

fn format_services(ssh: &[u16]) -> Vec<String> {
    ssh.iter().map(|port| format!("tcp/{port}")).collect()
}

fn format_config(path: &Path, hosts: &[String], ports: &[u16], ssh: &[u16]) -> String {
    let list = |words: &[String]| {
        words.iter().map(|word| format!("\"{}\"", printable(word))).collect::<Vec<_>>().join(", ")
    };
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    // A configuration elsewhere does not use the key, the clients and the store of this host.
    let files = match path.parent() {
        Some(folder) if path != Path::new(DEFAULT_CONFIG) => {
            let quoted =
                |name: &str| toml_edit::Value::from(folder.join(name).display().to_string());
            format!(
                "key ={}\nclients ={}\nstate ={}\n",
                quoted("server.key").decorated(" ", ""),
                quoted("clients.toml").decorated(" ", ""),
                quoted(OWN_STATE).decorated(" ", "")
            )
        }
        _ => String::new(),
    };
    format!(
        "# Written by `spa-server init`. Settings that are not here have their defaults: see\n\
         # spa-server.toml(5). `spa-server check` shows every mistake at once.\n\
         \n\
         [server]\n\
         {files}\
         # Where clients knock; it stands in their invitations.\n\
         hosts = [{hosts}]\n\
         \n\
         [sequence]\n\
         # UDP ports that a knock goes to, in this order, chosen at random for this host.\n\
         # Nothing listens there.\n\
         ports = [{ports}]\n\
         \n\
         [firewall]\n\
         # Ports that belong to no service stay as they are.\n\
         mode = \"guard\"\n\
         # A service stays visible until a client has opened it once: a mistake locks nobody out.\n\
         # See `spa-server status`.\n\
         protect = \"after-first-grant\"\n\
         \n\
         [[service]]\n\
         name = \"ssh\"\n\
         ports = [{ssh}]\n",
        hosts = list(hosts),
        ports = ports.join(", "),
        ssh = list(&format_services(ssh)),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_has_nothing_wrong() {
        let around = Surroundings {
            local_ports: Some("32768-60999".parse().unwrap()),
            ..Surroundings::none()
        };
        for hosts in [&["gate.example.org", "2001:db8::1"][..], &[]] {
            for path in ["/etc/spa/spa-server.toml", "/srv/a \"b\"/x.toml"] {
                let ports = knock_ports(&around).unwrap();
                let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                let text = format_config(Path::new(path), &hosts, &ports, &[22, 2222]);
                let (config, findings) = config::parse("init", &text, &around);
                let config = config.unwrap_or_else(|| panic!("{findings}\n{text}"));
                let bad =
                    findings.iter().filter(|one| one.severity != spa_keys::Severity::Note).count();
                assert_eq!(bad, 0, "{findings}\n{text}");
                assert_eq!(config.server.hosts, hosts);
                let folder = Path::new(path).parent().unwrap();
                assert_eq!(config.server.key, config::SecretFile::File(folder.join("server.key")));
            }
        }
    }

    #[test]
    fn ports_differ_and_lie_below_the_local_ones() {
        let around = Surroundings {
            local_ports: Some("10000-60999".parse().unwrap()),
            ..Surroundings::none()
        };
        for _ in 0..50 {
            let ports = knock_ports(&around).unwrap();
            assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), STAGE_COUNT);
            assert!(ports.iter().all(|port| (LOWEST_PORT..10_000).contains(port)), "{ports:?}");
        }
    }
}
