//! What a host is told on which somebody asks for a version: that it comes, what it waits for, or why it does not come.
//!
//! An ask jumps no queue. It only says which of the releases on offer this sensor takes next.

use super::planner::Planner;
use super::standing::{SkipReason, Standing};
use super::{Ring, RolloutState};
use crate::sensor::{Context, Sensor};
use crate::sync::AskedReply;
use crate::version::Version;

impl Planner {
    /// The answer to a sensor on whose host somebody asks for a version; `None`: nobody does, or it is on its way.
    #[must_use]
    pub fn answer_to_ask(&self, sensor: &Sensor, context: &Context<'_>) -> Option<AskedReply> {
        let version = sensor.report.asked?;
        if sensor.version() == Some(version) {
            return None;
        }
        if let Some(flight) = &sensor.update.flight {
            let waits =
                || AskedReply::Waits { what: format!("the update to {} that is under way here", flight.version) };
            return (flight.version != version).then(waits);
        }
        Some(match self.refusal(version, sensor, context) {
            Some(reason) => AskedReply::Refused { reason },
            None => AskedReply::Waits { what: self.wait_of(sensor, context) },
        })
    }

    fn wait_of(&self, sensor: &Sensor, context: &Context<'_>) -> String {
        if sensor.version().is_none() {
            return "the first installation, which comes by itself".to_owned();
        }
        self.waiting_for(sensor, context).unwrap_or_else(|| "its turn".to_owned())
    }

    /// Why the version is not handed out by itself, however long one waits.
    fn refusal(&self, version: Version, sensor: &Sensor, context: &Context<'_>) -> Option<String> {
        let offered = context.catalogue.get(version).zip(self.rollouts.get(&version));
        let Some((release, rollout)) = offered else {
            return Some(format!("{version} was never published on this control plane"));
        };
        if !release.is_on_offer(context.now) {
            return Some(format!("{version} was pulled back"));
        }
        let steer = "somebody has to resume it first";
        match &rollout.state {
            RolloutState::Halted { reason } => return Some(format!("its rollout is halted: {reason}; {steer}")),
            RolloutState::Paused => return Some(format!("its rollout is paused; {steer}")),
            RolloutState::Aborted => return Some("its rollout was aborted".to_owned()),
            RolloutState::Planned | RolloutState::Running | RolloutState::Completed => {}
        }
        // The first installation comes by itself.
        let running = sensor.version()?;
        if !running.can_become(version) {
            return Some(format!("{running} runs here, which is not older"));
        }
        let opens_at = release.published_at + context.policy.rollout.delayed_ring;
        if Ring::of(sensor) == Ring::Delayed && context.now < opens_at {
            return Some(format!("this sensor is in the delayed ring, which opens for {version} at {opens_at}"));
        }
        let failed_here = || Some(format!("{version} failed on this sensor before; order a retry first"));
        match Self::obstacle(sensor, version, context) {
            Some(SkipReason::Excluded) => Some(format!("this sensor is excluded from the rollout of {version}")),
            Some(SkipReason::BadVersion) => failed_here(),
            Some(SkipReason::OperatingSystem) => {
                Some(format!("{version} does not run on this host's operating system"))
            }
            Some(SkipReason::MinimumBaseVersion) => Some(format!("{running} is too old for {version}")),
            Some(
                SkipReason::Unreachable
                | SkipReason::Offline
                | SkipReason::ServiceNotRunning
                | SkipReason::CaptureDown
                | SkipReason::Coverage
                | SkipReason::TrustExpired
                | SkipReason::WaitingForRestart,
            )
            | None => match self.standing(sensor, context) {
                // Its attempt is over, and it does not run here: it has failed.
                Standing::None => failed_here(),
                Standing::Next(_) | Standing::Gate(..) => None,
            },
        }
    }
}
