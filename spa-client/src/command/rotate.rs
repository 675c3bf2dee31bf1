//! `spa-client rotate`: new keys for one host. They are on the disk before anything is sent, and
//! come into force by one rename when the server has them; until then the old ones are as they
//! were.
//!
//! ```text
//! hosts/NAME.fresh      the new key, before its line is written: never sent to anybody
//! hosts/NAME.rotating   the new line, while nobody knows whether the server has it; its psk is
//!                       that without an ML-KEM half, and tells which pair it was made from
//! hosts/CHECK.key       the new key, named by the check in its line
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use spa_keys::key_file::{only_line, read_locked};
use spa_keys::{
    AgentKey, Failure, Fingerprint, Folder, HostLine, Identity, LastAnswer, PassphraseSource,
    SecretText, SplitKey, exit, file, find_agent_key, make_key, make_split_key,
};
use spa_proto::{Op, Psk, Reason};

use crate::address::ResolvedNames;
use crate::cli::RotateArgs;
use crate::host::{Config, check_enrolled, find_identity, read_key, read_passphrase_fd};
use crate::knock::{KemUse, KeyChange, Outcome, Verdict, is_known, request_key_change};
use crate::output;
use crate::plan::{Plan, SeenAddress};
use crate::report::{Purpose, explain_failure};

#[derive(Serialize)]
struct RotateReport<'a> {
    version: u8,
    host: &'a str,
    client: &'a str,
    fingerprint: String,
}

/// A host that has new keys of this client.
pub(crate) struct Rotated {
    host: String,
    client: String,
    fingerprint: Fingerprint,
}

/// Runs `spa-client rotate`; returns the exit code.
pub(crate) fn run_rotate(args: &RotateArgs) -> Result<u8, Failure> {
    let Rotated { host, client, fingerprint } = rotate_keys(args)?;
    let fingerprint = fingerprint.to_string();
    if args.json {
        let (host, client) = (host.as_str(), client.as_str());
        output::print_json(&RotateReport { version: 1, host, client, fingerprint })?;
    } else {
        output::print_text(&format!("{host} has the new key {fingerprint}\n"))?;
    }
    Ok(exit::OK)
}

/// Makes new keys, and has the server take them.
pub(crate) fn rotate_keys(args: &RotateArgs) -> Result<Rotated, Failure> {
    let folder = args.options.folder.find_folder()?;
    let host = choose_host(args, &folder)?;
    let config = Config::read_config(&folder)?;
    let lines = folder.read_host_lines(&host)?;
    let line = folder.read_host(&host)?;
    let settings = config.settings_of(&host);
    let identity = find_identity(&folder, settings.identity_path(&folder), &line);
    let passphrase = read_passphrase_fd(args.options.passphrase_fd)?;
    let secret = read_key(&identity, passphrase.as_ref())?;
    check_enrolled(&host, &line, &identity, &secret.public())?;
    if !line.ack {
        return Err(mute_server_failure(&host));
    }
    let names = settings.knock_names(&line);
    let options = &args.options;
    let family = options.chosen_family();
    let resolved = ResolvedNames::resolve(names, family, options.verbose, options.timeout)?;
    let mut old =
        Plan::from_enrolment(host.clone(), line, secret, resolved.clone(), &args.options)?
            .with_lines(lines);
    old.seen.bind_src = settings.bind_src;
    if old.seen.expected.is_empty() {
        old.seen.expected = settings.expect_address.clone();
    }

    let old_expected = old.seen.expected.clone();
    let new_passphrase = read_passphrase_fd(args.new_passphrase_fd)?;
    let rotation = Rotation {
        args,
        folder: &folder,
        host: &host,
        identity: &identity,
        passphrase,
        new_passphrase,
    };
    let (line, secret) = rotation.prepare_new_key(&old)?;
    let plan = |lines: Vec<HostLine>| -> Result<Plan, Failure> {
        let (first, resolved) = (lines.first().unwrap_or(&line).clone(), resolved.clone());
        let plan =
            Plan::from_enrolment(host.clone(), first, secret.clone(), resolved, &args.options)?;
        let mut plan = plan.with_lines(lines);
        plan.seen = SeenAddress::new(settings.bind_src, old_expected.clone());
        Ok(plan)
    };
    let new = plan(with_pair(&old.lines(), &line, &line.psk))?;
    let op = Op::Rekey(secret.public());
    old.set_successor(secret.clone());
    let psk = rotation.request_keys(&old, &new, op)?;
    // By the server's keys as the answer has told them.
    let lines = with_pair(&old.lines(), &line, &psk);
    let new = plan(lines.clone())?;
    rotation.adopt_keys(&old, &new, &lines)?;
    Ok(Rotated { host, client: line.name, fingerprint: new.fingerprint })
}

