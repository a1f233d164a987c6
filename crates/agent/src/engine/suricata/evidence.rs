//! From Suricata's events to evidence: alerts, sightings of devices, lines of the timeline. Pure.
//!
//! The canary's alerts never become alerts. What was said within the last minute is not said again: at thousands of
//! events a second a device is still one device.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher as _};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use watchpost_core::evidence::{Alert, AlertLevel, MAX_TEXT, Sighting, TimelineEntry};
use watchpost_core::facts::EngineKind;
use watchpost_core::time::Timestamp;

use super::canary;
use super::eve::{EveEvent, Kind, Signature, Text};
use super::home::{Home, Neighbours};

/// How long the same thing is not said again: `last_seen` is kept to the minute.
const SAID_FOR: Duration = Duration::from_secs(60);
/// Things said that are remembered.
const SAID_LIMIT: usize = 65_536;

/// What an event came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A rule matched.
    Alert(Box<Alert>),
    /// A device was seen.
    Sighting(Sighting),
    /// Something to be read later.
    Timeline(TimelineEntry),
}

/// The alert of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanarySeen {
    /// Its mark, if it bears one.
    pub nonce: Option<String>,
    /// Where it was captured.
    pub interface: String,
}

/// Maps events, and remembers what was said.
#[derive(Debug)]
pub struct Mapper {
    home: Home,
    neighbours: Neighbours,
    said: HashMap<u64, Timestamp>,
}

impl Mapper {
    /// A mapper that has said nothing yet.
    #[must_use]
    pub fn new(home: Home) -> Self {
        Self { home, neighbours: Neighbours::default(), said: HashMap::new() }
    }

    /// Devices are looked for in another home.
    pub fn set_home(&mut self, home: Home) {
        self.home = home;
    }

    /// Puts what `event` means into `evidence`; hands back a canary's alert instead of mapping it.
    pub fn map(&mut self, event: &EveEvent<'_>, now: Timestamp, evidence: &mut Vec<Evidence>) -> Option<CanarySeen> {
        if let Some(signature) = &event.alert {
            if canary::is_canary(signature.gid, signature.signature_id) {
                let nonce = event.payload.as_deref().and_then(canary::nonce_in);
                return Some(CanarySeen { nonce, interface: text(event.in_iface.as_ref()).to_owned() });
            }
            evidence.push(Evidence::Alert(Box::new(alert(event, signature, now))));
            return None;
        }
        let (Some(source), Some(destination)) = (&event.src_ip, &event.dest_ip) else { return None };
        if canary::is_own_traffic(source, destination, event.dest_port) {
            return None;
        }
        let mut glimpses = Glimpses { mapper: self, now, evidence };
        match event.kind {
            Kind::Flow => glimpses.flow(event, source, destination),
            Kind::Dhcp => glimpses.dhcp(event),
            Kind::Dns => glimpses.dns(event, source, destination),
            Kind::Krb5 => glimpses.krb5(event, source, destination),
            Kind::Smb => glimpses.smb(event, source, destination),
            Kind::Tls => {
                let name = event.tls.as_ref().and_then(|tls| tls.sni.as_deref());
                glimpses.pair(event, "tls", source, None, destination, name);
            }
            Kind::Http => {
                let name = event.http.as_ref().and_then(|http| http.hostname.as_deref());
                glimpses.pair(event, "http", source, None, destination, name);
            }
            Kind::Modbus => glimpses.modbus(event, source, destination),
            Kind::Dnp3 => glimpses.pair(event, "dnp3", source, None, destination, None),
            Kind::Anomaly => glimpses.anomaly(event, source, destination),
            Kind::Alert | Kind::Other => {}
        }
        None
    }

    /// Whether this was not said within the last minute. Says it.
    pub(super) fn is_news(&mut self, what: &impl std::hash::Hash, now: Timestamp) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        if self.said.len() >= SAID_LIMIT {
            self.said.retain(|_, at| now.since(*at) < SAID_FOR);
            if self.said.len() >= SAID_LIMIT {
                self.said.clear();
            }
        }
        match self.said.insert(hasher.finish(), now) {
            Some(before) if now.since(before) < SAID_FOR => {
                self.said.insert(hasher.finish(), before);
                false
            }
            Some(_) | None => true,
        }
    }
}

fn text<'e>(text: Option<&'e Text<'_>>) -> &'e str {
    text.map_or("", |text| text)
}

/// What devices show of themselves in one event.
struct Glimpses<'m> {
    mapper: &'m mut Mapper,
    now: Timestamp,
    evidence: &'m mut Vec<Evidence>,
}

