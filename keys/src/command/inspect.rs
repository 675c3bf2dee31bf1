//! `spa inspect`

use std::fmt::Display;
use std::path::Path;

use spa_keys::file::{self, FileError, MAX_SECRET_FILE};
use spa_keys::{
    Failure, Fingerprint, Folder, HostLine, Invitation, Kind, LockedKey, SecretText, Sequence,
    SplitKey, TextForm, kind_of, printable,
};
use spa_proto::{ClientPublic, ClientSecret, Psk, ServerPublic, ServerSecret};

use crate::command::output;

/// Runs `spa inspect`.
pub(crate) fn run(what: Option<&str>) -> Result<(), Failure> {
    let text = match what {
        None => read_file(&Folder::of_user()?.identity())?,
        Some(given) if given == "-" || kind_of(given).is_some() => {
            spa_keys::read_argument(given, "spa inspect -")?
        }
        Some(path) => read_file(Path::new(path))?,
    };
    let mut lines = text
        .expose()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    if lines.peek().is_none() {
        return Err(Failure::failed("there is nothing to inspect"));
    }
    lines.try_for_each(print_text)
}

/// Bad manners of a file are told, but do not stop the inspection: it is how one finds out.
fn read_file(path: &Path) -> Result<SecretText, Failure> {
    match file::read_secret(path) {
        Err(error @ (FileError::Mode { .. } | FileError::Owner { .. } | FileError::Symlink(_))) => {
            let text = SecretText::new(file::read_public(path, MAX_SECRET_FILE)?);
            let secret =
                text.expose().lines().any(|line| kind_of(line).is_some_and(Kind::is_secret));
            if secret {
                spa_keys::note!("spa: warning: {error}");
            }
            Ok(text)
        }
        other => Ok(other?),
    }
}

fn print_text(text: &str) -> Result<(), Failure> {
    let Some(kind) = kind_of(text) else {
        return Err(Failure::failed("this is not an SPA text"));
    };
    match kind {
        Kind::ClientPublic | Kind::SecurityKeyPublic => {
            print_client(kind, &ClientPublic::from_text(text)?)
        }
        Kind::ClientSecret => print_client(kind, &ClientSecret::from_text(text)?.public()),
        Kind::LockedKey => {
            let locked = LockedKey::from_text(text)?;
            if locked.is_server() {
                print_server(kind, &locked.public::<ServerSecret>()?)
            } else {
                print_client(kind, &locked.public::<ClientSecret>()?)
            }
        }
        Kind::AgentKey => {
            let key = SplitKey::from_text(text)?;
            print_client(kind, &key.public())?;
            print_field("agent", &key.agent.fingerprint())
        }
        Kind::ServerPublic => print_server(kind, &ServerPublic::from_text(text)?),
        Kind::ServerSecret => print_server(kind, &ServerSecret::from_text(text)?.public()),
        Kind::Psk => {
            Psk::from_text(text)?;
            output::print_line("a pre-shared key; nothing in it is public")
        }
        Kind::Host => print_host(kind, &HostLine::from_text(text)?),
        Kind::Invitation => print_host(kind, &Invitation::from_text(text)?.host),
    }
}

fn print_client(kind: Kind, public: &ClientPublic) -> Result<(), Failure> {
    output::print_line(&kind.to_string())?;
    print_field("public", &public.to_text())?;
    print_field("fingerprint", &Fingerprint::from(public))
}

fn print_server(kind: Kind, public: &ServerPublic) -> Result<(), Failure> {
    output::print_line(&kind.to_string())?;
    print_field("public", &public.to_text())?;
    print_field("fingerprint", &Fingerprint::from(public))
}

fn print_host(kind: Kind, host: &HostLine) -> Result<(), Failure> {
    output::print_line(&kind.to_string())?;
    print_field("client", &printable(&host.name))?;
    let check: String = host.client_check.chunks(2).map(|pair| format_hex(pair) + "-").collect();
    print_field("for the key", &format!("SHA256:{check}…"))?;
    print_field("server", &host.server.to_text())?;
    print_field("fingerprint", &Fingerprint::from(&host.server))?;
    print_field("hosts", &printable(&join_list(&host.hosts)))?;
    print_field("sequence", &describe_sequence(&host.sequence))?;
    print_field("ack", &if host.ack { "on" } else { "off" })?;
    print_field("services", &printable(&join_list(&host.services)))
}

fn describe_sequence(sequence: &Sequence) -> String {
    match sequence {
        Sequence::Ports(ports) => format!("ports {}", join_list(ports)),
        Sequence::Hop { plan, .. } => {
            let (lo, hi) = plan.range();
            format!("{} ports that change every ten minutes, within {lo}-{hi}", plan.stages())
        }
    }
}

fn format_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn join_list<T: Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn print_field(name: &str, value: &dyn Display) -> Result<(), Failure> {
    output::print_line(&format!("  {:<13}{value}", format!("{name}:")))
}
