//! When the session ends so that another updater takes its place. The sensor goes on meanwhile.

use watchpost_core::succession::Standing;
use watchpost_core::sync::ServiceState;
use watchpost_core::updater::Phase;
use watchpost_core::version::Version;

use super::Session;
use crate::updater::error::DriverError;

impl Session {
    /// Whether the sensor runs and is watched over.
    pub(super) fn is_watching(&self) -> bool {
        self.driver.machine().report().service == ServiceState::Running
    }

    /// After an answer, which wants this version: ends this session if the release that is committed brings another
    /// updater and nothing else is under way.
    ///
    /// # Errors
    /// When the record of updaters cannot be made durable.
    pub(super) fn hand_over_if_due(&mut self, desired: Option<Version>) -> Result<(), DriverError> {
        let record = self.driver.machine().record();
        let (is_settled, Some(committed)) = (record.phase == Phase::Committed, record.committed) else { return Ok(()) };
        let folder = self.driver.folder(committed);
        let wanted = self.successor.wanted(committed, &folder);
        let standing = Standing {
            is_of_committed: wanted.is_some(),
            is_idle: is_settled && self.rotation.is_some() && self.driver.is_idle(),
            sensor_runs: self.is_watching() && self.driver.machine().running() == Some(committed),
            is_answered: desired.is_none_or(|version| version == committed.version),
        };
        if let Some(program) = wanted
            && standing.allows()
        {
            self.hands_over = self.successor.hand_over(program, &folder)?;
        }
        Ok(())
    }
}
