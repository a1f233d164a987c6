//! Carries evidence from the sensor to the control plane, one batch at a time, and never reads it.
//!
//! A batch is forgotten by the sensor only after the control plane has said that it is durable there; whatever is lost
//! on the way is handed out again.

use tokio::sync::mpsc;
use watchpost_protocol::EvidenceReply;

use super::error::in_one_line;
use crate::local::Ask;
use crate::transport::{Client, TransportError};

/// What became of a batch on its way.
pub(super) type Delivery = Result<EvidenceReply, TransportError>;

/// Where the courier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing in hand.
    Idle,
    /// The sensor was asked for a batch.
    Asked,
    /// A batch is under way to the control plane.
    Sending,
    /// The control plane did not take a batch; the next answered check-in is waited for.
    Waiting,
}

/// The courier of one updater session.
pub(super) struct Courier {
    client: Client,
    delivered: mpsc::Sender<Delivery>,
    step: Step,
}

impl Courier {
    pub(super) fn new(client: Client, delivered: mpsc::Sender<Delivery>) -> Self {
        Self { client, delivered, step: Step::Idle }
    }

    /// Whether a batch is under way at this moment.
    pub(super) fn is_sending(&self) -> bool {
        self.step == Step::Sending
    }

    /// The sensor says how much waits; what to ask of it.
    pub(super) fn waiting(&mut self, items: u64) -> Option<Ask> {
        if items == 0 || self.step != Step::Idle {
            return None;
        }
        self.step = Step::Asked;
        Some(Ask::Evidence)
    }

    /// The sensor has handed out a batch; empty: there is none after all.
    pub(super) fn handed_out(&mut self, batch: String) {
        if batch.is_empty() {
            self.step = Step::Idle;
            return;
        }
        self.step = Step::Sending;
        let (client, delivered) = (self.client.clone(), self.delivered.clone());
        tokio::spawn(async move {
            // Nobody waits any more: the session has ended, and the batch is handed out again in the next one.
            let _ = delivered.send(client.send_evidence(batch.into_bytes()).await).await;
        });
    }

    /// A batch has arrived or not; what to tell the sensor.
    pub(super) fn delivered(&mut self, delivery: Delivery) -> Option<Ask> {
        match delivery {
            Ok(reply) => {
                self.step = Step::Idle;
                Some(Ask::EvidenceTaken { stream: reply.stream, through: reply.taken_through })
            }
            Err(error) => {
                tracing::warn!("evidence was not taken and is sent again: {}", in_one_line(&error));
                self.step = Step::Waiting;
                None
            }
        }
    }

    /// A check-in was answered, so the control plane can be reached. A sensor that never handed a batch out is asked anew.
    pub(super) fn reached(&mut self) {
        if self.step != Step::Sending {
            self.step = Step::Idle;
        }
    }

    /// The sensor has gone, and with it whatever it was asked.
    pub(super) fn sensor_gone(&mut self) {
        if self.step == Step::Asked {
            self.step = Step::Idle;
        }
    }
}
