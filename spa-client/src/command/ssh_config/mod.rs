//! `spa-client ssh-config`: lines for ~/.ssh/config.

mod install;

pub(super) use install::check_installed;

use std::fmt::Write;

use spa_keys::{Failure, Folder, HostLine, ServiceProto, exit};

use crate::address::Family;
use crate::cli::SshConfigArgs;
use crate::host::{Config, find_host};
use crate::output;

/// Runs `spa-client ssh-config`.
pub(crate) fn run_ssh_config(args: &SshConfigArgs) -> Result<u8, Failure> {
    let folder = args.folder.find_folder()?;
    let config = Config::read_config(&folder)?;
    let mut blocks = Vec::new();
    match &args.host {
        Some(name) => {
            let found = find_host(&folder, &config, name)?;
            let block = format_host_block(args, &folder, &config, &found.host, &found.line)
                .ok_or_else(|| {
                    Failure::failed(format!(
                        "the enrolment of {} names no TCP service {}",
                        found.host, args.service
                    ))
                    .remedy_after("see", "spa-client host list")
                })?;
            blocks.push(block);
        }
        None => {
            for host in folder.host_names()? {
                let line = folder.read_host(&host)?;
                blocks.extend(format_host_block(args, &folder, &config, &host, &line));
            }
        }
    }
    if blocks.is_empty() {
        spa_keys::note!(
            "spa-client: no host with a TCP service {}; take an enrolment line with: spa host \
             add -",
            args.service
        );
    }
    let text = blocks.join("\n");
    if args.install {
        install::install_blocks(&folder, &text)?;
    } else if !text.is_empty() {
        // Behind a last line without an end, too, a block begins a line of its own.
        output::print_text(&format!("\n{text}"))?;
    }
    Ok(exit::OK)
}

/// Formats the command by which ssh reaches a host's service, with the path of this program: PATH
/// is another one where a desktop or cron starts ssh.
fn format_proxy_command(args: &SshConfigArgs, folder: &Folder, host: &str) -> Option<String> {
    let program = std::env::current_exe().ok()?.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+');
    let program =
        if program.chars().all(is_plain) { program } else { quote_for_proxy_command(&program) };
    let mut options = if args.relay { String::new() } else { "--fdpass ".to_owned() };
    if args.folder.path.is_some() {
        let path = std::path::absolute(folder.path()).ok()?.display().to_string();
        let _ = write!(options, "--config {} ", quote_for_proxy_command(&path));
    }
    Some(format!("{program} connect {options}{}@{host} %p", args.service))
}

/// Formats the block of one host; nothing when it has no such service. Only what passed as a host's
/// name, a word or an address gets into it: a line of ssh_config can run commands.
fn format_host_block(
    args: &SshConfigArgs,
    folder: &Folder,
    config: &Config,
    host: &str,
    line: &HostLine,
) -> Option<String> {
    let service =
        line.service(&args.service).filter(|service| service.proto == ServiceProto::Tcp)?;
    let settings = config.settings_of(host);
    let real =
        settings.addresses.first().or_else(|| line.hosts.first()).filter(|name| is_word(name));
    let mut names = vec![host];
    names.extend(settings.aliases.iter().map(String::as_str).filter(|name| is_word(name)));
    // Names that the server gave itself would take those of other hosts: `Host github.com`.
    names.extend(settings.addresses.iter().map(String::as_str).filter(|name| is_word(name)));
    names.sort_unstable();
    names.dedup();
    // The user's own name comes first, for the eye.
    names.sort_by_key(|name| *name != host);
    let mut out = format!("Host {}\n", names.join(" "));
    if let Some(real) = real.filter(|real| *real != host) {
        // Known hosts are kept under this name, as without spa.
        let _ = writeln!(out, "    HostName {real}");
    }
    if service.port != 22 {
        let _ = writeln!(out, "    Port {}", service.port);
    }
    match settings.family {
        Family::V4 => out.push_str("    AddressFamily inet\n"),
        Family::V6 => out.push_str("    AddressFamily inet6\n"),
        Family::Auto => {}
    }
    let _ = writeln!(out, "    ProxyCommand {}", format_proxy_command(args, folder, host)?);
    if !args.relay {
        out.push_str("    ProxyUseFdpass yes\n");
    }
    Some(out)
}

/// Returns true for a text without a meaning of its own to ssh or to a shell.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(plain)
}

/// Quotes a text for the shell that runs a ProxyCommand, in which `%` means something to ssh.
fn quote_for_proxy_command(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''").replace('%', "%%"))
}
