//! Texts: keys in Bech32m, fingerprints, names, durations, times, and what a terminal may be shown.

mod clean;
pub mod duration;
mod fingerprint;
mod form;
mod name;
mod note;
mod printable;
mod suggest;
mod unix_millis;

pub use clean::{acts_on_terminal, escape_controls, find_secret, mask_secrets, shorten};
pub use fingerprint::Fingerprint;
pub(crate) use fingerprint::client_prefix;
pub use form::{Kind, SecretText, TextError, TextForm, kind_of};
pub(crate) use form::{MAX_CHARS, decode_text, encode_text, text_chars};
pub use name::{
    ADMIN_OWNER, ClientName, MAX_CLIENT_NAME, MAX_SERVICE_NAME, NameError, ServiceName,
};
pub use note::{exit_with_usage, write_note};
pub use printable::{Printable, printable};
pub use suggest::did_you_mean;
pub use unix_millis::{UnixMillis, whole_millis};
