//! Rights of a client, as `client add` and `invite` take it.

use std::str::FromStr;

use clap::Args;
use jiff::tz::TimeZone;
use spa_keys::UnixMillis;

use crate::config::clients::NewClient;
use crate::config::{Secret, Stages};
use crate::domain::dates;
use crate::domain::rotation::Rotation;

/// Options for the rights of a new client or device.
#[derive(Debug, Args)]
pub(super) struct Rights {
    /// Network that it may knock from; may be given several times
    #[arg(long, value_name = "NET")]
    from: Vec<String>,
    /// Hours of the week: "Mon-Fri 08:00-18:00"
    #[arg(long)]
    hours: Option<String>,
    /// Time that it gets when it asks for none
    #[arg(long)]
    ttl: Option<String>,
    /// Longest time that it gets
    #[arg(long)]
    max_ttl: Option<String>,
    /// Live grants at a time
    #[arg(long, value_parser = parse_number::<u32>)]
    max_grants: Option<u32>,
    /// Leading bits of its IPv4 source that a grant is for, for a carrier whose NAT changes the
    /// address
    #[arg(long, value_name = "BITS", value_parser = parse_number::<u8>)]
    grant_prefix_v4: Option<u8>,
    /// The same for IPv6
    #[arg(long, value_name = "BITS", value_parser = parse_number::<u8>)]
    grant_prefix_v6: Option<u8>,
    /// It may open for another address than the one that it knocks from
    #[arg(long)]
    third_party: bool,
    /// Keys that may take the place of its own: never, refresh (the same signing key), same-kind or
    /// any [default: refresh for a security key, else any]
    #[arg(long, value_name = "WHICH", value_parser = parse_rotation)]
    rotate: Option<Rotation>,
}

/// Parses a moment that is still to come.
pub(super) fn parse_future(text: &str) -> Result<String, String> {
    let end = dates::parse(text, &TimeZone::system()).map_err(|error| error.to_string())?;
    if end <= UnixMillis::now().as_millis() {
        return Err("that moment has passed".to_owned());
    }
    Ok(text.to_owned())
}

/// Warns of an end of access that has passed.
pub(super) fn warn_of_end(name: &str, end: Option<&str>) {
    let end = end.and_then(|text| dates::parse(text, &TimeZone::system()).ok());
    if end.is_some_and(|end| end <= UnixMillis::now().as_millis()) {
        spa_keys::note!(
            "warning: --expires has passed already, and {0} can open nothing: spa-server client \
             set {0} --expires DAY",
            spa_keys::printable(name)
        );
    }
}

/// Parses a whole number: digits alone, without a zero before others.
pub(super) fn parse_number<T: FromStr>(text: &str) -> Result<T, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| "write a whole number in digits, and none too large".to_owned())
}

/// Word that is no rotation; holds the words that are.
#[derive(Debug, thiserror::Error)]
#[error("write {0}")]
struct RotationError(String);

/// Parses which keys may take the place of a client's.
fn parse_rotation(text: &str) -> Result<Rotation, RotationError> {
    let found = Rotation::CHOICES.iter().find(|(word, _)| *word == text);
    found.map(|(_, rotation)| *rotation).ok_or_else(|| {
        let words = Rotation::CHOICES.map(|(word, _)| word);
        RotationError(format!("{}{}", words.join(", "), spa_keys::did_you_mean(text, words)))
    })
}

impl Rights {
    /// Makes the stanza of a client with these rights: `public` and `psk` as text.
    pub(super) fn into_client(
        self,
        name: &str,
        services: Vec<String>,
        public: String,
        psk: Secret,
        expires: Option<String>,
        sequence: Stages,
    ) -> NewClient {
        NewClient {
            name: name.to_owned(),
            public,
            psk,
            services,
            from: self.from,
            hours: self.hours,
            expires,
            ttl: self.ttl,
            max_ttl: self.max_ttl,
            max_grants: self.max_grants,
            grant_prefix_v4: self.grant_prefix_v4,
            grant_prefix_v6: self.grant_prefix_v6,
            third_party: self.third_party,
            rotate: self.rotate,
            sequence,
        }
    }
}
