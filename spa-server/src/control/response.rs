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

    /// Response to a request that was carried out, or not.
    #[must_use]
    pub fn from_outcome(outcome: Result<impl Serialize, Failure>) -> Self {
        match outcome {
            Ok(body) => Self::from_body(&body),
            Err(failure) => Self::from_failure(&failure),
        }
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
    /// A field is missing, also one that may be null, or of another type.
    pub fn read_body<T: DeserializeOwned + Serialize>(self) -> Result<T, Failure> {
        let told = Value::Object(self.body);
        let read = T::deserialize(&told).map_err(|error| not_understood(&error.to_string()))?;
        // To serde a missing field and null are one; written again, every field is there.
        let whole =
            serde_json::to_value(&read).map_err(|error| not_understood(&error.to_string()))?;
        match find_missing(&whole, &told) {
            Some(field) => Err(not_understood(&format!("missing field `{field}`"))),
            None => Ok(read),
        }
    }

    /// Reads why a request was refused, as far as that is told.
    pub(super) fn read_refusal(self) -> Result<RefusalBody, Failure> {
        RefusalBody::deserialize(Value::Object(self.body))
            .map_err(|error| not_understood(&error.to_string()))
    }
}

/// The first field of `whole` that was not told.
fn find_missing<'w>(whole: &'w Value, told: &Value) -> Option<&'w str> {
    match (whole, told) {
        (Value::Object(whole), Value::Object(told)) => {
            whole.iter().find_map(|(name, value)| match told.get(name) {
                Some(told) => find_missing(value, told),
                None => Some(name.as_str()),
            })
        }
        (Value::Array(whole), Value::Array(told)) => {
            whole.iter().zip(told).find_map(|(value, told)| find_missing(value, told))
        }
        _ => None,
    }
}

/// Failure of a response that is none.
pub(crate) fn not_understood(why: &str) -> Failure {
    Failure::failed(format!("the server's answer is not understood: {}", printable(why)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::rows::ReloadDone;

    #[test]
    fn a_field_that_may_be_null_must_be_there() {
        let response = |body: &str| -> Response {
            serde_json::from_str(&format!("{{\"version\":1,\"ok\":true{body}}}")).unwrap()
        };
        let read = |body| response(body).read_body::<ReloadDone>();
        let done = ReloadDone { clients: 2, note: None };
        assert_eq!(read(",\"clients\":2,\"note\":null"), Ok(done.clone()));
        assert_eq!(read(",\"clients\":2,\"note\":null,\"newer\":1"), Ok(done));
        let missing = read(",\"clients\":2").unwrap_err();
        assert!(missing.to_string().contains("missing field `note`"), "{missing}");
    }
}
