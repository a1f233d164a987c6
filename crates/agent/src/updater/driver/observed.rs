//! What this host is seen to be: by the sensor, by the updater, and by the resource guard.

use watchpost_core::facts::{Facts, HostFacts, Measurements};
use watchpost_core::policy::ResourcePolicy;
use watchpost_core::updater::Event;

use super::{Driver, DriverError};
use crate::guard::News;

impl Driver {
    /// What the sensor has observed, and what the updater sees of the host, within what a report may carry.
    pub(super) fn facts(&self) -> Facts {
        let mut facts = self.status.as_ref().map(|status| status.facts.clone()).unwrap_or_default();
        facts.door = self.host.door().clone();
        let seen_by_sensor = facts.host;
        let mut host = self.host.found().clone();
        // The guard also sees the groups that the sensor is in, and remembers a shortage that its restart has ended.
        host.memory_short_since = [host.memory_short_since, self.memory_short_since].into_iter().flatten().min();
        facts.host = HostFacts {
            log_path_fails_since: seen_by_sensor.log_path_fails_since,
            settings_refused: seen_by_sensor.settings_refused,
            evidence_fails_since: seen_by_sensor.evidence_fails_since,
            ..host
        };
        facts.fitted()
    }

    /// Looks at the host; done before each check-in.
    pub(in super::super) fn look_at_host(&mut self) {
        self.host.look(self.clock.now(), self.clock.instant());
    }

    /// What this host measures beside.
    #[must_use]
    pub(in super::super) fn measurements(&self) -> Measurements {
        self.status.as_ref().map(|status| status.measurements.clone()).unwrap_or_default()
    }

    /// The guard has something to say.
    ///
    /// # Errors
    /// When the record cannot be made durable.
    pub(in super::super) async fn guarded(&mut self, news: News) -> Result<(), DriverError> {
        match news {
            News::MemoryIsShort(is_short) => {
                let now = self.clock.now();
                self.memory_short_since = is_short.then(|| self.memory_short_since.unwrap_or(now));
                Ok(())
            }
            News::Restart => self.take(Event::MemoryNeeded { pause: ResourcePolicy::default().restart_pause }).await,
        }
    }
}
