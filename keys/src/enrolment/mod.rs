//! Enrolment: the line by which a server tells a client all that it needs to knock, and the
//! invitation by which a device enrols itself.

mod host_codec;
pub(crate) mod host_line;
pub(crate) mod invitation;
