//! A real terminal, by tmux.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::scene::PATIENCE;
use crate::wait_until;

/// A terminal of 80 columns and 24 lines with a program in it. Gone when dropped.
#[derive(Debug)]
pub struct Terminal(String);

impl Terminal {
    /// Runs a shell's line in it.
    pub fn new(command: &str) -> Terminal {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let terminal = Terminal(format!("spat-{}-{number}", std::process::id()));
        terminal.tmux(&[
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            command,
        ]);
        terminal
    }

    /// Runs a command of tmux; panics unless it succeeds.
    pub fn tmux(&self, arguments: &[&str]) -> Output {
        let output =
            Command::new("tmux").args(["-L", &self.0]).args(arguments).output().expect("tmux");
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
        output
    }

    /// What stands on it.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// Presses a key, as tmux calls it.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Types a text.
    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Types a line.
    pub fn line(&self, text: &str) {
        self.text(text);
        self.press("Enter");
    }

    /// Until these words stand on it.
    pub fn wait(&self, words: &str) {
        self.until(words, |screen| screen.contains(words));
    }

    /// Until something is true of what stands on it.
    pub fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        assert!(wait_until(PATIENCE, || holds(&self.screen())), "not {what}:\n{}", self.screen());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}