impl Glimpses<'_> {
    fn see(&mut self, address: IpAddr, hardware: Option<&str>, name: Option<&str>, spoke: Option<(&str, bool)>) {
        let name = name.filter(|name| is_device_name(name));
        if !self.mapper.is_news(&(address, hardware, name, spoke), self.now) {
            return;
        }
        self.evidence.push(Evidence::Sighting(Sighting {
            at: self.now,
            address: Some(address.to_string()),
            hardware: hardware.map(str::to_ascii_lowercase),
            name: name.map(str::to_owned),
            protocol: spoke.map(|(protocol, _)| protocol.to_owned()),
            is_server: spoke.is_some_and(|(_, is_server)| is_server),
        }));
    }

    /// The hardware address at one end, if it is that device's own.
    fn own_hardware<'e>(&mut self, event: &'e EveEvent<'_>, is_source: bool, address: IpAddr) -> Option<&'e str> {
        let ether = event.ether.as_ref()?;
        let (one, many) = match is_source {
            true => (&ether.src_mac, &ether.src_macs),
            false => (&ether.dest_mac, &ether.dest_macs),
        };
        let found: &str = match (one, many.as_slice()) {
            (Some(one), _) | (None, [one]) => one,
            (None, _) => return None,
        };
        self.mapper.neighbours.is_own(found, address, self.now).then_some(found)
    }

    /// Both ends of a conversation; `source` asked.
    fn pair(
        &mut self,
        event: &EveEvent<'_>,
        protocol: &str,
        source: &str,
        source_name: Option<&str>,
        destination: &str,
        destination_name: Option<&str>,
    ) {
        if let Some(address) = self.mapper.home.device(source) {
            let hardware = self.own_hardware(event, true, address);
            self.see(address, hardware, source_name, Some((protocol, false)));
        }
        if let Some(address) = self.mapper.home.device(destination) {
            let hardware = self.own_hardware(event, false, address);
            self.see(address, hardware, destination_name, Some((protocol, true)));
        }
    }

    fn flow(&mut self, event: &EveEvent<'_>, source: &str, destination: &str) {
        let protocol = event.app_proto.as_deref().filter(|protocol| !matches!(*protocol, "failed" | ""));
        let flow = event.flow.unwrap_or_default();
        if flow.pkts_toserver > 0
            && let Some(address) = self.mapper.home.device(source)
        {
            let hardware = self.own_hardware(event, true, address);
            self.see(address, hardware, None, protocol.map(|protocol| (protocol, false)));
        }
        // Who never answered may not exist: a scan must not fill the list of devices.
        if flow.pkts_toclient > 0
            && let Some(address) = self.mapper.home.device(destination)
        {
            let hardware = self.own_hardware(event, false, address);
            self.see(address, hardware, None, protocol.map(|protocol| (protocol, true)));
        }
    }

    fn dhcp(&mut self, event: &EveEvent<'_>) {
        let Some(dhcp) = &event.dhcp else { return };
        let mut addresses = [&dhcp.assigned_ip, &dhcp.client_ip].into_iter().flatten();
        let address = addresses.find_map(|address| self.mapper.home.device(address));
        let (Some(hardware), name) = (dhcp.client_mac.as_deref(), dhcp.hostname.as_deref()) else { return };
        match (address, name) {
            // An offer is not yet an address.
            (Some(address), _) if dhcp.dhcp_type.as_deref() != Some("offer") => {
                self.see(address, Some(hardware), name, None);
            }
            (_, Some(name)) if is_device_name(name) && self.mapper.is_news(&(hardware, name), self.now) => {
                self.evidence.push(Evidence::Sighting(Sighting {
                    at: self.now,
                    hardware: Some(hardware.to_ascii_lowercase()),
                    name: Some(name.to_owned()),
                    ..Sighting::default()
                }));
            }
            (_, _) => {}
        }
    }

    fn dns(&mut self, event: &EveEvent<'_>, source: &str, destination: &str) {
        let answers = event.dns.as_ref().map_or(&[][..], |dns| &dns.answers);
        for answer in answers {
            let is_address = matches!(answer.rrtype.as_deref(), Some("A" | "AAAA"));
            let address = answer.rdata.as_deref().filter(|_| is_address);
            if let Some(address) = address.and_then(|address| self.mapper.home.device(address)) {
                self.see(address, None, answer.rrname.as_deref(), None);
            }
        }
        let is_unanswered = answers.is_empty();
        if let Some(address) = self.mapper.home.device(source) {
            let hardware = self.own_hardware(event, true, address);
            self.see(address, hardware, None, Some(("dns", false)));
        }
        if let Some(address) = self.mapper.home.device(destination).filter(|_| !is_unanswered) {
            let hardware = self.own_hardware(event, false, address);
            self.see(address, hardware, None, Some(("dns", true)));
        }
    }

    fn krb5(&mut self, event: &EveEvent<'_>, source: &str, destination: &str) {
        // Logged in the direction of the packet: the answer's source is the server.
        let is_answer = event.src_port == Some(88);
        let (client, server) = if is_answer { (destination, source) } else { (source, destination) };
        let account = event.krb5.as_ref().and_then(|krb5| krb5.cname.as_deref()).unwrap_or_default();
        let machine = account.strip_suffix('$');
        for (end, name, is_server) in [(client, machine, false), (server, None, true)] {
            if let Some(address) = self.mapper.home.device(end) {
                self.see(address, None, name, Some(("krb5", is_server)));
            }
        }
    }

    fn smb(&mut self, event: &EveEvent<'_>, source: &str, destination: &str) {
        let host = event.smb.as_ref().and_then(|smb| smb.ntlmssp.as_ref()).and_then(|logon| logon.host.as_deref());
        self.pair(event, "smb", source, host, destination, None);
    }

    fn modbus(&mut self, event: &EveEvent<'_>, source: &str, destination: &str) {
        self.pair(event, "modbus", source, None, destination, None);
        let Some(request) = event.modbus.as_ref().map(|modbus| &modbus.request) else { return };
        if !text(request.access_type.as_ref()).starts_with("WRITE") {
            return;
        }
        let function = text(request.function_code.as_ref());
        self.tell(
            "protocol",
            source,
            destination,
            &format!("{source} wrote to {destination} over modbus ({function})"),
        );
    }

    fn anomaly(&mut self, event: &EveEvent<'_>, source: &str, destination: &str) {
        let Some(anomaly) = &event.anomaly else { return };
        let (protocol, what) = (text(anomaly.app_proto.as_ref()), text(anomaly.event.as_ref()));
        let sentence = format!("{source} and {destination} do not follow the protocol {protocol} ({what})");
        self.tell("protocol", source, destination, &sentence);
    }

    fn tell(&mut self, kind: &str, source: &str, destination: &str, sentence: &str) {
        if self.mapper.is_news(&sentence, self.now) {
            self.evidence.push(Evidence::Timeline(TimelineEntry {
                at: self.now,
                kind: kind.to_owned(),
                text: cut(sentence),
                devices: BTreeSet::from([cut(source), cut(destination)]),
            }));
        }
    }
}

