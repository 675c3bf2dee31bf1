//! `spa-server --help`: the commands in groups.

use clap::Command;

/// Headings and the commands under them, in the order of the help.
const COMMAND_GROUPS: [(&str, &[&str]); 3] = [
    (
        "Set up",
        &[
            "init",
            "check",
            "client",
            "invite",
            "invitations",
            "firewall",
            "completions",
            "uninstall-check",
        ],
    ),
    (
        "Day to day",
        &[
            "run",
            "status",
            "grants",
            "open",
            "close",
            "clients",
            "reload",
            "try",
            "confirm",
            "rotate-key",
            "backup",
            "restore",
        ],
    ),
    (
        "When something is wrong",
        &["explain", "audit", "top", "bans", "ban", "unban", "accept-clock", "metrics"],
    ),
];

/// Returns `command` with a help text that lists its subcommands in groups.
pub(super) fn group_commands(command: Command) -> Command {
    let styles = command.get_styles();
    let (header, literal) = (*styles.get_header(), *styles.get_literal());
    let mut list = String::new();
    for (title, names) in COMMAND_GROUPS {
        list.push_str(&format!("{header}{title}:{header:#}\n"));
        for command in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            list.push_str(&format!("  {literal}{:<15}{literal:#}  {about}\n", command.get_name()));
        }
        list.push('\n');
    }
    let options = format!("{header}Options:{header:#}\n{{options}}{{after-help}}");
    command
        .help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{options}"
        ))
        .after_help("Help of a command, with an example: spa-server COMMAND --help")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn groups_name_every_command_once() {
        let command = super::super::Cli::command();
        let mut grouped: Vec<&str> =
            COMMAND_GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let mut visible: Vec<&str> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(Command::get_name)
            .collect();
        if cfg!(not(feature = "top")) {
            grouped.retain(|name| *name != "top");
        }
        grouped.sort_unstable();
        visible.sort_unstable();
        assert_eq!(grouped, visible);
    }

    #[test]
    fn help_lines_fit_a_terminal() {
        let help = group_commands(super::super::Cli::command()).render_help().to_string();
        assert!(help.contains("Day to day:\n  run              Run"), "{help}");
        assert!(help.contains("-V, --version"), "{help}");
        let long = help.lines().find(|line| line.chars().count() > 80 && line.starts_with("  "));
        assert_eq!(long, None);
    }

    fn assert_examples(command: &Command) {
        let below: Vec<&Command> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        if below.is_empty() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:\n  "), "{}: {help}", command.get_name());
        }
        below.into_iter().for_each(assert_examples);
    }

    #[test]
    fn every_command_has_an_example() {
        assert_examples(&super::super::Cli::command());
    }
}
