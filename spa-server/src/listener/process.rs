//! Life of the listener process: it takes over what the broker left it, runs, and says why it ends.

use std::os::fd::AsFd as _;
use std::path::Path;

use spa_keys::Failure;

use super::event_loop::open_listener;
use super::received::ReceivedFiles;
use crate::ipc::channel::Channel;
use crate::ipc::client::end_without_broker;
use crate::ipc::ends::BrokerChannels;
use crate::ipc::message::{ListenerOrder, Notice, Refusal};

/// Longest reason for an end, characters.
const MAX_FAILURE_CHARS: usize = 8192;

/// Listens, as the child of a broker, until it says stop. Ends the process when the broker is gone.
///
/// # Errors
/// Somebody ran the hidden command by hand. Why it cannot start is told to the broker, and is the
/// exit code here.
pub fn run_listener(config_path: &Path) -> Result<(), Failure> {
    let ends = BrokerChannels::take_inherited()?;
    // For ps and top; only a word.
    let _unnamed = nix::sys::prctl::set_name(c"spa-listener");
    // A second way to the broker, for last words.
    let words = Channel::from_inherited(ends.news.as_fd().try_clone_to_owned()?)?;
    let outcome = run_runtime(config_path, ends);
    if let Err(failure) = &outcome {
        let text = failure.to_string().chars().take(MAX_FAILURE_CHARS).collect();
        if words.send(&Notice::Failed(Refusal { code: failure.code, text }), &[]).is_ok() {
            std::process::exit(i32::from(failure.code));
        }
    }
    outcome
}

fn run_runtime(config_path: &Path, ends: BrokerChannels) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let files = match ends.news.receive::<ListenerOrder>() {
        Ok((ListenerOrder::Read(order), files)) => ReceivedFiles::new(config_path, &order, files),
        Ok((ListenerOrder::Stop, _)) => return Ok(()),
        Ok(_) => None,
        Err(error) => end_without_broker(&error),
    };
    let files = files.ok_or_else(|| Failure::failed("the broker sent no files"))?;
    runtime.block_on(async {
        let (listener, control) = open_listener(files, ends)?;
        listener.run_until_stop(control).await
    })
}
