//! `revoke`.

use nix::unistd::geteuid;
use spa_keys::{ClientName, Failure, exit};

/// Checks that somebody may have a client shut out: who owns the clients' file, nobody else.
pub(in crate::listener) fn check_revocation(client: &str, by: u32) -> Result<(), Failure> {
    ClientName::new(client).map_err(|error| Failure::new(exit::USAGE, error.to_string()))?;
    if by != 0 && by != geteuid().as_raw() {
        let text = "only root and the server's own user can shut a client out";
        return Err(Failure::new(exit::PERMISSION, text));
    }
    Ok(())
}
