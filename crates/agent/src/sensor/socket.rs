//! The sensor's end of the local socket: answers asks and sends the status on every change.
//!
//! A client that asks nothing, asks nonsense or does not read is dropped; the watching goes on without it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::desk::Order;
use crate::local::{Ask, LineReader, LocalError, Say, SensorStatus, write_line};

/// The most clients at a time: an updater, one that takes over from it, and people with a tool.
const CLIENTS: usize = 16;
/// How long a client may take to ask its first question, and to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves clients for ever.
pub(super) async fn serve(listener: UnixListener, status: watch::Receiver<SensorStatus>, orders: mpsc::Sender<Order>) {
    let seats = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (status, orders) = (status.clone(), orders.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, status, orders).await {
                        tracing::debug!(%error, "a client of the local socket was dropped");
                    }
                    drop(seat);
                });
            }
            Err(error) => {
                // Out of descriptors or memory: others may free some.
                tracing::warn!(%error, "the local socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Passes an order on; one too many is dropped, and asked for again by whoever needs it.
fn order(orders: &mpsc::Sender<Order>, order: Order) {
    if orders.try_send(order).is_err() {
        tracing::warn!("too much is asked of the sensor at a time; something is dropped");
    }
}

async fn converse(
    stream: UnixStream,
    mut status: watch::Receiver<SensorStatus>,
    orders: mpsc::Sender<Order>,
) -> Result<(), LocalError> {
    let (read, mut write) = stream.into_split();
    let mut asks = LineReader::new(read);
    let mut is_asked = false;
    loop {
        let next = tokio::select! {
            asked = asks.next::<Ask>() => asked?.map(Some),
            changed = status.changed(), if is_asked => changed.ok().map(|()| None),
            () = tokio::time::sleep(PATIENCE), if !is_asked => None,
        };
        let Some(asked) = next else { return Ok(()) };
        match asked {
            Some(Ask::Evidence) => {
                let (to, batch) = oneshot::channel();
                order(&orders, Order::Evidence(to));
                let evidence = batch.await.unwrap_or_default();
                timeout(PATIENCE, write_line(&mut write, &Say::Evidence { evidence }))
                    .await
                    .map_err(io::Error::from)??;
            }
            Some(Ask::Show { kind, limit }) => {
                let (to, kept) = oneshot::channel();
                order(&orders, Order::Show(kind, limit, to));
                let shown = kept.await.unwrap_or_default();
                timeout(PATIENCE, write_line(&mut write, &Say::Shown { shown })).await.map_err(io::Error::from)??;
            }
            // The status that answers comes through the watch, once it is done.
            Some(
                ask @ (Ask::Prove { .. }
                | Ask::Configure { .. }
                | Ask::LoadRules { .. }
                | Ask::DropRules
                | Ask::EvidenceTaken { .. }),
            ) => order(&orders, Order::Ask(ask)),
            Some(Ask::Watch) | None => {
                let line = status.borrow_and_update().clone();
                timeout(PATIENCE, write_line(&mut write, &line)).await.map_err(io::Error::from)??;
            }
        }
        is_asked = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{SensorLink, listen};
    use watchpost_core::version::Version;

    fn status() -> SensorStatus {
        SensorStatus::starting(Version::new(2, 255, 1, 0), 1)
    }

    #[tokio::test]
    async fn a_watcher_gets_the_status_at_once_and_on_every_change_and_an_ask_reaches_the_worker() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("state")).unwrap();
        let (publish, seen) = watch::channel(status());
        let (orders, mut received) = mpsc::channel(4);
        tokio::spawn(serve(listen(root.path()).unwrap(), seen, orders));
        let mut link = SensorLink::connect(root.path()).await.unwrap();
        link.ask(&Ask::Watch).await.unwrap();
        assert_eq!(link.next_status().await.unwrap(), Some(status()));
        publish.send_modify(|status| status.alert_count = 1);
        assert_eq!(link.next_status().await.unwrap().unwrap().alert_count, 1);
        link.ask(&Ask::Prove { generation: 9 }).await.unwrap();
        assert!(matches!(received.recv().await, Some(Order::Ask(Ask::Prove { generation: 9 }))));
        link.ask(&Ask::Evidence).await.unwrap();
        let Some(Order::Evidence(to)) = received.recv().await else { panic!("evidence was not asked for") };
        to.send("{}".to_owned()).unwrap();
        assert_eq!(link.next().await.unwrap(), Some(Say::Evidence { evidence: "{}".to_owned() }));
        publish.send_modify(|status| status.ready = true);
        assert!(link.next_status().await.unwrap().unwrap().ready);
    }

    #[tokio::test]
    async fn a_client_that_asks_nonsense_is_dropped() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("state")).unwrap();
        let (_publish, seen) = watch::channel(status());
        let (orders, _received) = mpsc::channel(4);
        tokio::spawn(serve(listen(root.path()).unwrap(), seen, orders));
        let mut stream = UnixStream::connect(crate::local::socket_path(root.path())).await.unwrap();
        stream.write_all(b"{\"ask\":\"format\"}\n").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
