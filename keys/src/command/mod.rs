//! The commands of `spa`, one file each.

mod args;
mod check;
mod completions;
mod host_add;
mod host_list;
mod host_remove;
mod import;
mod inspect;
mod keygen;
mod output;
mod passwd;
mod program;
mod pubkey;
mod source;
mod unlock;

use args::{Command, Host};
use spa_keys::Failure;

pub(crate) use args::Cli;

impl Cli {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match &self.command {
            Command::Keygen(args) => keygen::run(args),
            Command::Passwd(args) => passwd::run(args),
            Command::Unlock(args) => unlock::run(args),
            Command::Lock { file } => unlock::run_lock(file.as_deref()),
            Command::Pubkey { file } => pubkey::run(file.as_deref()),
            Command::Check(args) => check::run(args),
            Command::Inspect { what } => inspect::run(what.as_deref()),
            Command::Join { line, rest } => program::run_join(line, rest),
            Command::Rotate { rest } => program::run_client("rotate", rest),
            Command::Open { rest } => program::run_client("open", rest),
            Command::Connect { rest } => program::run_client("connect", rest),
            Command::Host(Host::Add(args)) => host_add::run(args),
            Command::Host(Host::List) => host_list::run(),
            Command::Host(Host::Remove { name }) => host_remove::run(name),
            Command::Import(args) => import::run(args),
            Command::Completions { shell } => completions::run(*shell),
        }
    }
}
