//! The server as its unit runs it: its user, its rights, and the files that its sandbox leaves.
//!
//! Read from the unit's files, so that a drop-in counts that systemd has not been told of yet.

mod paths;
mod settings;

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use spa_keys::Severity;

use self::paths::{UnitUser, UnitView, Use, resolve};
use self::settings::{UNIT, UNIT_FOLDERS, UnitSettings};
use super::{HostFinding, HostSubject};
use crate::config::clients::enrolled_file;
use crate::config::paths::broker_folder;
use crate::config::{Backend, CaptureMode, Config, SecretFile};

/// Exists while systemd runs this host (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// Configuration that a unit without `--config` runs with.
const DEFAULT_CONFIG: &str = "/etc/spa/spa-server.toml";
/// First port that needs no right to be bound, by default.
const FIRST_FREE_PORT: u16 = 1024;

/// Obstacles that the unit puts in the server's way; `None`: no unit of this host runs this
/// configuration.
pub(super) fn check_unit(path: &Path, config: &Config) -> Option<Vec<HostFinding>> {
    if !Path::new(BOOTED).exists() {
        return None;
    }
    match UnitSettings::read(&UNIT_FOLDERS.map(Path::new)) {
        Ok(unit) => unit.filter(|unit| runs(unit, path)).map(|unit| find(&unit, path, config)),
        Err(error) => {
            let text = format!("{UNIT}: {error}; what it keeps from the server cannot be said");
            Some(vec![HostFinding::new(Severity::Unknown, HostSubject::Unit, text)])
        }
    }
}

/// Tells whether the unit runs this configuration.
fn runs(unit: &UnitSettings, path: &Path) -> bool {
    let words = unit.list("ExecStart");
    let after = |at: usize| words.get(at + 1).map(String::as_str);
    let named = words.iter().enumerate().find_map(|(at, word)| match word.as_str() {
        "--config" | "-c" => after(at),
        word => word.strip_prefix("--config="),
    });
    resolve(Path::new(named.unwrap_or(DEFAULT_CONFIG))).0 == resolve(path).0
}

fn find(unit: &UnitSettings, path: &Path, config: &Config) -> Vec<HostFinding> {
    let say = |severity, text: String| HostFinding::new(severity, HostSubject::Unit, text);
    let mut found: Vec<HostFinding> =
        missing_rights(unit, config).into_iter().map(|text| say(Severity::Error, text)).collect();
    if unit.last("ProcSubset") == Some("pid") {
        let text = format!(
            "ProcSubset=pid keeps /proc/sys from the server, which reads there what forwards and \
             filters packets: systemctl edit {UNIT}, [Service] ProcSubset=all"
        );
        found.push(say(Severity::Warning, text));
    }
    for key in ["RootDirectory", "RootImage"] {
        if let Some(root) = unit.last(key) {
            let text = format!(
                "{key}={root} gives {UNIT} files of its own: whether it reaches its key and its \
                 folders cannot be said"
            );
            found.push(say(Severity::Unknown, text));
            return found;
        }
    }
    found.extend(missing_paths(unit, config).into_iter().map(|text| say(Severity::Error, text)));
    let user = match find_user(unit) {
        Ok(user) => user,
        Err(text) => {
            found.push(say(Severity::Error, text));
            None
        }
    };
    let view = UnitView::new(unit, user);
    for (what, path, used, severity) in list_uses(path, config) {
        if let Some(obstacle) = view.find_obstacle(&path, used) {
            found.push(say(severity, format!("{what} {}: {obstacle}", path.display())));
        }
    }
    if found.is_empty() {
        let text = format!("{UNIT} reaches its files, folders and the firewall");
        found.push(say(Severity::Ok, text));
    }
    found
}

