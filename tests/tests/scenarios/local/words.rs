//! What programs say about files and arguments that hold what must not be said, or too much of it.

use super::*;

/// Longest output about a configuration, however much is wrong with it: some screens.
const LONGEST_OUTPUT: usize = 64 * 1024;

/// Secret texts of every kind that somebody could paste into the wrong place.
fn secret_texts(files: &Files) -> Vec<String> {
    let added = files.add_client("laptop");
    assert!(added.status.success(), "{}", said(&added));
    let line = String::from_utf8(added.stdout).unwrap().trim().to_owned();
    let invited = files.server(&["invite", "phone", "--service", "ssh"]);
    let invitation = String::from_utf8(invited.stdout).unwrap();
    let words = |text: String| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .filter(|word| word.starts_with("SPA-") && word.len() > 40)
            .map(str::to_owned)
            .collect()
    };
    let file = |name: &str| words(fs::read_to_string(files.at(name)).unwrap());
    let found = [
        vec![line],
        words(invitation),
        file("server.key"),
        file("client.key"),
        file("clients.toml"),
    ]
    .concat();
    assert_eq!(found.len(), 5, "{found:?}");
    found
}

/// No piece of the secret itself, in whatever case.
fn assert_unsaid(secret: &str, output: &Output, what: &str) {
    let body = secret.rsplit_once("-1").unwrap().1.to_ascii_lowercase();
    let text = said(output).to_ascii_lowercase();
    for piece in body.as_bytes().chunks(12).filter(|piece| piece.len() == 12) {
        let piece = std::str::from_utf8(piece).unwrap();
        assert!(!text.contains(piece), "{what}: {piece} is in\n{}", said(output));
    }
}

#[test]
fn b6_a_secret_in_the_wrong_place_is_not_shown() {
    need_namespaces!();
    let files = Files::new(&spa_tests::scene::config(60));
    let secrets = secret_texts(&files);
    let whole = fs::read_to_string(files.at("clients.toml")).unwrap();
    let config = fs::read_to_string(files.at("server.toml")).unwrap();
    for secret in [secrets.clone(), vec![secrets[0].to_lowercase()]].concat() {
        let stanza = |services: &str, more: &str| {
            whole.replace("services = [\"ssh\"]", &format!("services = [{services}]\n{more}"))
        };
        let in_clients = [
            stanza(&format!("\"{secret}\""), ""),
            stanza(&format!("\"ssh\", {secret}"), ""),
            stanza("\"ssh\"", &format!("{secret} = 1")),
            stanza("\"ssh\"", &format!("\"{secret}\" = \"x\"")),
            stanza("\"ssh\"", &format!("hours = \"{secret}\"")),
            stanza("\"ssh\"", &format!("from = [\"10.0.0.0/8\", '{secret}']")),
            stanza("\"ssh\"", &format!("ttl = \"x\" # {secret}")),
            format!("{whole}\n{secret}\n"),
            format!("{whole}\n[[{secret}]]\n"),
            whole.replace("laptop", &secret),
        ];
        for text in &in_clients {
            fs::write(files.at("clients.toml"), text).unwrap();
            for words in [&["check"][..], &["check", "--json"], &["run"], &["client", "list"]] {
                let output = if words[0] == "check" {
                    let config = files.at("server.toml").display().to_string();
                    run("spa-server", &[words, &[&config]].concat())
                } else {
                    files.server(words)
                };
                assert_unsaid(&secret, &output, &format!("{words:?} with\n{text}"));
            }
        }
        fs::write(files.at("clients.toml"), &whole).unwrap();
        for text in [
            format!("{config}\n{secret}\n"),
            config.replace("[server]\n", &format!("[server]\n{secret} = 1\n")),
            config.replace("name = \"ssh\"", &format!("name = \"{secret}\"")),
            config.replace("\"tcp/22\"", &format!("\"{secret}\"")),
        ] {
            fs::write(files.at("server.toml"), &text).unwrap();
            let path = files.at("server.toml").display().to_string();
            assert_unsaid(&secret, &run("spa-server", &["check", &path]), &text);
            assert_unsaid(&secret, &files.server(&["run"]), &text);
        }
        fs::write(files.at("server.toml"), &config).unwrap();
        // On the command line in the wrong place.
        let name = ["client", "add", &secret, &files.public, "--service", "ssh"];
        let service = ["client", "add", "other", &files.public, "--service", &secret];
        let hours = ["invite", "other", "--service", "ssh", "--hours", &secret];
        for words in [&name[..], &service, &hours, &["client", "remove", &secret], &[&secret]] {
            assert_unsaid(&secret, &files.server(words), &format!("{words:?}"));
        }
        for (program, words) in [
            ("spa", &["host", "remove", &secret][..]),
            ("spa", &["keygen", "-o", "/nowhere/x", &secret]),
            ("spa-client", &["open", &secret]),
            ("spa-client", &["doctor", &secret]),
            ("spa-client", &["doctor", &secret, "--json"]),
            ("spa-server", &["check", &secret]),
            ("spa-server", &["check", "--json", &secret]),
            ("spa-client", &["open", "--timeout", &secret, "ssh@gate"]),
            ("spa-client", &[&secret]),
        ] {
            assert_unsaid(&secret, &run(program, words), &format!("{program} {words:?}"));
        }
    }
}

