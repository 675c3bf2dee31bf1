//! Names of clients and services: the one set of rules for files, logs, enrolment lines, command
//! lines and the comments of kernel sets.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name of a client, in bytes.
pub const MAX_CLIENT_NAME: usize = 64;
/// Longest name of a service, in bytes.
pub const MAX_SERVICE_NAME: usize = 24;
/// Owner of the grants that an administrator makes. No [`ClientName`] holds a colon, so no client
/// can renew, close or hide behind such a grant.
pub const ADMIN_OWNER: &str = ":admin";

/// Reason why a text is not a name. The message quotes the text with its control characters
/// escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not a client's name.
    #[error(
        "`{}` is not a client's name: 1 to {MAX_CLIENT_NAME} letters, digits, `-`, `_`, `.` and \
         `@`, starting with a letter, a digit or `_`", .0.escape_debug()
    )]
    Client(String),
    /// Not a service's name.
    #[error(
        "`{}` is not a name: 1 to {MAX_SERVICE_NAME} small letters, digits and `-`, not starting \
         with `-`", .0.escape_debug()
    )]
    Service(String),
}

fn is_client_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    name.len() <= MAX_CLIENT_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.bytes().all(allowed)
}

fn is_service_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_SERVICE_NAME).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(allowed)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $is_valid:ident, $error:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a text and takes a copy of it.
            ///
            /// # Errors
            /// [`NameError`] with the rules that the text breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                if $is_valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError::$error(text.to_owned()))
                }
            }

            /// Borrows the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl From<$type> for Arc<str> {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                *self.0 == *other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                *self.0 == **other
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// Name of a client at its server: 1 to [`MAX_CLIENT_NAME`] ASCII letters, digits, `-`, `_`,
    /// `.` and `@`, so that a mail address fits. It starts with a letter, a digit or `_`: a leading
    /// `-` would be an option on a command line, a leading `.` a hidden file. Clones share one
    /// allocation.
    ClientName, is_client_name, Client
}

name! {
    /// Name of a service or bait: 1 to [`MAX_SERVICE_NAME`] ASCII small letters, digits and `-`,
    /// not starting with `-`. Clones share one allocation.
    ServiceName, is_service_name, Service
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clients() {
        let longest = "a".repeat(MAX_CLIENT_NAME);
        for name in ["alice@example.org", "Bob_2", "_", "0", "a-b.c", &longest] {
            assert_eq!(ClientName::new(name).unwrap(), name);
        }
        let too_long = "a".repeat(MAX_CLIENT_NAME + 1);
        let bad = ["", "-x", ".x", "@x", "a b", "a\nb", "a\"b", "a+b", "a:b", "é", ADMIN_OWNER];
        for text in bad.into_iter().chain([too_long.as_str()]) {
            assert_eq!(ClientName::new(text), Err(NameError::Client(text.to_owned())));
        }
    }

    #[test]
    fn services() {
        let longest = "a".repeat(MAX_SERVICE_NAME);
        for name in ["ssh", "a-1", "9", &longest] {
            assert_eq!(ServiceName::new(name).unwrap(), name);
        }
        let too_long = "a".repeat(MAX_SERVICE_NAME + 1);
        for text in ["", "Ssh", "a b", "é", "-x", "a_b", &too_long] {
            assert_eq!(ServiceName::new(text), Err(NameError::Service(text.to_owned())));
        }
    }

    #[test]
    fn lookup_by_text() {
        let names = BTreeSet::from([ClientName::new("alice").unwrap()]);
        assert!(names.contains("alice") && !names.contains("bob"));
    }

    #[test]
    fn json_is_checked() {
        let name: ClientName = serde_json::from_str("\"alice\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"alice\"");
        assert!(serde_json::from_str::<ClientName>("\":admin\"").is_err());
        assert!(serde_json::from_str::<ServiceName>("\"SSH\"").is_err());
    }

    proptest! {
        #[test]
        fn every_name_is_printable_and_no_option(text in ".{0,70}") {
            for name in [ClientName::new(&text).map(String::from),
                ServiceName::new(&text).map(String::from)].into_iter().flatten()
            {
                prop_assert_eq!(&name, &text);
                prop_assert!(name.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert!(!name.starts_with('-') && !name.contains(':'));
            }
        }

        #[test]
        fn every_service_name_is_a_client_name(text in "[a-z0-9-]{1,24}") {
            prop_assert_eq!(ServiceName::new(&text).is_ok(), ClientName::new(&text).is_ok());
        }
    }
}
