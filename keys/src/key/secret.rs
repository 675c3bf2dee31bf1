//! Secret keys of both sides, as locked keys and key files see them.

use spa_proto::{ClientPublic, ClientSecret, ServerPublic, ServerSecret};
use zeroize::Zeroizing;

use crate::key::split_key::SplitKey;
use crate::text::{SecretText, TextForm};

/// A secret that has a public half.
pub trait Secret: TextForm<Text = SecretText> {
    /// Its public half.
    type Public: TextForm<Text = String>;

    /// What it is in a locked key: 1 client, 2 server.
    const CODE: u8;

    /// Computes it.
    fn public_half(&self) -> Self::Public;

    /// The secret's 32 bytes.
    fn secret_bytes(&self) -> Zeroizing<[u8; 32]>;

    /// From its 32 bytes.
    fn of_bytes(bytes: [u8; 32]) -> Self;

    /// The public half's bytes.
    fn public_bytes(&self) -> Vec<u8>;

    /// The public half from its bytes.
    fn public_of_bytes(bytes: &[u8]) -> Option<Self::Public>;

    /// The public half of a key that is partly in an agent; none is a server's.
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