/// Returns a host's lines with the pair of `new` and this psk in the place of their own.
fn with_pair(lines: &[HostLine], new: &HostLine, psk: &Psk) -> Vec<HostLine> {
    let with_new = |line: &HostLine| HostLine {
        psk: psk.clone(),
        client_check: new.client_check,
        // A psk that is another than without an ML-KEM key shows that the server takes one.
        kem: line.kem || *psk != new.psk,
        ..line.clone()
    };
    lines.iter().map(with_new).collect()
}

/// Returns the host that the user has named, or the only one.
fn choose_host(args: &RotateArgs, folder: &Folder) -> Result<String, Failure> {
    if let Some(host) = &args.host {
        return Ok(host.clone());
    }
    match folder.host_names()?.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::new(exit::NOTHING_SENT, "there are no hosts")
            .remedy_after("take an invitation with", "spa join -")),
        several => Err(Failure::usage(format!("name one of the hosts: {}", several.join(", ")))),
    }
}

/// Failure at a server that never answers: nobody could know which keys hold.
fn mute_server_failure(host: &str) -> Failure {
    Failure::failed(format!(
        "{host} never answers, so nobody could know which keys are valid, and nothing was sent; \
         get a new invitation from its administrator (spa-server invite NAME)"
    ))
    .remedy_after("take it with", "spa join LINE --replace --key FILE")
}

/// Sources of the new keys.
struct Rotation<'a> {
    args: &'a RotateArgs,
    folder: &'a Folder,
    host: &'a str,
    identity: &'a Path,
    /// Of `--passphrase-fd`.
    passphrase: Option<SecretText>,
    /// Of `--new-passphrase-fd`.
    new_passphrase: Option<SecretText>,
}

