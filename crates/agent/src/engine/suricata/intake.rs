//! The intake: Suricata connects to a socket and writes one event a line; evidence comes out.
//!
//! It never makes Suricata wait for whoever takes the evidence: what finds no room is counted and lost. It never keeps
//! more of a line than its limit. It runs on a thread of its own, because Suricata does not wait either: a line that
//! does not fit into the socket is lost without a word (it sends with `MSG_DONTWAIT`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;
use watchpost_clock::Clock;
use watchpost_core::evidence::TimelineEntry;

use super::canary::Expected;
use super::eve::EveEvent;
use super::evidence::{CanarySeen, Evidence, Mapper};
use super::room::Room;

/// The longest line that is read; an alert with its payload has less than 20 KiB.
const LINE_LIMIT: usize = 256 * 1024;
/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// What came in.
#[derive(Debug, Default)]
pub struct Tally {
    /// Events read.
    pub events: AtomicU64,
    /// Lines that were none, or were too long.
    pub not_understood: AtomicU64,
}

/// The thread of the intake, on which nothing else may run that takes its time.
///
/// How much may wait in the socket meanwhile is not ours to say: of a Unix socket the buffer of the *sender* counts, and
/// `SO_RCVBUF` has no effect (unix(7); measured: 100 KB of lines with 600 bytes each, with or without it). The sender's
/// is `net.core.wmem_default` of the host, 208 KiB with the kernel's overhead, so about 170 lines.
///
/// # Errors
/// When the system gives no thread.
pub fn own_thread() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name("suricata-events").enable_all().build()
}

/// Takes events in.
#[derive(Clone)]
pub struct Intake {
    clock: Clock,
    mapper: Arc<Mutex<Mapper>>,
    expected: Arc<Expected>,
    room: Room,
    tally: Arc<Tally>,
}

impl Intake {
    /// An intake that puts evidence into `room` and hands canaries to `expected`.
    #[must_use]
    pub fn new(clock: Clock, mapper: Mapper, expected: Arc<Expected>, room: Room) -> Self {
        Self { clock, mapper: Arc::new(Mutex::new(mapper)), expected, room, tally: Arc::default() }
    }

    /// What came in so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Devices are looked for in another home.
    pub async fn set_home(&self, home: super::home::Home) {
        self.mapper.lock().await.set_home(home);
    }

    /// Serves whoever connects to this listener of the standard library, on the runtime that this runs on.
    pub async fn serve_std(self, listener: std::os::unix::net::UnixListener) {
        match UnixListener::from_std(listener) {
            Ok(listener) => self.serve(listener).await,
            Err(error) => tracing::error!("Suricata's events cannot be taken: {error}"),
        }
    }

    /// Serves whoever connects, until it is dropped. Suricata's check of a configuration connects, too.
    pub async fn serve(self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(self.clone().take(stream));
                }
                Err(error) => {
                    tracing::warn!("Suricata cannot connect to hand over events: {error}");
                    // Out of descriptors, most likely; others may give some back.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn take(self, mut stream: UnixStream) {
        let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK * 2);
        let mut is_skipping = false;
        loop {
            match stream.read_buf(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            let whole = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            if whole > 0 {
                let lines = buffer.get(..whole).unwrap_or_default();
                self.read(lines, std::mem::take(&mut is_skipping)).await;
            }
            buffer.drain(..whole);
            if buffer.len() > LINE_LIMIT {
                buffer.clear();
                let was_skipping = std::mem::replace(&mut is_skipping, true);
                self.tally.not_understood.fetch_add(u64::from(!was_skipping), Ordering::Relaxed);
            }
        }
    }

    /// Reads whole lines; the first may be the end of one that was too long.
    async fn read(&self, lines: &[u8], skips_first: bool) {
        let now = self.clock.now();
        let mut mapper = self.mapper.lock().await;
        let mut evidence = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').skip(usize::from(skips_first)).filter(|line| !line.is_empty()) {
            let Ok(event) = EveEvent::parse(line) else {
                self.tally.not_understood.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            self.tally.events.fetch_add(1, Ordering::Relaxed);
            if let Some(canary) = mapper.map(&event, now, &mut evidence)
                && !self.expected.settle(&canary)
            {
                self.note_foreign(&canary, &event, &mut mapper, now, &mut evidence);
            }
            for piece in evidence.drain(..) {
                self.room.put(piece);
            }
        }
    }

