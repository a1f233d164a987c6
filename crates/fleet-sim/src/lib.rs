//! Simulated sensors over the real protocol: load generator and test double.
//!
//! A [`SimSensor`] is a certificate, a connection and the report it sends. It runs nothing and keeps nothing on disk.

use std::time::Duration;

use anyhow::Context as _;
use watchpost_agent::identity::Identity;
use watchpost_agent::transport::{Client, Timeouts, TransportError};
use watchpost_core::access_key::AccessKey;
use watchpost_core::facts::Measurements;
use watchpost_core::id::SensorId;
use watchpost_core::sync::{Report, ServiceState};
use watchpost_core::time::Timestamp;
use watchpost_protocol::{EnrollReply, EnrollRequest, SyncReply};

/// The sensor type a simulated sensor says it is, unless told otherwise.
const SENSOR_TYPE: &str = "domainControllerIntegrated";

/// One simulated sensor.
pub struct SimSensor {
    identity: Identity,
    client: Client,
    /// What it says when it enrols.
    pub enrolment: EnrollRequest,
    /// What it reports at its next check-in.
    pub report: Report,
    /// Who it is, once it has enrolled.
    pub id: Option<SensorId>,
}

/// What a row of check-ins came to.
#[derive(Clone, Debug)]
pub struct CheckIns {
    /// The last answer.
    pub last: SyncReply,
    /// How many were answered.
    pub answered: u32,
}

impl SimSensor {
    /// A sensor called `name` for the server at `host:port`, with a certificate of its own dated by `now`.
    ///
    /// # Errors
    /// When no certificate can be made or the address is none.
    pub fn new(server: &str, key: &AccessKey, name: &str, now: Timestamp) -> anyhow::Result<Self> {
        Self::with_identity(server, key, name, Identity::generate(now).context("a simulated sensor has no identity")?)
    }

    /// A sensor that presents this certificate.
    ///
    /// # Errors
    /// When the certificate cannot be used or the address is none.
    pub fn with_identity(server: &str, key: &AccessKey, name: &str, identity: Identity) -> anyhow::Result<Self> {
        let client = Client::new(server, [key.server_key.into()].into(), &identity, Timeouts::default())?;
        let enrolment = EnrollRequest {
            enrolment_id: identity.enrolment_id(),
            secret: *key.secret.bytes(),
            host_id: format!("sim-{name}"),
            name: name.to_owned(),
            sensor_type: SENSOR_TYPE.to_owned(),
            domain: Some("sim.test".to_owned()),
            site: None,
            zone: None,
            delayed: false,
            domain_controllers: Vec::new(),
            version: None,
            operating_system: "simulated".to_owned(),
        };
        let report = Report { service: ServiceState::Running, pulled_configuration: true, ..Report::default() };
        Ok(Self { identity, client, enrolment, report, id: None })
    }

    /// The client it talks with, for what a simulated sensor does not do by itself.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The certificate it presents.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Enrols, and remembers who it is.
    ///
    /// # Errors
    /// As [`Client::enroll`].
    pub async fn enroll(&mut self) -> Result<EnrollReply, TransportError> {
        let reply = self.client.enroll(&self.enrolment).await?;
        self.id = Some(reply.sensor_id);
        Ok(reply)
    }

    /// Checks in once.
    ///
    /// # Errors
    /// As [`Client::sync`].
    pub async fn sync(&self) -> Result<SyncReply, TransportError> {
        self.client.sync(&self.report, &Measurements::default()).await
    }

    /// Checks in `times` times, one after another, waiting `pause` of real time between two.
    ///
    /// # Errors
    /// At the first check-in that fails, or when asked for none.
    pub async fn sync_times(&self, times: u32, pause: Duration) -> anyhow::Result<CheckIns> {
        let mut last = None;
        for turn in 0..times {
            if turn > 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            last = Some(self.sync().await.with_context(|| format!("check-in {turn} of {times} failed"))?);
        }
        Ok(CheckIns { last: last.context("no check-in was asked for")?, answered: times })
    }
}
