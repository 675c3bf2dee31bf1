//! The store on a thread of its own: a disk that stalls for seconds must not stall the packets.

use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use crate::store::{Snapshot, Store};

enum Order {
    Advance(u64),
    Stop(Snapshot),
}

/// A handle to the store's thread.
pub(super) struct Recorder {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<Result<(), String>>,
}

impl Recorder {
    /// Starts the thread; each answer to [`Recorder::advance`] comes through `answers`.
    pub(super) fn start(
        mut store: impl Store + 'static,
        answers: UnboundedSender<Result<u64, String>>,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            for order in inbox {
                match order {
                    Order::Advance(mark) => {
                        let answer = store.advance(mark).map(|()| mark).map_err(|error| error.to_string());
                        if answers.send(answer).is_err() {
                            break;
                        }
                    }
                    Order::Stop(snapshot) => {
                        return store.stop(&snapshot).map_err(|error| error.to_string());
                    }
                }
            }
            Ok(())
        })?;
        Ok(Self { orders, thread })
    }

    /// Asks for a durable mark, unix ms. False: the thread is gone, nothing will ever be durable again.
    pub(super) fn advance(&self, mark: u64) -> bool {
        self.orders.send(Order::Advance(mark)).is_ok()
    }

    /// Writes the snapshot of a clean stop and ends the thread.
    pub(super) fn stop(self, snapshot: Snapshot) -> Result<(), String> {
        let gone = || "the store's thread ended early".to_owned();
        self.orders.send(Order::Stop(snapshot)).map_err(|_| gone())?;
        self.thread.join().map_err(|_| gone())?
    }
}
