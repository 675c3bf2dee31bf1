//! Responses at the control socket, whatever they are about.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spa_keys::{Failure, printable};

use super::PROTOCOL_VERSION;

/// Response: `ok`, and either what was asked for or why not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The request was carried out.
    pub ok: bool,
    /// One of the structures in [`super::rows`], or a refusal. Fields that this program does
    /// not know stay in it.
    #[serde(flatten)]
    pub(crate) body: Map<String, Value>,
}

/// Body of a response that is not `ok`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct RefusalBody {
    /// The failure in words.
    pub(super) error: Option<String>,
    /// Exit code of the command line.
    pub(super) exit_code: Option<u64>,
}

impl Response {
    fn new(ok: bool, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = match serde_json::to_value(body)? {
            Value::Object(body) => body,
            _ => Map::new(),
        };
        Ok(Self { version: PROTOCOL_VERSION, ok, body })
    }

    /// Response to a request that was carried out.
    #[must_use]
    pub fn from_body(body: &impl Serialize) -> Self {
        Self::new(true, body).unwrap_or_else(|error| Self::from_error(error.to_string()))
    }

    /// Refusal, with the exit code that the command line ends with.
    #[must_use]
    pub fn from_failure(failure: &Failure) -> Self {
        let error = Some(failure.to_string().trim_end().to_owned());
        let body = RefusalBody { error, exit_code: Some(failure.code.into()) };
        Self::new(false, &body).unwrap_or(Self {
            version: PROTOCOL_VERSION,
            ok: false,
            body: Map::new(),
        })
    }

    /// Refusal with exit code 1.
    #[must_use]
    pub fn from_error(text: impl Into<String>) -> Self {
        Self::from_failure(&Failure::failed(text))
    }

    /// Reads the body. Fields of a newer server are passed over.
    ///
    /// # Errors
    /// A field is missing or of another type.
    pub fn read_body<T: DeserializeOwned>(self) -> Result<T, Failure> {
        T::deserialize(Value::Object(self.body)).map_err(|error| not_understood(&error.to_string()))
    }
}

/// Failure of a response that is none.
pub(crate) fn not_understood(why: &str) -> Failure {
    Failure::failed(format!("the server's answer is not understood: {}", printable(why)))
}