impl Rotation<'_> {
    /// Returns the path of a file beside the host's line.
    fn path_with_extension(&self, end: &str) -> PathBuf {
        self.folder.hosts().join(format!("{}.{end}", self.host))
    }

    /// Returns the path of the new line while nobody knows whether the server has it.
    fn pending_path(&self) -> PathBuf {
        self.folder.rotation_file(self.host)
    }

    /// Prepares the new line and key: those of an interrupted run if there was one, else fresh
    /// ones, on the disk.
    fn prepare_new_key(&self, old: &Plan) -> Result<(HostLine, Identity), Failure> {
        let (pending, fresh) = (self.pending_path(), self.path_with_extension("fresh"));
        let wanted = self.args.agent.as_deref().map(find_agent_key).transpose()?;
        if let Some(line) = self.read_pending_line()? {
            let secret = self.read_pending_key(&line)?;
            if old.successor_line(&secret).psk == line.psk {
                self.check_continues(&secret, wanted.map(|(agent, _)| agent))?;
                spa_keys::note!("continuing with the new key of an earlier run");
                return Ok((line, secret));
            }
        }
        let wanted = match wanted {
            None if !self.args.no_agent => self.find_present_signer()?,
            wanted => wanted,
        };
        // Of an enrolment that is no more, and of a run that did not come to its line: nobody has
        // heard of either.
        for left in [&pending, &fresh] {
            if left.symlink_metadata().is_ok() {
                file::remove(left)?;
            }
        }
        let secret = match wanted {
            Some((agent, comment)) => Identity::Split(make_split_key(&fresh, agent, &comment)?),
            None => Identity::Whole(make_key(&fresh, self.choose_passphrase()?.as_ref())?),
        };
        let line = old.successor_line(&secret);
        let text = SecretText::new(format!(
            "# New keys that the server may have.\n{}\n",
            line.to_text()?.expose()
        ));
        file::write_new(&pending, text.expose())?;
        rename_durably(&fresh, &self.folder.key_of(&line))?;
        Ok((line, secret))
    }

    /// Finds the present key's signing half, if that is in an agent: it does not come into a file
    /// unasked, but signs on, and the rest of the pair is new.
    fn find_present_signer(&self) -> Result<Option<(AgentKey, String)>, Failure> {
        let present = SplitKey::read(self.identity)?;
        present.map(|split| find_agent_key(&split.agent.fingerprint())).transpose()
    }

    /// Asks the server to take the new keys; returns the pair's new psk.
    fn request_keys(&self, old: &Plan, new: &Plan, op: Op) -> Result<Psk, Failure> {
        let kem = match &old.line {
            line if line.kem => KemUse::Always,
            line if line.can_carry_kem() => KemUse::Tried,
            _ => KemUse::Never,
        };
        match request_key_change(old, new, op, kem) {
            KeyChange::Done(psk) => Ok(psk),
            KeyChange::Unheard => Err(mute_server_failure(self.host)),
            KeyChange::Failed(outcomes) => {
                // Other keys that the server will never take are of no use. In every other case it
                // may have them already: what it says now is about the address or the hour, or
                // comes from an earlier run.
                let useless = |one: &Outcome| {
                    matches!(
                        one.verdict,
                        Verdict::Denied(Reason::NewKeys | Reason::Kind | Reason::Op)
                    )
                };
                if outcomes.iter().any(useless) {
                    let _left = file::remove(&self.pending_path())
                        .and_then(|()| file::remove(&self.folder.key_of(&new.line)));
                }
                let all: Vec<&Outcome> = outcomes.iter().collect();
                Err(explain_failure(old, Purpose::Rotation, &all))
            }
        }
    }

    /// Brings the new keys into force here, and removes the old ones unless other hosts may use
    /// them.
    fn adopt_keys(&self, old: &Plan, new: &Plan, lines: &[HostLine]) -> Result<(), Failure> {
        self.folder.replace_lines(self.host, lines)?;
        file::remove(&self.pending_path())?;
        LastAnswer::record(self.folder, self.host, &new.line, "rotated", true);
        // The server ends the old keys when it has seen the new ones; that is not worth a touch,
        // the next knock does it.
        if new.asks_for_touch() || !is_known(new, Instant::now() + Duration::from_secs(3)) {
            spa_keys::note!(
                "the old keys are valid until your next knock or the end of the \
                overlap"
            );
        }
        if self.identity == self.folder.key_of(&old.line) {
            file::remove(self.identity)?;
        } else {
            spa_keys::note!("{} stays: other hosts may use it", self.identity.display());
        }
        Ok(())
    }

    /// Reads the line of an interrupted run.
    fn read_pending_line(&self) -> Result<Option<HostLine>, Failure> {
        let pending = self.pending_path();
        if !pending.exists() {
            return Ok(None);
        }
        let text = file::read_secret(&pending)?;
        let line =
            only_line(text.expose()).ok().and_then(|(_, line)| HostLine::from_text(line).ok());
        Ok(line)
    }

    /// Checks that this run may go on with the key of an earlier one: the server may have it, and
    /// then takes no other one from the key before it.
    fn check_continues(&self, pending: &Identity, wanted: Option<AgentKey>) -> Result<(), Failure> {
        let (is, other) = match (pending, wanted) {
            (Identity::Split(split), Some(wanted)) if split.agent == wanted => return Ok(()),
            (Identity::Split(split), _) => (
                format!("the agent's key {}", split.agent.fingerprint()),
                wanted.is_some() || self.args.no_agent,
            ),
            (Identity::Whole(_), wanted) => ("a key in a file".to_owned(), wanted.is_some()),
        };
        if !other {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "an earlier run began to change to {is}, which {host} may already have (if that key is \
             lost, remove {})",
            self.pending_path().display(),
            host = self.host
        ))
        .remedy_after("finish that first", format!("spa rotate {}", self.host)))
    }

    /// Reads the key of an interrupted run, which may have ended before it had its name. Its
    /// passphrase is the new one.
    fn read_pending_key(&self, line: &HostLine) -> Result<Identity, Failure> {
        let (path, fresh) = (self.folder.key_of(line), self.path_with_extension("fresh"));
        if !path.exists() && fresh.exists() {
            rename_durably(&fresh, &path)?;
        }
        read_key(&path, self.new_passphrase.as_ref().or(self.passphrase.as_ref()))
    }

    /// Chooses the passphrase of the new key.
    fn choose_passphrase(&self) -> Result<Option<SecretText>, Failure> {
        let args = self.args;
        if let Some(new) = &self.new_passphrase {
            return Ok(Some(new.clone()));
        }
        let split = SplitKey::read(self.identity)?.is_some();
        let was_locked = !split && read_locked(self.identity)?.is_some();
        if !args.passphrase && (!was_locked || self.passphrase.is_some()) {
            return Ok(self.passphrase.clone());
        }
        let what = format!("the new key at {}", self.host);
        Ok(Some(PassphraseSource::Terminal.ask_new(&what)?))
    }
}

/// Renames a file, on the disk when it returns.
fn rename_durably(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::rename(from, to)
        .and_then(|()| std::fs::File::open(to.parent().unwrap_or(from))?.sync_all())
        .map_err(|error| Failure::failed(format!("{}: {error}; run this again", to.display())))
}
