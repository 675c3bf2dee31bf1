//! Networks that change under the client, or put somebody between it and the server.

mod names;
mod roaming;
mod translator;
