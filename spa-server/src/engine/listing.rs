//! The registry's clients, for whoever wants to look at them.

use spa_proto::ClientPublic;

use super::policy::{ServiceTerms, Stanza};
use super::registry::Registry;

/// A client without its secret.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Name of the client.
    pub name: &'a str,
    /// Public keys of the client.
    pub public: &'a ClientPublic,
    /// Rights of the client.
    pub stanza: &'a Stanza,
}

impl Registry {
    /// A client's place in the order of enrolment. Names have no index, which would cost memory for
    /// every client and is of no use to a knock: this walks through them.
    #[must_use]
    pub fn place_of(&self, name: &str) -> Option<u32> {
        (0..)
            .map_while(|at| self.client_at(at))
            .zip(0..)
            .find(|(view, _)| view.name == name)
            .map(|(_, at)| at)
    }

    /// A client by its place.
    #[must_use]
    pub fn listed(&self, place: u32) -> Option<Listed<'_>> {
        let view = self.client_at(place)?;
        Some(Listed { name: view.name, public: view.public, stanza: view.stanza })
    }

    /// The services, by name.
    #[must_use]
    pub fn services(&self) -> Vec<&ServiceTerms> {
        let mut services = self.all_services();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }
}