/// A name that a device may have: some clients send an address or a sentence where a name belongs.
fn is_device_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= MAX_TEXT && name.chars().all(is_plain) && name.parse::<IpAddr>().is_err()
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// Suricata's priorities go from 1, the most serious.
fn level(severity: u8) -> AlertLevel {
    match severity {
        0 | 1 => AlertLevel::High,
        2 => AlertLevel::Medium,
        3 => AlertLevel::Low,
        4..=u8::MAX => AlertLevel::Informational,
    }
}

fn alert(event: &EveEvent<'_>, signature: &Signature<'_>, now: Timestamp) -> Alert {
    let rule_id = format!("{}:{}", signature.gid, signature.signature_id);
    let (source, destination) = (text(event.src_ip.as_ref()), text(event.dest_ip.as_ref()));
    let ports = [event.src_port, event.dest_port].map(|port| port.map_or_else(String::new, |port| port.to_string()));
    let marks: [&str; 7] =
        [&event.flow_id.to_string(), &event.timestamp, &rule_id, source, destination, &ports[0], &ports[1]];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, marks.join("|").as_bytes());
    let mut id = hex::encode(digest);
    id.truncate(32);
    Alert {
        id,
        at: now,
        engine: EngineKind::Suricata,
        rule_id,
        rule_title: cut(&signature.signature),
        level: level(signature.severity),
        event: details(event, signature),
        devices: [source, destination].into_iter().filter(|end| !end.is_empty()).map(str::to_owned).collect(),
        has_packets: event.capture_file.is_some(),
    }
}

/// What happened, in the words of EVE.
fn details(event: &EveEvent<'_>, signature: &Signature<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            map.insert(name.to_owned(), Value::from(cut(value)));
        }
    };
    put("timestamp", Some(&event.timestamp));
    put("src_ip", event.src_ip.as_deref());
    put("dest_ip", event.dest_ip.as_deref());
    put("proto", event.proto.as_deref());
    put("app_proto", event.app_proto.as_deref());
    put("in_iface", event.in_iface.as_deref());
    put("category", Some(&signature.category));
    put("url", event.http.as_ref().and_then(|http| http.url.as_deref()));
    put("http_method", event.http.as_ref().and_then(|http| http.http_method.as_deref()));
    put("hostname", event.http.as_ref().and_then(|http| http.hostname.as_deref()));
    put("sni", event.tls.as_ref().and_then(|tls| tls.sni.as_deref()));
    let query = event.dns.as_ref().and_then(|dns| dns.query.first().and_then(|first| first.rrname.as_deref()));
    put("rrname", query);
    let request = event.modbus.as_ref().map(|modbus| &modbus.request);
    put("function_code", request.and_then(|request| request.function_code.as_deref()));
    put("user", event.smb.as_ref().and_then(|smb| smb.ntlmssp.as_ref()).and_then(|logon| logon.user.as_deref()));
    let file = event.capture_file.as_deref().and_then(|path| path.rsplit('/').next());
    put("capture_file", file);
    let ether = event.ether.as_ref();
    put("src_mac", ether.and_then(|ether| ether.src_mac.as_deref()));
    put("dest_mac", ether.and_then(|ether| ether.dest_mac.as_deref()));
    // As text: JavaScript would round it.
    put("flow_id", Some(&event.flow_id.to_string()));
    for (name, port) in [("src_port", event.src_port), ("dest_port", event.dest_port)] {
        if let Some(port) = port {
            map.insert(name.to_owned(), Value::from(port));
        }
    }
    map.insert("rev".to_owned(), Value::from(signature.rev));
    map
}

#[cfg(test)]
mod tests;
