//! An invitation as a line: an enrolment line whose psk is the invitation's secret, under another
//! beginning.

use spa_proto::{InvitationSecret, Psk};

use crate::enrolment::host_codec;
use crate::enrolment::host_line::{HostError, HostLine};
use crate::text::{self, Kind, SecretText};

/// Content of `SPA-INVITATION-1…`: where to ENROL, and with which secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Secret that gives the invitation's own client key and psk.
    pub secret: InvitationSecret,
    /// The server as the invitation's client sees it: its psk and check are those of the secret.
    pub host: HostLine,
}

impl Invitation {
    /// Makes an invitation around a host line, whose psk and check are set to the secret's.
    #[must_use]
    pub fn new(secret: InvitationSecret, mut host: HostLine) -> Self {
        host.psk = secret.psk();
        host.client_check = HostLine::check_of(&secret.client().public());
        Self { secret, host }
    }

    /// Returns the line. Whoever reads it can enrol, once.
    ///
    /// # Errors
    /// When a part breaks a limit, or the whole is too long.
    pub fn to_text(&self) -> Result<SecretText, HostError> {
        let psk = Psk::from_bytes(*self.secret.to_bytes());
        let bytes = host_codec::encode_line(&HostLine { psk, ..self.host.clone() })?;
        let chars = text::text_chars(Kind::Invitation, bytes.len());
        if chars > text::MAX_CHARS {
            Err(HostError::TooLong(chars))
        } else {
            Ok(text::encode_text(Kind::Invitation, &bytes))
        }
    }

    /// Reads a line; white space around it is ignored.
    ///
    /// # Errors
    /// Reason why the line is refused.
    pub fn from_text(text: &str) -> Result<Self, HostError> {
        let host = host_codec::decode_line(&text::decode_text(Kind::Invitation, text)?)?;
        let check = host.client_check;
        let invitation = Self::new(InvitationSecret::from_bytes(*host.psk.to_bytes()), host);
        if invitation.host.client_check == check {
            Ok(invitation)
        } else {
            Err(HostError::Content("the invitation's check does not belong to its secret"))
        }
    }
}