    /// Another sensor's canary, or somebody who plays one: for the record only.
    fn note_foreign(
        &self,
        canary: &CanarySeen,
        event: &EveEvent<'_>,
        mapper: &mut Mapper,
        now: watchpost_core::time::Timestamp,
        evidence: &mut Vec<Evidence>,
    ) {
        let from = event.src_ip.as_deref().unwrap_or("an unknown address");
        if mapper.is_news(&("canary", from, &canary.interface), now) {
            let text = format!("a canary that this sensor did not send was seen on {} from {from}", canary.interface);
            let entry = TimelineEntry { at: now, kind: "engine".to_owned(), text, devices: [from.to_owned()].into() };
            evidence.push(Evidence::Timeline(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::io::AsyncWriteExt as _;

    use super::super::home::Home;
    use super::*;

    fn flow(host: u32) -> String {
        format!(
            "{{\"event_type\":\"flow\",\"src_ip\":\"10.0.0.{host}\",\"dest_ip\":\"192.0.2.1\",\
             \"flow\":{{\"pkts_toserver\":1,\"pkts_toclient\":1}}}}\n"
        )
    }

    fn alert() -> &'static str {
        "{\"event_type\":\"alert\",\"alert\":{\"gid\":1,\"signature_id\":7}}\n"
    }

    fn intake(others: usize, alerts: usize) -> (Intake, Room, tokio::sync::mpsc::Receiver<Evidence>) {
        let (room, evidence) = Room::new(others, alerts);
        let mapper = Mapper::new(Home::new(&BTreeSet::new()));
        (Intake::new(Clock::system(), mapper, Arc::default(), room.clone()), room, evidence)
    }

    /// What is counted of these bytes, and the evidence that found room.
    async fn taken(bytes: &str, others: usize, alerts: usize) -> ([u64; 3], Vec<Evidence>) {
        let (intake, room, mut evidence) = intake(others, alerts);
        let (mut near, far) = UnixStream::pair().unwrap();
        let taking = tokio::spawn(intake.clone().take(far));
        near.write_all(bytes.as_bytes()).await.unwrap();
        drop(near);
        taking.await.unwrap();
        let tally = intake.tally();
        let [events, not_understood] =
            [&tally.events, &tally.not_understood].map(|count| count.load(Ordering::Relaxed));
        let mut found = Vec::new();
        while let Ok(piece) = evidence.try_recv() {
            found.push(piece);
        }
        ([events, not_understood, room.lost()], found)
    }

    #[tokio::test]
    async fn a_line_without_an_end_costs_itself_and_no_other() {
        let long = format!("{}{}\n{}no event\n{}", flow(1), "x".repeat(3 * LINE_LIMIT), flow(2), flow(3));
        let (counted, found) = taken(&long, 10, 0).await;
        assert_eq!((counted, found.len()), ([3, 2, 0], 3));
        let endless = "x".repeat(2 * LINE_LIMIT);
        assert_eq!(taken(&endless, 10, 0).await, ([0, 1, 0], Vec::new()));
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_and_holds_nobody_up() {
        let lines: String = (1..=5).map(flow).collect();
        let (counted, found) = taken(&lines, 2, 0).await;
        assert_eq!((counted, found.len()), ([5, 0, 3], 2));
    }

    #[tokio::test]
    async fn a_flood_of_sightings_loses_no_alert() {
        let lines: String = (1..=50).map(flow).chain([alert().repeat(3)]).collect();
        let (counted, found) = taken(&lines, 4, 3).await;
        assert_eq!((counted, found.len()), ([53, 0, 46], 7));
        assert_eq!(found.iter().filter(|piece| matches!(piece, Evidence::Alert(_))).count(), 3);
        let (counted, found) = taken(&alert().repeat(9), 4, 3).await;
        assert_eq!((counted, found.len()), ([9, 0, 2], 7), "without sightings alerts have all of it");
    }

    /// On this test's only thread nothing runs while it writes: more than the socket holds goes through all the same.
    #[tokio::test]
    async fn events_are_taken_while_everything_else_is_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.sock");
        let (intake, _room, _evidence) = intake(1, 1);
        let events = own_thread().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        events.spawn(intake.clone().serve_std(listener));
        let mut near = std::os::unix::net::UnixStream::connect(&path).unwrap();
        near.set_write_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let lines = flow(1).repeat(20_000);
        std::io::Write::write_all(&mut near, lines.as_bytes()).unwrap();
        events.shutdown_background();
        assert!(intake.tally().events.load(Ordering::Relaxed) > 1_000);
    }
}
