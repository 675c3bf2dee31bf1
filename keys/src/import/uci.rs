//! OpenWrt's form of fwknop's files, /etc/config/fwknopd: `config SECTION` and `option NAME
//! 'VALUE'` (package fwknop, files/fwknopd.init). Each line becomes one of fwknop's own, so that
//! remarks name the right one.

use super::report::{ImportError, Peer, PeerFile, SourceLine};
use crate::text::SecretText;

/// fwknop's own files in the place of a UCI file.
pub(super) struct TranslatedFiles {
    /// As access.conf.
    pub(super) access: PeerFile,
    /// As fwknopd.conf.
    pub(super) daemon: PeerFile,
    /// Lines that have no place in either.
    pub(super) other: Vec<SourceLine>,
}

/// Translates the file if it is one of UCI's.
///
/// # Errors
/// It is another program's.
pub(super) fn translate(
    peer: Peer,
    input: &PeerFile,
) -> Result<Option<TranslatedFiles>, ImportError> {
    let text = input.text.expose();
    let mut told = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let first = told.find(|line| !line.is_empty()).unwrap_or_default();
    if first.split_whitespace().next() != Some("config") {
        return Ok(None);
    }
    if peer == Peer::Knockd {
        return Err(ImportError {
            place: SourceLine { file: input.name.clone(), line: 1 },
            text: "this is a UCI file of OpenWrt, and knockd's own is wanted: /etc/knockd.conf"
                .to_owned(),
        });
    }
    // Room for all, with a SOURCE for each section: a text that grew would leave a key behind.
    let room = || String::with_capacity(2 * text.len());
    let (mut access, mut daemon, mut other) = (room(), room(), Vec::new());
    let mut section = "";
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (at, line) in lines.iter().enumerate() {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let place = || SourceLine { file: input.name.clone(), line: at + 1 };
        match word {
            "config" => {
                section = unquote(rest.split_whitespace().next().unwrap_or_default());
                if section == "access" {
                    // A stanza begins with it, wherever the option stands.
                    let behind = lines.iter().skip(at + 1).take_while(|line| !is_section(line));
                    let source = behind.filter_map(|line| split_option(line));
                    let source = source.into_iter().find(|(name, _)| *name == "SOURCE");
                    access.extend(["SOURCE ", source.map_or("ANY", |(_, value)| value)]);
                }
            }
            "option" | "list" => match (section, split_option(line)) {
                ("access", Some(("SOURCE" | "keytype" | "hkeytype", _))) => {}
                ("access", Some((name, value))) => access.extend([name, " ", value]),
                ("config", Some((name, value))) => daemon.extend([name, " ", value]),
                _ => other.push(place()),
            },
            "" => {}
            _ if word.starts_with('#') => {}
            _ => other.push(place()),
        }
        access.push('\n');
        daemon.push('\n');
    }
    let file = |text: String| PeerFile { name: input.name.clone(), text: SecretText::new(text) };
    Ok(Some(TranslatedFiles { access: file(access), daemon: file(daemon), other }))
}

fn is_section(line: &str) -> bool {
    line.split_whitespace().next() == Some("config")
}

/// Returns name and value of an option.
fn split_option(line: &str) -> Option<(&str, &str)> {
    let (word, rest) = line.split_once(char::is_whitespace)?;
    let (name, value) = rest.trim().split_once(char::is_whitespace)?;
    matches!(word, "option" | "list").then(|| (unquote(name), unquote(value.trim())))
}

fn unquote(word: &str) -> &str {
    let inside = |sign: char| word.strip_prefix(sign)?.strip_suffix(sign);
    inside('\'').or_else(|| inside('"')).unwrap_or(word)
}