/// Paths that the server uses, what for, and what it costs where it cannot.
fn list_uses(path: &Path, config: &Config) -> Vec<(&'static str, PathBuf, Use, Severity)> {
    let server = &config.server;
    let mut uses = vec![("the configuration", path.to_owned(), Use::Read, Severity::Error)];
    let previous = server.previous.as_ref().map(|previous| &previous.file);
    let secrets = [
        ("the server's key", Some(&server.key)),
        ("the previous key", previous),
        ("the clients' file", Some(&server.clients)),
    ];
    for (what, file) in secrets {
        if let Some(SecretFile::File(file)) = file {
            uses.push((what, file.clone(), Use::Read, Severity::Error));
        }
    }
    uses.push(("enrolled clients", enrolled_file(&server.state), Use::Read, Severity::Error));
    uses.push(("[server] state", server.state.clone(), Use::Write, Severity::Error));
    uses.push(("the broker's folder", broker_folder(&server.state), Use::Write, Severity::Error));
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    uses.extend(
        folder(&server.control)
            .map(|at| ("the folder of [server] control", at, Use::Write, Severity::Error)),
    );
    let textfile = config.metrics.textfile.as_deref().and_then(folder);
    uses.extend(
        textfile.map(|at| ("the folder of [metrics] textfile", at, Use::Write, Severity::Warning)),
    );
    let hooks = config.services.iter().flat_map(|one| [&one.on_open, &one.on_close]).flatten();
    for program in hooks.filter_map(|hook| hook.run.first()) {
        uses.push(("the hook", program.into(), Use::Start, Severity::Warning));
    }
    uses
}

/// Rights that the configuration needs and the unit does not give.
fn missing_rights(unit: &UnitSettings, config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    let edit = |setting: &str| format!("systemctl edit {UNIT}, [Service] {setting}");
    for key in ["PrivateNetwork", "PrivateUsers"] {
        if unit.is_on(key) || unit.last(key).is_some_and(|value| value == "self") {
            let text = "keeps the network of this host from the server";
            missing.push(format!("{key}=yes {text}: {}", edit(&format!("{key}=no"))));
        }
    }
    if let Some(path) = unit.last("NetworkNamespacePath") {
        missing.push(format!(
            "NetworkNamespacePath={path}: the server hides ports there, and not on this host"
        ));
    }
    let mode = config.capture.mode;
    let bound = config.sequence.stages.ranges();
    let binds = bound.iter().any(|range| range.first < FIRST_FREE_PORT);
    let capabilities = [
        ("CAP_NET_ADMIN", config.firewall.backend == Backend::Nftables),
        ("CAP_NET_ADMIN", mode == CaptureMode::Nflog),
        ("CAP_NET_RAW", mode != CaptureMode::Udp),
        ("CAP_NET_BIND_SERVICE", mode == CaptureMode::Udp && binds),
    ];
    let is_root = ["", "root", "0"].contains(&unit.last("User").unwrap_or_default())
        && !unit.is_on("DynamicUser");
    let mut named = Vec::new();
    for (capability, needed) in capabilities {
        if !needed || named.contains(&capability) {
            continue;
        }
        named.push(capability);
        if !unit.allows("CapabilityBoundingSet", capability, true, false) {
            let setting = edit(&format!("CapabilityBoundingSet={capability}"));
            missing.push(format!(
                "CapabilityBoundingSet= of {UNIT} leaves out {capability}: {setting}"
            ));
        } else if !is_root && !unit.allows("AmbientCapabilities", capability, false, false) {
            let setting = edit(&format!("AmbientCapabilities={capability}"));
            missing.push(format!("{UNIT} does not get {capability}: {setting}"));
        }
    }
    let internet = mode != CaptureMode::Ring;
    let families = [
        ("AF_UNIX", true),
        ("AF_NETLINK", true),
        ("AF_PACKET", mode == CaptureMode::Ring),
        ("AF_INET", internet),
        ("AF_INET6", internet),
    ];
    for (family, needed) in families {
        if needed && !unit.allows("RestrictAddressFamilies", family, true, true) {
            let setting = edit(&format!("RestrictAddressFamilies={family}"));
            missing
                .push(format!("RestrictAddressFamilies= of {UNIT} leaves out {family}: {setting}"));
        }
    }
    let denied = unit.list("IPAddressDeny").iter().any(|word| word == "any")
        && !unit.list("IPAddressAllow").iter().any(|word| word == "any");
    if internet && denied {
        let setting = edit("IPAddressAllow=any");
        missing.push(format!("IPAddressDeny=any of {UNIT} holds back what it sends: {setting}"));
    }
    missing
}

