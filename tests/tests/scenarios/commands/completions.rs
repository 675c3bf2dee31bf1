//! The completions in the real shells.

use super::*;
use spa_tests::terminal::Terminal;

/// How a shell without anybody's settings is started, how it takes completions, and what it writes
/// before a line.
const SHELLS: [(&str, &str, &str); 3] = [
    ("bash", "env PS1='READY> ' bash --norc --noprofile -i", "source <(PROGRAM completions bash)"),
    (
        "zsh",
        "env PS1='READY> ' zsh -f -i",
        "autoload -U compinit; compinit -u -D; source <(PROGRAM completions zsh)",
    ),
    (
        "fish",
        "fish --no-config -i -C 'function fish_prompt; echo \"READY> \"; end; function \
         fish_greeting; end'",
        "PROGRAM completions fish | source",
    ),
];

#[test]
fn shells_complete_a_command_and_an_option() {
    for (shell, start, load) in SHELLS {
        if Command::new(shell).args(["-c", "true"]).output().is_err() {
            assert_ne!(shell, "bash", "bash is everywhere");
            eprintln!("NOT RUN, needs {shell}: apt-get install {shell}");
            continue;
        }
        let home = TempDir::new();
        let bin = binary("spa").parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        for (program, begun, whole, option) in [
            ("spa-client", "doc", "spa-client doctor", "--kno"),
            ("spa", "pubk", "spa pubkey", "--hel"),
            ("spa-server", "explai", "spa-server explain", "--hel"),
        ] {
            let environment =
                format!("env -i TERM=screen HOME={} PATH={bin}:{path}", home.path().display());
            let terminal = Terminal::new(&format!("{environment} {start}"));
            terminal.wait("READY>");
            // The line that loads is cleared away, so that what is completed stands alone.
            terminal.line(&format!("{}; clear; echo loa''ded", load.replace("PROGRAM", program)));
            terminal.wait("loaded");
            terminal.text(&format!("{program} {begun}"));
            terminal.press("Tab");
            terminal.wait(whole);
            // A whole word is completed with the space behind it.
            terminal.text(option);
            terminal.press("Tab");
            let option = if option == "--kno" { "--knock" } else { "--help" };
            terminal.wait(&format!("{whole} {option}"));
        }
    }
}

/// For PowerShell, which Debian does not have, and elvish: every command is in the text.
#[test]
fn every_shell_has_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, text, said) =
            run(Command::new(binary("spa-client")).args(["completions", shell]));
        assert_eq!((code, said.as_str()), (Some(0), ""), "{shell}");
        for word in
            ["open", "close", "run", "connect", "ssh-config", "doctor", "join", "rotate", "hosts"]
        {
            assert!(text.contains(word), "{shell}: {word}");
        }
        let (code, text, _) = run(Command::new(binary("spa")).args(["completions", shell]));
        assert_eq!(code, Some(0), "{shell}");
        for word in ["keygen", "pubkey", "passwd", "inspect", "check", "import", "host"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
        let (code, text, _) = run(Command::new(binary("spa-server")).args(["completions", shell]));
        assert_eq!(code, Some(0), "{shell}");
        for word in ["init", "check", "client", "invite", "status", "explain", "rotate-key"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
}
