//! Lines in the form that Suricata 7.0.10 writes, and what they must come to.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_629_000_000 + seconds * 1000)
}

fn mapper() -> Mapper {
    Mapper::new(Home::new(&BTreeSet::new()))
}

fn map(mapper: &mut Mapper, line: &str, now: Timestamp) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    let event = EveEvent::parse(line.as_bytes()).unwrap();
    assert_eq!(mapper.map(&event, now, &mut evidence), None);
    evidence
}

fn sighting(address: &str, protocol: Option<&str>, is_server: bool) -> Sighting {
    Sighting {
        at: at(0),
        address: Some(address.to_owned()),
        protocol: protocol.map(str::to_owned),
        is_server,
        ..Sighting::default()
    }
}

/// Written by Suricata 7.0.10 on a veth pair.
const ALERT: &str = r#"{"timestamp":"2026-11-25T17:56:43.092409+0000","flow_id":939717509527687,"in_iface":"sens0","event_type":"alert","src_ip":"10.77.0.1","src_port":55470,"dest_ip":"10.77.0.2","dest_port":80,"proto":"TCP","pkt_src":"wire/pcap","ether":{"src_mac":"72:12:db:47:55:fd","dest_mac":"0a:ef:e5:ee:9d:5a"},"tx_id":0,"alert":{"action":"allowed","gid":1,"signature_id":1000002,"rev":3,"signature":"FLEET TEST http marker","category":"Web Application Attack","severity":1},"http":{"hostname":"plc.lab","url":"/fleet-test","http_user_agent":"lab","http_content_type":"text/plain","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":2},"app_proto":"http","direction":"to_server","flow":{"pkts_toserver":4,"pkts_toclient":3,"bytes_toserver":332,"bytes_toclient":304,"start":"2026-11-25T17:56:43.087723+0000","src_ip":"10.77.0.1","dest_ip":"10.77.0.2","src_port":55470,"dest_port":80},"payload":"R0VUIC9mbGVldC10ZXN0IEhUVFAvMS4xDQpIb3N0OiBwbGMubGFiDQpVc2VyLUFnZW50OiBsYWINCg0K","stream":1,"capture_file":"/tmp/x/log/alert.pcap.1795629400"}"#;

/// `{}` are the number of packets that came back and the name of the protocol.
fn flow(packets_back: u32, protocol: &str) -> String {
    format!(
        r#"{{"timestamp":"2026-11-25T17:57:12.961645+0000","flow_id":961749654873614,"in_iface":"sens0","event_type":"flow","src_ip":"10.77.0.1","src_port":52996,"dest_ip":"10.77.0.2","dest_port":53,"proto":"UDP","app_proto":"{protocol}","flow":{{"pkts_toserver":1,"pkts_toclient":{packets_back},"bytes_toserver":75,"bytes_toclient":91,"start":"2026-11-25T17:56:43.092852+0000","end":"2026-11-25T17:56:43.092956+0000","age":0,"state":"established","reason":"shutdown","alerted":true}},"ether":{{"dest_macs":["0a:ef:e5:ee:9d:5a"],"src_macs":["72:12:db:47:55:fd"]}}}}"#
    )
}

#[test]
fn an_alert_says_who_and_what_and_its_id_depends_on_nothing_else() {
    let found = map(&mut mapper(), ALERT, at(0));
    let [Evidence::Alert(alert)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((alert.rule_id.as_str(), alert.level, alert.has_packets), ("1:1000002", AlertLevel::High, true));
    assert_eq!(alert.devices, BTreeSet::from(["10.77.0.1".to_owned(), "10.77.0.2".to_owned()]));
    let event = |name: &str| alert.event[name].clone();
    assert_eq!((event("src_port"), event("dest_port"), event("rev")), (55470.into(), 80.into(), 3.into()));
    assert_eq!(event("flow_id"), "939717509527687");
    assert_eq!(event("capture_file"), "alert.pcap.1795629400");
    assert_eq!(event("category"), "Web Application Attack");
    let again = map(&mut mapper(), ALERT, at(500));
    let [Evidence::Alert(again)] = again.as_slice() else { panic!("{again:?}") };
    assert_eq!(again.id, alert.id);
    for other in
        [ALERT.replace("43.092409", "43.092410"), ALERT.replace("1000002", "1000003"), ALERT.replace("55470", "1")]
    {
        let found = map(&mut mapper(), &other, at(0));
        let [Evidence::Alert(other)] = found.as_slice() else { panic!("{found:?}") };
        assert_ne!(other.id, alert.id);
    }
}

#[test]
fn priorities_become_levels() {
    use AlertLevel::{High, Informational, Low, Medium};
    assert_eq!([1, 2, 3, 4, 255].map(level), [High, Medium, Low, Informational, Informational]);
}

#[test]
fn a_canary_is_handed_back_and_never_an_alert() {
    let nonce = "0123456789abcdef0123456789abcdef";
    let coded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("watchpost-canary-{nonce}"));
    let line = ALERT
        .replace("1000002", "1999999")
        .replace("R0VUIC9mbGVldC10ZXN0IEhUVFAvMS4xDQpIb3N0OiBwbGMubGFiDQpVc2VyLUFnZW50OiBsYWINCg0K", &coded);
    let mut evidence = Vec::new();
    let event = EveEvent::parse(line.as_bytes()).unwrap();
    let seen = mapper().map(&event, at(0), &mut evidence);
    assert_eq!(seen, Some(CanarySeen { nonce: Some(nonce.to_owned()), interface: "sens0".to_owned() }));
    assert_eq!(evidence, []);
}

