//! Detection proof for packets: one canary on every capture interface, all of which have to come out as alerts.
//!
//! A canary that is lost once is sent again; one that is not seen in time is a failed proof, whatever else works.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use watchpost_clock::Clock;
use watchpost_core::sync::EngineProof;

use super::Patience;
use super::canary::{self, Expected, NONCE_BYTES};
use super::control::RuleCounts;
use super::interfaces::Interface;
use super::running::Sent;

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// There is no engine to prove anything of.
    #[error("Suricata does not run, so nothing can be proved; see the engine's state for why")]
    NotRunning,
    /// No capture interface is up.
    #[error("no capture interface has a link, so no canary can be sent; connect one")]
    NoInterface,
    /// A canary did not come out.
    #[error("the canary on {interface} did not come out as an alert within {seconds} s; packets there are not watched")]
    NotSeen {
        /// Where it was sent.
        interface: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A canary cannot be sent.
    #[error(
        "no canary can be sent on {interface} ({why}); the sensor needs the right to send raw packets (CAP_NET_RAW)"
    )]
    NotSent {
        /// Where.
        interface: String,
        /// What the system said.
        why: String,
    },
}

/// Everything that a proof needs.
pub(super) struct Prover {
    pub(super) clock: Clock,
    pub(super) patience: Patience,
    pub(super) expected: Arc<Expected>,
    pub(super) sent: Arc<Sent>,
    pub(super) interfaces: BTreeMap<String, Interface>,
    pub(super) rules: RuleCounts,
}

impl Prover {
    /// Sends the canaries and waits for all of them.
    pub(super) async fn run(self) -> Result<EngineProof, ProveError> {
        if self.interfaces.is_empty() {
            return Err(ProveError::NoInterface);
        }
        let (clock, rules) = (self.clock.clone(), self.rules);
        let prover = Arc::new(self);
        let mut canaries = JoinSet::new();
        for name in prover.interfaces.keys().cloned() {
            let prover = prover.clone();
            canaries.spawn(async move { prover.prove_one(name).await });
        }
        while let Some(canary) = canaries.join_next().await {
            canary.map_err(|_| ProveError::NotRunning)??;
        }
        Ok(EngineProof { detected_at: clock.now(), rules_loaded: rules.loaded, rules_failed: rules.failed })
    }

    async fn prove_one(&self, interface: String) -> Result<(), ProveError> {
        let deadline = self.clock.instant() + self.patience.proof;
        while self.clock.instant() < deadline {
            let mut nonce = [0; NONCE_BYTES];
            aws_lc_rs::rand::fill(&mut nonce)
                .map_err(|_| ProveError::NotSent { interface: interface.clone(), why: "no chance".to_owned() })?;
            let mark = hex::encode(nonce);
            let seen = self.expected.expect(mark.clone(), interface.clone());
            let sent = self.send(&interface, nonce);
            let is_seen =
                sent.is_ok() && tokio::time::timeout(self.patience.canary, seen).await.is_ok_and(|s| s.is_ok());
            self.expected.forget(&mark);
            sent?;
            if is_seen {
                return Ok(());
            }
        }
        Err(ProveError::NotSeen { interface, seconds: self.patience.proof.as_secs() })
    }

    fn send(&self, interface: &str, nonce: [u8; NONCE_BYTES]) -> Result<(), ProveError> {
        let failed = |why: String| ProveError::NotSent { interface: interface.to_owned(), why };
        let link = self.interfaces.get(interface).and_then(|found| found.link);
        let link = link.ok_or_else(|| failed("it has no hardware address".to_owned()))?;
        let hardware = link.addr().ok_or_else(|| failed("it has no hardware address".to_owned()))?;
        self.sent.count(interface);
        canary::send(&link, &canary::frame(hardware, nonce)).map_err(|error| failed(error.to_string()))
    }
}
