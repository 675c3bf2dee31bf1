//! Which files the listener can reach (landlock(7)).

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::Folders;

/// The time zones that an access stanza may name: public, and read at each reload.
const ZONE_FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];

/// Leaves the store's folder and the time zones, no TCP port, no signal and no abstract socket of
/// another process. False: the kernel has no landlock. What an older kernel does not know yet is
/// left out; seccomp forbids the same once more.
pub(super) fn restrict_files(folders: &Folders) -> Result<bool, RulesetError> {
    let abi = ABI::V6;
    let own: BitFlags<AccessFs> = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(&folders.written, own))?
        .add_rules(path_beneath_rules(ZONE_FOLDERS, AccessFs::ReadFile | AccessFs::ReadDir))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
