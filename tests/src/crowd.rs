//! Very many enrolled clients who never knock.

use spa_keys::TextForm;
use spa_proto::{ClientSecret, Psk};

/// Access stanzas for the service `ssh`, each with a key of its own: text for the end of a clients'
/// file.
pub fn stanzas(count: u32) -> String {
    (0..count)
        .map(|number| {
            let secret = ClientSecret::generate().expect("random bytes");
            let psk = Psk::generate().expect("random bytes");
            let (public, psk) = (secret.public().to_text(), psk.to_text());
            format!(
                "\n[[client]]\nname = \"crowd-{number}\"\npublic = \"{}\"\npsk = \"{}\"\nservices \
                 = [\"ssh\"]\n",
                public,
                psk.expose()
            )
        })
        .collect()
}
