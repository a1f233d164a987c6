//! The updater's local door: `updater/updater.sock`, where a command on the host hands over an order and hears of it.
//!
//! One line is asked, lines answer until it is over. Whoever hangs up has withdrawn the order.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use watchpost_core::version::Version;

use super::error::in_one_line;
use super::layout::Layout;
use super::offer::Offer;
use crate::local::{self, LineReader, LocalError, write_line};

/// Answers that may wait for a slow listener.
const ANSWERS: usize = 16;

/// Callers that are attended to at a time.
const CALLERS: usize = 8;
/// How long a caller may take to say what it wants, in real time: it copies the package meanwhile, on whatever disk.
const SAYING: Duration = Duration::from_secs(5 * 60);

/// What may be ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase")]
pub(crate) enum Order {
    /// Update to the release whose package lies under this name in the folder of downloads.
    Update {
        /// A name that [`Offer::make`] gave.
        file: String,
    },
}

/// What is said of an order. All but the first end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
pub(crate) enum Answer {
    /// It is not its turn yet, or it is under way.
    Waits {
        /// For what.
        what: String,
    },
    /// This version runs and was cleared.
    Done {
        /// Which.
        version: Version,
    },
    /// It is not done, because it may not be.
    Refused {
        /// Why.
        reason: String,
    },
    /// It was tried, or could not be.
    Failed {
        /// Why.
        reason: String,
    },
}

/// An update that somebody waits for.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) offer: Offer,
    pub(super) answers: mpsc::Sender<Answer>,
}

/// Where the updater of this host listens.
fn socket(layout: &Layout) -> PathBuf {
    layout.updater().join("updater.sock")
}

/// Opens the door until what this gives is dropped. The caller holds the updater's lock.
pub(super) fn open(layout: &Layout, orders: mpsc::Sender<Ordered>) -> JoinSet<()> {
    let mut keeping = JoinSet::new();
    match local::listen_at(&socket(layout)) {
        Ok(listener) => {
            keeping.spawn(keep(listener, layout.clone(), orders));
        }
        // A host that takes no orders is still kept up to date.
        Err(error) => tracing::warn!("the updater's door cannot be opened: {}", in_one_line(&error)),
    }
    keeping
}

/// Attends to those who call; no more than a few at a time.
async fn keep(listener: UnixListener, layout: Layout, orders: mpsc::Sender<Ordered>) {
    let mut attending = JoinSet::new();
    while let Ok((caller, _)) = listener.accept().await {
        attending.spawn(attend(caller, layout.clone(), orders.clone()));
        while attending.len() >= CALLERS {
            attending.join_next().await;
        }
    }
}

async fn attend(caller: UnixStream, layout: Layout, orders: mpsc::Sender<Ordered>) {
    if !is_ours(&caller).unwrap_or(false) {
        tracing::warn!("somebody without the right to has called at the updater's door");
        return;
    }
    let (read, mut write) = caller.into_split();
    let mut lines = LineReader::new(read);
    let said = tokio::time::timeout(SAYING, lines.next()).await;
    let Ok(Ok(Some(Order::Update { file }))) = said else { return };
    let (answers, mut heard) = mpsc::channel(ANSWERS);
    let refused = match Offer::take(&layout, &file) {
        Some(offer) => orders.try_send(Ordered { offer, answers }).err().map(|_| "another order is being taken in"),
        None => Some("there is no such package in the folder of downloads"),
    };
    if let Some(why) = refused {
        // Nobody is left to tell if the caller is gone.
        let _ = write_line(&mut write, &Answer::Failed { reason: why.to_owned() }).await;
        return;
    }
    loop {
        tokio::select! {
            answer = heard.recv() => match answer {
                Some(answer) if write_line(&mut write, &answer).await.is_ok() => {}
                Some(_) | None => return,
            },
            // It has nothing more to say: whatever comes means that it is gone.
            _ = lines.next::<Order>() => return,
        }
    }
}

/// Whether the process at the other end runs as this service does, or as root.
fn is_ours(caller: &UnixStream) -> io::Result<bool> {
    let uid = caller.peer_cred()?.uid();
    Ok(uid == 0 || uid == nix::unistd::Uid::effective().as_raw())
}

/// The caller's side of an order.
pub(crate) struct Call {
    lines: LineReader<tokio::net::unix::OwnedReadHalf>,
    /// Kept open: closing it withdraws the order.
    asks: tokio::net::unix::OwnedWriteHalf,
}

impl Call {
    /// Calls at the door of the updater of the host folder `root`.
    ///
    /// # Errors
    /// When no updater listens there.
    pub(crate) async fn at(root: &Path) -> Result<Self, LocalError> {
        let stream = local::connect_at(&socket(&Layout::new(root))).await?;
        let (read, asks) = stream.into_split();
        Ok(Self { lines: LineReader::new(read), asks })
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When the updater has gone.
    pub(crate) async fn give(&mut self, order: &Order) -> Result<(), LocalError> {
        write_line(&mut self.asks, order).await
    }

    /// What is said of it next; `None`: the updater has hung up.
    ///
    /// # Errors
    /// When the line cannot be read.
    pub(crate) async fn answer(&mut self) -> Result<Option<Answer>, LocalError> {
        self.lines.next().await
    }
}
