//! Which places have to be reached, as the configuration says.

use std::net::SocketAddr;

use watchpost_core::connection::{Endpoint, Places, endpoints};

use super::App;
use crate::config::Settings;

/// What the configuration says of places.
#[must_use]
pub(crate) fn places(settings: &Settings) -> Places {
    // An address that stands for every interface names no place.
    let host = |at: SocketAddr| (!at.ip().is_unspecified()).then(|| at.ip().to_string());
    let listens = (host(settings.gateway), settings.gateway.port());
    let gateway = settings.gateway_address.clone().map_or(listens, |(host, port)| (Some(host), port));
    let portal = (host(settings.portal), settings.portal.port(), settings.tls.is_some());
    let of_domain = |directory: &crate::config::DirectorySettings| {
        let domain = directory.domain.clone();
        directory
            .servers
            .iter()
            .map(move |server| (domain.clone(), server.host.clone(), server.port))
            .collect::<Vec<_>>()
    };
    Places { gateway, portal, directories: settings.directories.iter().flat_map(of_domain).collect() }
}

impl App {
    /// Every place that has to be reached.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        endpoints(&self.0.places)
    }
}
