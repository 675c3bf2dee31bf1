//! Asking the running server through its control socket.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use spa_keys::{Failure, exit};

use super::{ConfigArg, output};
use crate::config;
use crate::config::surroundings;
use crate::control::client::Connection;
use crate::control::{Command, Response};

/// Options of every command that asks the server.
#[derive(Debug, Clone, Args)]
pub(super) struct Asking {
    /// The server's answer as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

impl Asking {
    /// Where the server listens.
    pub(super) fn place(&self) -> Place {
        Place::of(&self.config)
    }

    /// Configuration that the server runs by, as far as the caller knows.
    pub(super) fn config(&self) -> &Path {
        &self.config.config
    }

    /// Asks one question.
    ///
    /// # Errors
    /// As [`Place::connect`] and [`Connection::request_raw`].
    pub(super) fn ask(&self, command: Command) -> Result<Response, Failure> {
        self.place().connect()?.request_raw(command)
    }

    /// Asks and prints the answer, as text that `text` makes of it.
    pub(super) fn run<T: DeserializeOwned + Serialize>(
        self,
        command: Command,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let outcome = self.ask(command);
        self.print_response(outcome, text).map(drop)
    }

    /// Asks page by page until there is no next one; all rows come together under `name`.
    pub(super) fn run_pages<T: DeserializeOwned + Serialize>(
        self,
        name: &str,
        page: impl Fn(Option<String>) -> Result<Command, Failure>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let outcome = self.place().connect().and_then(|mut line| line.ask_pages(name, page));
        self.print_response(outcome, text).map(drop)
    }

    /// Prints an outcome. With `--json` a refusal is an object as well; its sentence goes to
    /// standard error in any case.
    pub(super) fn print_response<T: DeserializeOwned + Serialize>(
        &self,
        outcome: Result<Response, Failure>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<T, Failure> {
        if self.json {
            let refused = outcome.as_ref().err().map(Response::from_failure);
            let answer = refused.as_ref().or(outcome.as_ref().ok());
            let json = serde_json::to_string(&answer)
                .map_err(|error| Failure::failed(error.to_string()))?;
            output::answer(&(json + "\n"))?;
            return outcome?.read_body();
        }
        let body = outcome?.read_body()?;
        output::answer(&text(&body))?;
        Ok(body)
    }
}

/// Where the server listens, by a configuration that need not be without fault.
#[derive(Debug, Clone)]
pub(super) struct Place {
    config: PathBuf,
    socket: PathBuf,
}

impl Place {
    /// Reads no more than the socket's place.
    pub(super) fn of(config: &ConfigArg) -> Self {
        let socket = config::control_socket(&config.config, &surroundings(true));
        Self { config: config.config.clone(), socket }
    }

    /// Connects with the running server.
    ///
    /// # Errors
    /// As [`Connection::connect`]; when no server runs, what is wrong with the configuration, or
    /// exit code 3.
    pub(super) fn connect(&self) -> Result<Connection, Failure> {
        if let Some(line) = Connection::connect(&self.socket)? {
            return Ok(line);
        }
        config::load_alone(&self.config, &surroundings(true))
            .map_err(|findings| Failure::config(findings.to_string()))?;
        Err(Failure::new(
            exit::UNREACHABLE,
            format!(
                "no server answers at {}; start it: systemctl start spa-server, or spa-server run \
                 --config FILE",
                self.socket.display()
            ),
        ))
    }
}
