//! An update that somebody on the host has ordered from a file, from the order to its end.
//!
//! The order brings bytes and asks the control plane. Whether and when is decided there, and how goes as always.

use std::sync::Arc;

use tokio::sync::mpsc;
use watchpost_core::sync::AskedReply;
use watchpost_core::updater::{Failure, Phase, Release};
use watchpost_core::version::Version;

use super::Driver;
use crate::updater::door::{Answer, Ordered};
use crate::updater::error::{PrepareError, in_one_line};
use crate::updater::offer::Offer;

/// What both repositories say of a package that was offered.
pub(crate) type Identified = Result<Release, PrepareError>;

/// The order that is being carried out.
pub(super) struct HostOrder {
    answers: mpsc::Sender<Answer>,
    offer: Arc<Offer>,
    /// Where to say which release it is.
    identified: mpsc::Sender<Identified>,
    /// Whether both repositories are being asked.
    is_identifying: bool,
    /// Which release it is, once both repositories have said so.
    release: Option<Release>,
    /// The last failure before the order: what is not it is of this order.
    before: Option<Failure>,
    told: Option<Answer>,
}

impl HostOrder {
    fn tell(&mut self, answer: Answer) {
        if self.told.as_ref() != Some(&answer) {
            // A caller that does not listen has all of it in its inbox already.
            let _ = self.answers.try_send(answer.clone());
            self.told = Some(answer);
        }
    }
}

impl Driver {
    /// Takes an order in and has its package identified; the answer comes to [`Self::identified`].
    pub(in crate::updater) fn ordered(&mut self, ordered: Ordered, identified: &mpsc::Sender<Identified>) {
        let Ordered { offer, answers } = ordered;
        if self.order.is_some() {
            let reason = "another update from a file is under way on this host".to_owned();
            let _ = answers.try_send(Answer::Failed { reason });
            return;
        }
        let before = self.machine.record().last_failure.clone();
        let (offer, identified) = (Arc::new(offer), identified.clone());
        let (is_identifying, release, told) = (false, None, None);
        self.order = Some(HostOrder { answers, offer, identified, is_identifying, release, before, told });
        self.identify();
    }

    /// Asks both repositories about the package of the order, once there is a time to judge them by.
    pub(super) fn identify(&mut self) {
        let Some(order) = self.order.as_mut().filter(|order| order.release.is_none() && !order.is_identifying) else {
            return;
        };
        let Some(server_time) = self.server_time else {
            order.tell(Answer::Waits { what: "an answer of the control plane".to_owned() });
            return;
        };
        order.is_identifying = true;
        let (preparer, offer, identified) = (self.preparer.clone(), order.offer.clone(), order.identified.clone());
        let (running, floor) = (self.machine.record().committed, self.machine.record().time_floor);
        tokio::spawn(async move {
            let running = running.map(|release| release.version);
            let found = preparer.identify(&offer, running, server_time.max(floor)).await;
            // Nobody waits any more: the session has ended.
            let _ = identified.send(found).await;
        });
    }

    /// Whether the package of an order is being identified.
    pub(in crate::updater) fn is_identifying(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.is_identifying)
    }

    /// Both repositories were asked about the package of the order.
    pub(in crate::updater) fn identified(&mut self, found: Identified) {
        let Some(order) = self.order.as_mut().filter(|order| order.is_identifying) else { return };
        order.is_identifying = false;
        let answer = match found {
            Ok(release) => match self.machine.record().known_bad(release.version) {
                Some(why) => {
                    Answer::Refused { reason: format!("{} is known to be bad on this host: {why}", release.version) }
                }
                None => {
                    tracing::info!(%release, "an update from a file was ordered on this host");
                    order.release = Some(release);
                    self.preparer.offer(order.offer.clone());
                    return;
                }
            },
            Err(error) if error.is_retryable() => Answer::Failed { reason: in_one_line(&error) },
            Err(error) => Answer::Refused { reason: in_one_line(&error) },
        };
        order.tell(answer);
        self.drop_order();
    }

    /// The version that is asked for on this host.
    pub(in crate::updater) fn asked(&self) -> Option<Version> {
        self.order.as_ref()?.release.map(|release| release.version)
    }

    /// What the control plane said to the order.
    pub(super) fn asked_reply(&mut self, reply: Option<AskedReply>) {
        let (Some(order), Some(reply)) = (self.order.as_mut().filter(|order| order.release.is_some()), reply) else {
            return;
        };
        match reply {
            AskedReply::Waits { what } => order.tell(Answer::Waits { what }),
            AskedReply::Refused { reason } => {
                order.tell(Answer::Refused { reason });
                self.drop_order();
            }
        }
    }

    /// Ends the order if it is over, or if nobody waits for it any more.
    pub(in crate::updater) fn settle_order(&mut self) {
        let Some(order) = &mut self.order else { return };
        let record = self.machine.record();
        let is_gone = order.answers.is_closed();
        let Some(release) = order.release else {
            // What is being identified is waited for, so that its answer meets no other order.
            if is_gone && !order.is_identifying {
                self.drop_order();
            }
            return;
        };
        let is_settled = record.phase == Phase::Committed;
        let failed = record.last_failure.as_ref().filter(|failure| order.before.as_ref() != Some(failure));
        let failed = failed.filter(|failure| failure.version == release.version);
        if let (true, true) = (is_settled, record.committed == Some(release)) {
            order.tell(Answer::Done { version: release.version });
        } else if let (true, Some(failure)) = (is_settled, failed) {
            order.tell(Answer::Failed { reason: failure.reason.clone() });
        } else if is_gone {
            tracing::info!(%release, "nobody waits for the update from a file any more");
        } else {
            return;
        }
        self.drop_order();
    }

    fn drop_order(&mut self) {
        self.order = None;
        self.preparer.forget_offer();
    }
}
