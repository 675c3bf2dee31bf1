//! A terminal session with a running server, as text that is kept in a file and compared.
//!
//! `SPA_SNAPSHOTS=write cargo test -p spa-tests --test scenarios NAME` writes the files anew; read
//! the difference before you commit it.

use std::path::Path;
use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::daemon::{Client, Server, binary};
use crate::process;
use crate::still::{still, still_line};
use crate::transcript::{mask_version, shorten, store, stored};

/// What is written down, line by line, without what is different in every run.
#[derive(Debug, Default)]
pub struct Session {
    text: String,
}

impl Session {
    /// Nothing yet.
    pub fn new() -> Session {
        Session::default()
    }

    /// Runs `spa-server ARGUMENTS` (double quotes keep words together) on the server's host and
    /// writes down the line, what it prints (on standard error behind `! `) and its exit code
    /// unless that is 0. Returns what it printed, as it was.
    pub fn run(&mut self, server: &Server, arguments: &str) -> String {
        let words: Vec<&str> = arguments
            .split('"')
            .enumerate()
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            })
            .collect();
        let output = server.control(&words);
        let folder = server.folder().display().to_string();
        self.ended(&format!("spa-server {arguments}"), &folder, &output)
    }

    /// The same with a line of `spa` or `spa-client`, and what it reads from standard input.
    pub fn client(&mut self, client: &Client, line: &str, input: &str) -> String {
        self.client_until(client, line, input, None)
    }

    /// The same with a command that goes on until it gets this signal; sent when it has said these
    /// words.
    pub fn client_until(
        &mut self,
        client: &Client,
        line: &str,
        input: &str,
        end: Option<(&str, Signal)>,
    ) -> String {
        let mut words = line.split_whitespace();
        let mut command = client.command(words.next().expect("a program"));
        command.args(words).env("TZ", "UTC").env_remove("LC_ALL").env_remove("LANG");
        let output = match end {
            None => process::piped(&mut command, input),
            Some((words, signal)) => process::signalled(&mut command, words, signal),
        };
        let shown = if input.is_empty() { line.to_owned() } else { format!("{line} < LINE") };
        let folder = client.folder();
        let home = folder.parent().and_then(Path::parent).expect("a home").display().to_string();
        self.ended(&shown, &home, &output)
    }

    /// Writes down what another command on the server's host has printed, as [`Session::run`] does.
    pub fn record(&mut self, server: &Server, line: &str, output: &Output) -> String {
        self.ended(line, &server.folder().display().to_string(), output)
    }

    /// Notes a line and how it ended; a folder that has another name in every run is `DIR`.
    fn ended(&mut self, line: &str, folder: &str, output: &Output) -> String {
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("our programs print UTF-8");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        self.text.push_str(&format!("$ {}\n", shorten(&line.replace(folder, "DIR"))));
        out.lines().for_each(|line| self.note(&line.replace(folder, "DIR")));
        err.lines().for_each(|line| self.note(&format!("! {}", line.replace(folder, "DIR"))));
        match output.status.code() {
            Some(0) => {}
            code => self.text.push_str(&format!("[exit code {code:?}]\n")),
        }
        self.text.push('\n');
        out
    }

    fn note(&mut self, line: &str) {
        // How the machine's clock is kept is no part of what is compared.
        if line.starts_with("warning: the clock is not synchronised") {
            return;
        }
        match serde_json::from_str::<Value>(line) {
            Ok(mut value) if value.is_object() => {
                still(&mut value);
                let pretty = serde_json::to_string_pretty(&value).expect("JSON");
                self.text.push_str(&shorten(&pretty));
            }
            _ => self.text.push_str(&shorten(&still_line(line))),
        }
        self.text.push('\n');
    }

    /// Compares with the file of this name, or writes it.
    pub fn end(self, name: &str) {
        let ours = binary("spa-client").parent().expect("a folder").display().to_string();
        let now = mask_version(&self.text.replace(&ours, "BIN"));
        if std::env::var_os("SPA_SNAPSHOTS").is_some_and(|word| word == "write") {
            store(name, &now).expect("the snapshot can be written");
            return;
        }
        let before = stored(name);
        let at = now.lines().zip(before.lines()).take_while(|(now, before)| now == before).count();
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        assert!(
            now == before,
            "{name}.txt differs in line {}:\n  now:    {}\n  stored: {}\nIf it shall be so: \
             SPA_SNAPSHOTS=write\n{now}",
            at + 1,
            line(&now),
            line(&before)
        );
    }
}
