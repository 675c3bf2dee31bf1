//! One manual page from a command's own options. Included by the tests of the three programs: the
//! page in this folder must be the one that the options give, and `make man` writes it anew.

use std::io::{Result, Write};
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

/// What clap_mangen writes above every section and a page needs once.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Compares `docs/man/NAME.SECTION` with what `command` gives, followed by `tail`; with
/// `SPA_MAN=write`, writes it.
pub(crate) fn check(mut command: Command, section: &str, tail: &str) {
    // Line breaks are man's business, and must not depend on the terminal that the tests run in.
    command = command.term_width(0);
    command.build();
    let name = command.get_name().to_owned();
    let made = page(&command, section, tail).expect("a page in memory");
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man").join(format!("{name}.{section}"));
    if std::env::var_os("SPA_MAN").is_some_and(|word| word == "write") {
        std::fs::write(&path, made).expect("the page can be written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/man/{name}.{section} is not what the options of {name} say: run `make man`"
    );
}

fn page(command: &Command, section: &str, tail: &str) -> Result<String> {
    let mut out = Vec::new();
    let man = Man::new(command.clone()).section(section).date("").manual("SPA");
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    for sub in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        below(sub, &mut out)?;
    }
    out.write_all(tail.as_bytes())?;
    Ok(format!("{APOSTROPHE}{}", String::from_utf8_lossy(&out).replace(APOSTROPHE, "")))
}

/// A section for a subcommand that does something, or for each of its own subcommands.
fn below(command: &Command, out: &mut Vec<u8>) -> Result<()> {
    if command.get_name() == "help" {
        return Ok(());
    }
    if command.has_subcommands() {
        return command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .try_for_each(|sub| below(sub, out));
    }
    let man = Man::new(command.clone());
    let mut body = Vec::new();
    man.render_synopsis_section(&mut body)?;
    man.render_description_section(&mut body)?;
    man.render_options_section(&mut body)?;
    man.render_extra_section(&mut body)?;
    let title = command.get_bin_name().unwrap_or(command.get_name()).replace('-', "\\-");
    writeln!(out, ".SH \"{}\"", title.to_uppercase())?;
    let body =
        String::from_utf8_lossy(&body).replace(".SH SYNOPSIS\n", "").replace(".SH OPTIONS\n", "");
    let body = body.replace(".SH DESCRIPTION\n", ".PP\n").replace(".SH EXTRA\n", ".PP\n");
    write!(out, "{}", body.replace("\nExample:\n", "\n.PP\nExample:\n.br\n"))
}
