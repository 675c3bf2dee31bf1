//! New keys that a server asks for, since the pair is old or its psk stood in a line: taken unasked
//! where the user has nothing to do for it.

use std::time::Duration;

use spa_keys::key_file::read_locked;
use spa_keys::{Failure, LastAnswer, SplitKey};
use spa_proto::KeyKind;

use super::rotate::rotate_keys;
use crate::cli::{KnockOptions, RotateArgs};
use crate::host::{Config, find_identity};
use crate::knock::Outcome;
use crate::plan::Plan;

/// Time for new keys: what the user has asked for is done and waits for us.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes new keys if an answer asked for them; whatever comes of it, what was opened stays open.
pub(crate) fn renew_if_asked(plan: &Plan, outcomes: &[Outcome], options: &KnockOptions) {
    let _tried = outcomes.iter().any(Outcome::wants_new_keys).then(|| try_renewal(plan, options));
}

/// Takes new keys, once a day at most, and says what came of it.
fn try_renewal(plan: &Plan, options: &KnockOptions) {
    let Some(folder) = &plan.folder else { return };
    if !LastAnswer::claim_renewal(folder, &plan.host, &plan.line) {
        return;
    }
    let host = &plan.host;
    match renew(plan, options) {
        Ok(true) => spa_keys::note!("spa-client: {host} has new keys now, as it asked for"),
        Ok(false) => {
            spa_keys::note!("spa-client: {host} asks for new keys; run: spa rotate {host}");
        }
        Err(failure) => {
            spa_keys::note!("spa-client: {host} asks for new keys, and has none yet: {failure}");
        }
    }
}

/// Takes new keys; false: that needs the user.
fn renew(plan: &Plan, options: &KnockOptions) -> Result<bool, Failure> {
    let folder = options.folder.find_folder()?;
    let settings = Config::read_config(&folder)?.settings_of(&plan.host);
    let identity = find_identity(&folder, settings.identity_path(&folder), &plan.line);
    let signs_unasked = match SplitKey::read(&identity)? {
        Some(split) => split.agent.kind == KeyKind::Ed25519,
        None => read_locked(&identity)?.is_none(),
    };
    if !signs_unasked {
        return Ok(false);
    }
    let mut options = options.clone();
    (options.timeout, options.passphrase_fd) = (RENEWAL_TIMEOUT, None);
    let args = RotateArgs {
        host: Some(plan.host.clone()),
        agent: None,
        no_agent: false,
        passphrase: false,
        new_passphrase_fd: None,
        json: false,
        options,
    };
    rotate_keys(&args).map(|_| true)
}
