//! Capabilities (capabilities(7)).

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};
use spa_keys::Failure;

use super::missing_wall;

/// Drops every capability, also those that a later program could get. Answers whether the bounding
/// set is empty too, which needs `CAP_SETPCAP` and, after `no_new_privs`, only doubles a wall.
///
/// A listener that root started becomes the owner of its store: without capabilities root is a
/// stranger there.
pub(super) fn drop_all(store: Option<&Path>) -> Result<bool, Failure> {
    let failed = |error: CapsError| missing_wall("capabilities", &error);
    let bounded = caps::clear(None, CapSet::Bounding).is_ok();
    become_owner(store)?;
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::clear(None, CapSet::Effective).map_err(failed)?;
    caps::clear(None, CapSet::Permitted).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    Ok(bounded)
}

fn become_owner(store: Option<&Path>) -> Result<(), Failure> {
    let Some(meta) = store.and_then(|path| std::fs::metadata(path).ok()) else { return Ok(()) };
    if !geteuid().is_root() || meta.uid() == 0 {
        return Ok(());
    }
    let failed = |error: nix::Error| missing_wall("the user of the store", &error);
    setgroups(&[]).map_err(failed)?;
    setgid(Gid::from_raw(meta.gid())).map_err(failed)?;
    setuid(Uid::from_raw(meta.uid())).map_err(failed)
}

/// Keeps what the broker needs, of what it has: the firewall; with capture `udp` ports below 1024;
/// and, when root started it, reading the files of the service's own user at a reload.
pub(super) fn keep_broker(binds: bool) -> Result<(), Failure> {
    let mut needed = vec![Capability::CAP_NET_ADMIN];
    if binds {
        needed.push(Capability::CAP_NET_BIND_SERVICE);
    }
    if geteuid().is_root() {
        needed.push(Capability::CAP_DAC_READ_SEARCH);
    }
    keep_capabilities(&needed)
}

/// Keeps what the runner needs when root started it: to become another user, and to kill what runs
/// as one.
pub(super) fn keep_runner() -> Result<(), Failure> {
    if !geteuid().is_root() {
        return keep_capabilities(&[]);
    }
    keep_capabilities(&[Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_KILL])
}

/// Keeps what a program of an enforcer may need, and hands it on to such a program.
pub(super) fn keep_for_programs() -> Result<(), Failure> {
    let failed = |error: CapsError| missing_wall("capabilities", &error);
    keep_capabilities(&[Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW])?;
    let kept = caps::read(None, CapSet::Permitted).map_err(failed)?;
    caps::set(None, CapSet::Inheritable, &kept).map_err(failed)?;
    caps::set(None, CapSet::Ambient, &kept).map_err(failed)
}

/// Drops every capability but these; of these, what is not there is not missed.
fn keep_capabilities(needed: &[Capability]) -> Result<(), Failure> {
    let failed = |error: CapsError| missing_wall("capabilities", &error);
    let has = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let keep: CapsHashSet =
        needed.iter().copied().filter(|capability| has.contains(capability)).collect();
    // Needs CAP_SETPCAP, and only doubles what no_new_privs does.
    for capability in caps::all() {
        if !keep.contains(&capability) {
            let _held = caps::drop(None, CapSet::Bounding, capability);
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &keep).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &keep).map_err(failed)
}