#[test]
fn b6_what_acts_on_a_terminal_is_not_said_as_it_is() {
    need_namespaces!();
    let files = Files::new(&spa_tests::scene::config(60));
    files.add_client("laptop");
    let whole = fs::read_to_string(files.at("clients.toml")).unwrap();
    let config = fs::read_to_string(files.at("server.toml")).unwrap();
    let is_raw = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    let assert_plain = |output: &Output, what: &str| {
        let text = said(output);
        assert_eq!(text.chars().find(|c| is_raw(*c)), None, "{what}: {text:?}");
    };
    for odd in ["\u{202e}", "\u{1b}[2J", "\u{9b}2J", "\u{200b}", "\u{2066}", "\u{feff}", "\u{61c}"]
    {
        for text in [
            whole.replace("[\"ssh\"]", &format!("[\"a{odd}b\"] # {odd}")),
            whole.replace("[\"ssh\"]", &format!("[\"ssh\"] # {odd}\nttl = \"1{odd}\"")),
            format!("{whole}\nno toml {odd} at all\n"),
        ] {
            fs::write(files.at("clients.toml"), &text).unwrap();
            let path = files.at("server.toml").display().to_string();
            assert_plain(&run("spa-server", &["check", &path]), &text);
            assert_plain(&run("spa-server", &["check", "--json", &path]), &text);
            assert_plain(&files.server(&["run"]), &text);
        }
        fs::write(files.at("clients.toml"), &whole).unwrap();
        fs::write(files.at("server.toml"), config.replace("tcp/22", &format!("x{odd}"))).unwrap();
        assert_plain(&files.server(&["status"]), odd);
        assert_plain(&files.server(&["run"]), odd);
        fs::write(files.at("server.toml"), &config).unwrap();
        let word = format!("a{odd}b");
        for (program, words) in [
            ("spa-server", &["client", "add", &word, &files.public, "--service", "ssh"][..]),
            ("spa-server", &["client", "add", "other", &files.public, "--service", &word]),
            ("spa-server", &["client", "add", "other", &word, "--service", "ssh"]),
            ("spa-server", &["client", "remove", &word]),
            ("spa-server", &["status", "--config", &word]),
            ("spa-server", &["check", &word]),
            ("spa-server", &["check", "--json", &word]),
            ("spa-server", &["init", "--host", &word]),
            ("spa-server", &["ban", &word]),
            ("spa-server", &["close", &word]),
            ("spa-server", &["audit", "--since", &word]),
            ("spa-server", &["try", "--for", &word]),
            ("spa-server", &[&word]),
            ("spa", &["keygen", "-o", &word, "--bogus"]),
            ("spa", &["pubkey", &word]),
            ("spa", &["inspect", &word]),
            ("spa", &["host", "add", &word]),
            ("spa", &["host", "remove", &word]),
            ("spa", &["import", "knockd", &word]),
            ("spa", &["unlock", "--for", &word]),
            ("spa", &[&word]),
            ("spa-client", &["open", &word]),
            ("spa-client", &["open", &format!("ssh@{word}")]),
            ("spa-client", &["open", "ssh@gate", "--timeout", &word]),
            ("spa-client", &["join", &word]),
            ("spa-client", &["hosts", "set", &word, "timeout", "1s"]),
            ("spa-client", &["doctor", &word]),
            ("spa-client", &[&word]),
        ] {
            let here = |path: &str| files.folder.join(path).display().to_string();
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let mut command = Command::new(binary(program));
            command.args(&words).current_dir(files.folder.path());
            command.env("XDG_CONFIG_HOME", here("config")).env("NO_COLOR", "1");
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert_plain(&output, &format!("{program} {words:?}"));
        }
    }
}

#[test]
fn b7_however_much_is_wrong_little_is_said() {
    need_namespaces!();
    let files = Files::new(&spa_tests::scene::config(60));
    let config = fs::read_to_string(files.at("server.toml")).unwrap();
    let long = "x".repeat(100_000);
    let blocks = "[[service]]\nname = \"Ä\"\nports = [\"tcp/0\"]\n".repeat(20_000);
    let warned: String = (0..4_000)
        .map(|i| format!("[[bait]]\nname = \"b{i}\"\nports = [\"tcp/{}\"]\n", 1 + i % 60_000))
        .collect();
    let path = files.at("server.toml").display().to_string();
    for (what, text) in [
        ("a name", config.replace("name = \"ssh\"", &format!("name = \"{long}\""))),
        ("a key", config.replace("[server]\n", &format!("[server]\n{long} = 1\n"))),
        ("a value", config.replace("\"tcp/22\"", &format!("\"{long}\""))),
        ("a line", format!("{config}\n{long}\n")),
        ("blocks", format!("{config}\n{blocks}")),
        ("baits, and an error behind them", format!("{config}\n{warned}\n[nonsense]\n")),
        (
            "keys",
            format!("{config}\n{}", (0..20_000).map(|i| format!("k{i} = 1\n")).collect::<String>()),
        ),
        ("lines", format!("{config}\n{}", "=\n".repeat(20_000))),
    ] {
        fs::write(files.at("server.toml"), &text).unwrap();
        for words in
            [&["check", &path][..], &["check", "--json", &path], &["run", "--config", &path]]
        {
            let output = run("spa-server", words);
            let length = said(&output).len();
            assert_eq!(output.status.code(), Some(78), "{what}: {words:?}");
            assert!(length < LONGEST_OUTPUT, "{what}: {words:?} says {length} bytes");
            assert!(length > 20, "{what}: {words:?} says nothing");
        }
    }
    for (program, words) in [
        ("spa-server", &["client", "remove", &long][..]),
        ("spa-server", &["client", "add", &long, &files.public, "--service", "ssh"]),
        ("spa-server", &[&long]),
        ("spa-client", &["open", &long]),
        ("spa", &["inspect", &long]),
    ] {
        let length = said(&run(program, words)).len();
        assert!(length < LONGEST_OUTPUT / 8, "{program} {} says {length} bytes", words[0]);
    }
}