/// Finds what the unit names and is not there, so that systemd does not start it.
fn missing_paths(unit: &UnitSettings, config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    let settings =
        ["ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths", "BindReadOnlyPaths"];
    for (key, word) in
        settings.iter().flat_map(|key| unit.list(key).into_iter().map(move |word| (key, word)))
    {
        let path = word.trim_start_matches('+').split(':').next().unwrap_or_default().to_owned();
        if path.starts_with('/') && !Path::new(&path).exists() {
            missing.push(format!(
                "{key}={word}: {path} does not exist, and {UNIT} does not start \
                 (226/NAMESPACE): make it, or write {key}=-{path}"
            ));
        }
    }
    let mut loaded = Vec::new();
    for key in ["LoadCredential", "LoadCredentialEncrypted", "SetCredential", "ImportCredential"] {
        for word in unit.list(key) {
            let (name, path) = word.split_once(':').unwrap_or((&word, ""));
            loaded.push(name.to_owned());
            let reads = key.starts_with("Load") && path.starts_with('/');
            if reads && !Path::new(path).exists() {
                missing.push(format!(
                    "{key}={word}: {path} does not exist, and {UNIT} does not start \
                     (243/CREDENTIALS): make it, or systemctl edit {UNIT}, [Service] {key}= (empty)"
                ));
            }
        }
    }
    let previous = config.server.previous.as_ref().map(|previous| &previous.file);
    for file in [Some(&config.server.key), previous, Some(&config.server.clients)] {
        if let Some(SecretFile::Credential(name)) = file
            && !loaded.iter().any(|one| one == name || one.contains(['*', '?']))
        {
            missing.push(format!(
                "credential:{name} is not loaded by {UNIT}: systemctl edit {UNIT}, [Service] \
                 LoadCredential={name}:/etc/spa/{name}"
            ));
        }
    }
    missing
}

/// The unit's user with its groups; `None`: systemd makes one up at the start.
fn find_user(unit: &UnitSettings) -> Result<Option<UnitUser>, String> {
    if unit.is_on("DynamicUser") {
        return Ok(None);
    }
    let name = unit.last("User").unwrap_or("root");
    let no_such = |kind: &str, name: &str, code: &str, make: &str| {
        format!(
            "there is no {kind} {name}, and {UNIT} does not start ({code}): {make} --system {name}"
        )
    };
    let user = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    let user = user.ok().flatten().ok_or_else(|| no_such("user", name, "217/USER", "useradd"))?;
    let group_of = |name: &str| {
        let group = match name.parse() {
            Ok(number) => Ok(Some(Gid::from_raw(number))),
            Err(_) => Group::from_name(name).map(|group| group.map(|group| group.gid)),
        };
        group.ok().flatten().ok_or_else(|| no_such("group", name, "216/GROUP", "groupadd"))
    };
    let own = unit.last("Group").map_or(Ok(user.gid), group_of)?;
    let mut groups = vec![own];
    for name in unit.list("SupplementaryGroups") {
        groups.push(group_of(&name)?);
    }
    if let Ok(name) = CString::new(user.name.as_str()) {
        groups.extend(getgrouplist(&name, own).unwrap_or_default());
    }
    let has = |name| unit.allows("CapabilityBoundingSet", name, true, false);
    let above_modes = user.uid.is_root() && has("CAP_DAC_OVERRIDE");
    Ok(Some(UnitUser { name: user.name, uid: user.uid, groups, above_modes }))
}
