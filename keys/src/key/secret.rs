//! Secret keys of both sides, as locked keys and key files see them.

use spa_proto::{ClientPublic, ClientSecret, ServerPublic, ServerSecret};
use zeroize::Zeroizing;

use crate::key::split_key::SplitKey;
use crate::text::{SecretText, TextForm};

/// Secret key with a public half.
pub trait Secret: TextForm<Text = SecretText> {
    /// Type of the public half.
    type Public: TextForm<Text = String>;

    /// Code of the side in a locked key: 1 client, 2 server.
    const CODE: u8;

    /// Computes the public half.
    fn public_half(&self) -> Self::Public;

    /// Returns the secret's 32 bytes.
    fn secret_bytes(&self) -> Zeroizing<[u8; 32]>;

    /// Makes the secret from its 32 bytes.
    fn of_bytes(bytes: [u8; 32]) -> Self;

    /// Returns the public half's bytes.
    fn public_bytes(&self) -> Vec<u8>;

    /// Makes the public half from its bytes; `None` for a wrong length.
    fn public_of_bytes(bytes: &[u8]) -> Option<Self::Public>;

    /// Returns the public half of a key that is partly in an agent; `None` for servers' keys, which
    /// never are.
    fn public_of_split(_: &SplitKey) -> Option<Self::Public> {
        None
    }
}

impl Secret for ClientSecret {
    type Public = ClientPublic;
    const CODE: u8 = 1;

    fn public_half(&self) -> ClientPublic {
        self.public()
    }

    fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.to_bytes()
    }

    fn of_bytes(bytes: [u8; 32]) -> Self {
        Self::from_bytes(bytes)
    }

    fn public_bytes(&self) -> Vec<u8> {
        self.public().to_bytes().to_vec()
    }

    fn public_of_bytes(bytes: &[u8]) -> Option<ClientPublic> {
        bytes.try_into().ok().map(ClientPublic::from_bytes)
    }

    fn public_of_split(split: &SplitKey) -> Option<ClientPublic> {
        Some(split.public())
    }
}

impl Secret for ServerSecret {
    type Public = ServerPublic;
    const CODE: u8 = 2;

    fn public_half(&self) -> ServerPublic {
        self.public()
    }

    fn secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.to_bytes()
    }

    fn of_bytes(bytes: [u8; 32]) -> Self {
        Self::from_bytes(bytes)
    }

    fn public_bytes(&self) -> Vec<u8> {
        self.public().0.to_vec()
    }

    fn public_of_bytes(bytes: &[u8]) -> Option<ServerPublic> {
        bytes.try_into().ok().map(ServerPublic)
    }
}
