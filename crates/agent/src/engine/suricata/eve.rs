//! One line of Suricata's event log (EVE) as typed values, borrowed from the line wherever it holds no escapes.
//!
//! Only what is mapped is named here; everything else in a line is passed over unread.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A text of the line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Reader)
    }
}

/// What kind of event a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words of EVE")]
pub enum Kind {
    Alert,
    Flow,
    Dns,
    Dhcp,
    Krb5,
    Smb,
    Tls,
    Http,
    Modbus,
    Dnp3,
    Anomaly,
    #[default]
    #[serde(other)]
    Other,
}

/// One event, in the words of EVE.
#[derive(Debug, Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
#[expect(missing_docs, reason = "the words of EVE")]
pub struct EveEvent<'a> {
    #[serde(rename = "event_type")]
    pub kind: Kind,
    pub timestamp: Text<'a>,
    pub flow_id: u64,
    pub in_iface: Option<Text<'a>>,
    pub src_ip: Option<Text<'a>>,
    pub src_port: Option<u16>,
    pub dest_ip: Option<Text<'a>>,
    pub dest_port: Option<u16>,
    pub proto: Option<Text<'a>>,
    pub app_proto: Option<Text<'a>>,
    pub ether: Option<Ether<'a>>,
    pub alert: Option<Signature<'a>>,
    pub payload: Option<Text<'a>>,
    pub capture_file: Option<Text<'a>>,
    pub flow: Option<Flow>,
    pub dns: Option<Dns<'a>>,
    pub dhcp: Option<Dhcp<'a>>,
    pub krb5: Option<Krb5<'a>>,
    pub smb: Option<Smb<'a>>,
    pub tls: Option<Tls<'a>>,
    pub http: Option<Http<'a>>,
    pub modbus: Option<Modbus<'a>>,
    pub anomaly: Option<Anomaly<'a>>,
}

macro_rules! parts {
    ($($(#[doc = $doc:literal])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Deserialize, Default)]
        #[serde(default, bound(deserialize = "'de: 'a"))]
        #[expect(missing_docs, reason = "the words of EVE")]
        pub struct $name<'a> { $(pub $field: $type),* }
    )*};
}

parts! {
    /// Hardware addresses: of one packet, or of a whole flow.
    Ether {
        src_mac: Option<Text<'a>>, dest_mac: Option<Text<'a>>,
        src_macs: Vec<Text<'a>>, dest_macs: Vec<Text<'a>>,
    }
    /// The rule that matched.
    Signature {
        gid: u32, signature_id: u32, rev: u32, signature: Text<'a>, category: Text<'a>, severity: u8,
    }
    /// A question or an answer.
    Dns { answers: Vec<Answer<'a>>, query: Vec<Answer<'a>> }
    /// One resource record.
    Answer { rrname: Option<Text<'a>>, rrtype: Option<Text<'a>>, rdata: Option<Text<'a>> }
    /// A lease on its way.
    Dhcp {
        dhcp_type: Option<Text<'a>>, client_mac: Option<Text<'a>>, client_ip: Option<Text<'a>>,
        assigned_ip: Option<Text<'a>>, hostname: Option<Text<'a>>,
    }
    /// A ticket on its way.
    Krb5 { cname: Option<Text<'a>> }
    /// A request to a file server.
    Smb { ntlmssp: Option<Ntlmssp<'a>> }
    /// A logon in it.
    Ntlmssp { host: Option<Text<'a>>, user: Option<Text<'a>> }
    /// A handshake.
    Tls { sni: Option<Text<'a>> }
    /// A request to a web server.
    Http { hostname: Option<Text<'a>>, url: Option<Text<'a>>, http_method: Option<Text<'a>> }
    /// A request to a controller.
    Modbus { request: ModbusRequest<'a> }
    /// What it asks for.
    ModbusRequest { function_code: Option<Text<'a>>, access_type: Option<Text<'a>> }
    /// Something that a protocol does not allow.
    Anomaly { app_proto: Option<Text<'a>>, event: Option<Text<'a>> }
}

/// How much went to and fro.
#[derive(Clone, Copy, Debug, Deserialize, Default)]
#[serde(default)]
#[expect(missing_docs, reason = "the words of EVE")]
pub struct Flow {
    pub pkts_toserver: u64,
    pub pkts_toclient: u64,
}

impl<'a> EveEvent<'a> {
    /// Reads one line.
    ///
    /// # Errors
    /// When it is no event.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}
