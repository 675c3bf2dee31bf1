//! Names as ssh resolves them: `ssh -G`, so that every `Host`, `Match` and `Include` of ssh_config
//! counts.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::address::Family;

/// Host name and family that ssh would use for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshName {
    /// `HostName`.
    pub(crate) host: String,
    /// `AddressFamily`.
    pub(crate) family: Family,
}

/// Returns the path of the user's ssh_config.
pub(crate) fn ssh_config_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    home.map(|home| home.join(".ssh/config"))
}

/// Runs `ssh -G` for a name; nothing when there is no ssh or it does not like the name.
fn ask_ssh(name: &str) -> Option<String> {
    // ssh would take it for an option.
    if name.starts_with('-') {
        return None;
    }
    let mut command = Command::new("ssh");
    // ssh looks into the home of its user's account, whatever HOME says.
    let account = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let moved = |file: &PathBuf| account.is_none_or(|account| !file.starts_with(account.dir));
    if let Some(file) = ssh_config_file().filter(|file| file.exists()).filter(moved) {
        command.arg("-F").arg(file);
    }
    command.args(["-G", "--", name]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the ProxyCommand that ssh would use for a name, if any; nothing at all when ssh does not
/// tell.
pub(crate) fn proxy_command_of(name: &str) -> Option<Option<String>> {
    let text = ask_ssh(name)?;
    let command = text.lines().find_map(|line| line.strip_prefix("proxycommand "));
    Some(command.filter(|command| *command != "none").map(str::to_owned))
}

/// Asks ssh; nothing when there is no ssh or it does not like the name.
pub(crate) fn resolve_by_ssh(name: &str) -> Option<SshName> {
    parse_ssh_config(&ask_ssh(name)?)
}

/// Parses the output of `ssh -G`.
fn parse_ssh_config(text: &str) -> Option<SshName> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.split_once(' ').filter(|(name, _)| *name == key))
            .map(|(_, value)| value)
    };
    let family = match value("addressfamily") {
        Some("inet") => Family::V4,
        Some("inet6") => Family::V6,
        _ => Family::Auto,
    };
    Some(SshName { host: value("hostname")?.trim().to_owned(), family })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_ssh() {
        let text = "host gate\nuser me\nhostname gate.example.org\nport 22\naddressfamily inet6\n";
        assert_eq!(
            parse_ssh_config(text),
            Some(SshName { host: "gate.example.org".into(), family: Family::V6 })
        );
        let any = parse_ssh_config("hostname 192.0.2.1\naddressfamily any\n");
        assert_eq!(any, Some(SshName { host: "192.0.2.1".into(), family: Family::Auto }));
        assert_eq!(parse_ssh_config("user me\nhostnamesuffix x\n"), None);
    }

    #[test]
    fn a_name_is_never_an_option() {
        assert_eq!(resolve_by_ssh("-oProxyCommand=true"), None);
    }
}
