//! `spa inspect`

use std::fmt::Display;
use std::path::Path;

use spa_keys::file::{self, FileError, MAX_SECRET_FILE};
use spa_keys::{
    Fingerprint, Folder, HostLine, Invitation, Kind, LockedKey, SecretText, Sequence, SplitKey,
    TextForm, exit, kind_of, printable,
};
use spa_proto::{ClientPublic, ClientSecret, Psk, ServerPublic, ServerSecret};

use crate::command::{Failure, output, source};

pub(crate) fn run(what: Option<&str>) -> Result<(), Failure> {
    let text = match what {
        None => from_file(&Folder::of_user()?.identity())?,
        Some(given) if given == "-" || kind_of(given).is_some() => {
            source::argument(given, "spa inspect - (and paste it)")?
        }
        Some(path) => from_file(Path::new(path))?,
    };
    let mut lines = text
        .expose()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    if lines.peek().is_none() {
        return Err(Failure::new(exit::FAILURE, "nothing is there to inspect"));
    }
    lines.try_for_each(line)
}

/// Bad manners of a file are told, but do not stop the inspection: it is how one finds out.
fn from_file(path: &Path) -> Result<SecretText, Failure> {
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

fn line(text: &str) -> Result<(), Failure> {
    let Some(kind) = kind_of(text) else {
        return Err(Failure::new(exit::FAILURE, "this is none of SPA's texts"));
    };
    match kind {
        Kind::ClientPublic | Kind::SecurityKeyPublic => {
            client(kind, &ClientPublic::from_text(text)?)
        }
        Kind::ClientSecret => client(kind, &ClientSecret::from_text(text)?.public()),
        Kind::LockedKey => {
            let locked = LockedKey::from_text(text)?;
            if locked.is_server() {
                server(kind, &locked.public::<ServerSecret>()?)
            } else {
                client(kind, &locked.public::<ClientSecret>()?)
            }
        }
        Kind::AgentKey => {
            let key = SplitKey::from_text(text)?;
            client(kind, &key.public())?;
            field("agent", &key.agent.fingerprint())
        }
        Kind::ServerPublic => server(kind, &ServerPublic::from_text(text)?),
        Kind::ServerSecret => server(kind, &ServerSecret::from_text(text)?.public()),
        Kind::Psk => {
            Psk::from_text(text)?;
            output::line("a pre-shared key; nothing in it is public")
        }
        Kind::Host => host(kind, &HostLine::from_text(text)?),
        Kind::Invitation => host(kind, &Invitation::from_text(text)?.host),
    }
}

fn client(kind: Kind, public: &ClientPublic) -> Result<(), Failure> {
    output::line(&kind.to_string())?;
    field("public", &public.to_text())?;
    field("fingerprint", &Fingerprint::from(public))
}

fn server(kind: Kind, public: &ServerPublic) -> Result<(), Failure> {
    output::line(&kind.to_string())?;
    field("public", &public.to_text())?;
    field("fingerprint", &Fingerprint::from(public))
}

fn host(kind: Kind, host: &HostLine) -> Result<(), Failure> {
    output::line(&kind.to_string())?;
    field("client", &printable(&host.name))?;
    let check: String = host.client_check.chunks(2).map(|pair| hex(pair) + "-").collect();
    field("for the key", &format!("SHA256:{check}…"))?;
    field("server", &host.server.to_text())?;
    field("fingerprint", &Fingerprint::from(&host.server))?;
    field("hosts", &printable(&list(&host.hosts)))?;
    field("sequence", &sequence(&host.sequence))?;
    field("ack", &if host.ack { "on" } else { "off" })?;
    field("services", &printable(&list(&host.services)))
}

fn sequence(sequence: &Sequence) -> String {
    match sequence {
        Sequence::Ports(ports) => format!("ports {}", list(ports)),
        Sequence::Hop { plan, .. } => {
            let (lo, hi) = plan.range();
            format!("{} ports that change every ten minutes, within {lo}-{hi}", plan.stages())
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list<T: Display>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn field(name: &str, value: &dyn Display) -> Result<(), Failure> {
    output::line(&format!("  {:<13}{value}", format!("{name}:")))
}