#[test]
fn a_flow_shows_who_asked_and_who_answered() {
    let ends = [sighting("10.77.0.1", Some("dns"), false), sighting("10.77.0.2", Some("dns"), true)];
    assert_eq!(map(&mut mapper(), &flow(1, "dns"), at(0)), ends.map(Evidence::Sighting));
    // A scan: nobody answered, so nobody is known to be there.
    let asked = Evidence::Sighting(sighting("10.77.0.1", None, false));
    assert_eq!(map(&mut mapper(), &flow(0, "failed"), at(0)), [asked]);
    let abroad = flow(1, "dns").replace("10.77.0.2", "198.51.100.9");
    assert_eq!(map(&mut mapper(), &abroad, at(0)).len(), 1, "who is not at home is no device");
}

#[test]
fn the_same_is_said_once_a_minute() {
    let mut mapper = mapper();
    assert_eq!(map(&mut mapper, &flow(1, "dns"), at(0)).len(), 2);
    assert_eq!(map(&mut mapper, &flow(1, "dns"), at(59)).len(), 0);
    let later = map(&mut mapper, &flow(1, "dns"), at(60));
    assert_eq!(later.len(), 2);
    let hardware: Vec<_> = later
        .iter()
        .map(|piece| if let Evidence::Sighting(seen) = piece { seen.hardware.as_deref() } else { None })
        .collect();
    assert_eq!(hardware, [Some("72:12:db:47:55:fd"), Some("0a:ef:e5:ee:9d:5a")], "they have carried one address only");
}

#[test]
fn names_come_from_leases_answers_handshakes_and_logons() {
    let head = r#"{"timestamp":"t","flow_id":1,"in_iface":"e","src_ip":"10.0.0.1","src_port":1,"dest_ip":"10.0.0.2","dest_port":88,"proto":"TCP","#;
    let names = |rest: &str| -> Vec<(Option<String>, Option<String>)> {
        let found = map(&mut mapper(), &format!("{head}{rest}}}"), at(0));
        let named = found.into_iter().filter_map(|piece| match piece {
            Evidence::Sighting(seen) if seen.name.is_some() => Some((seen.address.or(seen.hardware), seen.name)),
            Evidence::Sighting(_) | Evidence::Alert(_) | Evidence::Timeline(_) => None,
        });
        named.collect()
    };
    let pair = |address: &str, name: &str| vec![(Some(address.to_owned()), Some(name.to_owned()))];
    assert_eq!(names(r#""event_type":"tls","tls":{"sni":"hmi.lab"}"#), pair("10.0.0.2", "hmi.lab"));
    assert_eq!(names(r#""event_type":"http","http":{"hostname":"10.0.0.2"}"#), [], "an address is no name");
    assert_eq!(names(r#""event_type":"http","http":{"hostname":"a b\n"}"#), [], "a sentence is no name");
    assert_eq!(names(r#""event_type":"smb","smb":{"ntlmssp":{"host":"WS7","user":"u"}}"#), pair("10.0.0.1", "WS7"));
    assert_eq!(
        names(r#""event_type":"krb5","krb5":{"msg_type":"KRB_AS_REP","cname":"WS7$"}"#),
        pair("10.0.0.1", "WS7")
    );
    assert_eq!(names(r#""event_type":"krb5","krb5":{"cname":"anna"}"#), [], "a person is no device");
    assert_eq!(
        names(
            r#""event_type":"dns","dns":{"type":"answer","rrname":"x.lab","answers":[{"rrname":"x.lab","rrtype":"A","ttl":60,"rdata":"10.0.0.9"},{"rrname":"x.lab","rrtype":"TXT","rdata":"10.0.0.8"}]}"#
        ),
        pair("10.0.0.9", "x.lab")
    );
    let lease = r#""event_type":"dhcp","dhcp":{"type":"reply","client_mac":"02:00:00:00:00:42","assigned_ip":"10.0.0.7","client_ip":"0.0.0.0","dhcp_type":"KIND","hostname":"plc-7"}"#;
    assert_eq!(names(&lease.replace("KIND", "ack")), pair("10.0.0.7", "plc-7"));
    assert_eq!(names(&lease.replace("KIND", "offer")), pair("02:00:00:00:00:42", "plc-7"), "an offer is no address");
}

#[test]
fn what_is_no_event_is_refused_and_what_is_unknown_is_passed_over() {
    for bad in ["", "x", "{\"event_type\":\"flow\"", "{\"flow_id\":\"x\"}"] {
        assert!(EveEvent::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let unknown = r#"{"event_type":"quic","src_ip":"10.0.0.1","dest_ip":"10.0.0.2","quic":{"a":[1]}}"#;
    assert_eq!(map(&mut mapper(), unknown, at(0)), []);
}

#[test]
fn texts_without_escapes_are_borrowed() {
    let event = EveEvent::parse(ALERT.as_bytes()).unwrap();
    assert!(matches!(event.src_ip.unwrap().0, std::borrow::Cow::Borrowed("10.77.0.1")));
}
