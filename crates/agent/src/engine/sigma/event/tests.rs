//! The same Windows logon in each form in which it becomes JSON, and Samba's own events.

use super::*;

/// What Microsoft documents of a failed logon (event 4625), as each of the converters writes it.
const FORMS: [&str; 5] = [
    r##"{"Event":{"#attributes":{"xmlns":"http://schemas.microsoft.com/win/2004/08/events/event"},
        "System":{"Provider":{"#attributes":{"Name":"Microsoft-Windows-Security-Auditing"}},
        "EventID":{"#attributes":{"Qualifiers":0},"#text":4625},"Channel":"Security","Computer":"DC1.corp.example",
        "TimeCreated":{"#attributes":{"SystemTime":"2026-11-21T07:31:10.542928Z"}}},
        "EventData":{"TargetUserName":"Clerk1","TargetDomainName":"CORP","IpAddress":"::ffff:10.0.0.7","IpPort":"0",
        "LogonType":3,"Status":"0xc000006d"}}}"##,
    r##"{"Event":{"System":{"Provider":{"@Name":"Microsoft-Windows-Security-Auditing"},"EventID":"4625",
        "Channel":"Security","Computer":"DC1.corp.example","TimeCreated":{"@SystemTime":"2026-11-21T07:31:10.542928Z"}},
        "EventData":{"Data":[{"@Name":"TargetUserName","#text":"CORP\\clerk1"},{"@Name":"IpAddress","#text":"10.0.0.7"},
        {"@Name":"LogonType","#text":"3"},{"@Name":"Status","#text":"0xc000006d"}]}}}"##,
    r##"{"Event":{"System":{"Provider":{"Name":"Microsoft-Windows-Security-Auditing"},"EventID":4625,"Channel":"Security",
        "Computer":"DC1.corp.example","TimeCreated":{"SystemTime":"2026-11-21T07:31:10.542928Z"}},
        "EventData":[{"Name":"TargetUserName","#text":"clerk1@CORP"},{"Name":"IpAddress","#text":"10.0.0.7"},
        {"Name":"LogonType","#text":3},{"Name":"Status","#text":"0xc000006d"}]}}"##,
    r##"{"@timestamp":"2026-11-21T07:31:10.542Z","winlog":{"channel":"Security","event_id":4625,"record_id":7,
        "provider_name":"Microsoft-Windows-Security-Auditing","computer_name":"DC1.corp.example",
        "event_data":{"TargetUserName":"clerk1","IpAddress":"10.0.0.7","LogonType":"3","Status":"0xc000006d"}}}"##,
    r##"{"EventTime":"2026-11-21 07:31:10.542","Hostname":"DC1.corp.example","EventID":4625,"Channel":"Security",
        "SourceName":"Microsoft-Windows-Security-Auditing","TargetUserName":"clerk1","IpAddress":"10.0.0.7",
        "LogonType":"3","Status":"0xc000006d"}"##,
];

fn field(event: &AuditEvent<'_>, path: &str) -> Option<String> {
    event.get_field(path).and_then(|value| value.as_str().map(Cow::into_owned))
}

#[test]
fn every_form_of_a_windows_event_offers_the_names_that_rules_use() {
    for text in FORMS {
        let event = AuditEvent::parse(text.as_bytes()).unwrap();
        assert_eq!(event.kind(), Kind::Windows(Channel::Security), "{text}");
        for (path, value) in [
            ("EventID", "4625"),
            ("Channel", "Security"),
            ("Computer", "DC1.corp.example"),
            ("Provider_Name", "Microsoft-Windows-Security-Auditing"),
            ("LogonType", "3"),
            ("Status", "0xc000006d"),
            (ACCOUNT, "clerk1"),
            (ADDRESS, "10.0.0.7"),
        ] {
            assert_eq!(field(&event, path).as_deref(), Some(value), "{path} of {text}");
        }
        assert_eq!(field(&event, "NoSuchField"), None);
        assert_eq!(event.time().unwrap().to_string(), "2026-11-21T07:31:10.542Z", "{text}");
    }
    let nested = AuditEvent::parse(FORMS[0].as_bytes()).unwrap();
    assert_eq!(field(&nested, "Event.EventData.TargetUserName").as_deref(), Some("Clerk1"), "the own path works too");
}

#[test]
fn sambas_events_stay_as_they_are_and_say_who_and_from_where() {
    let text = r#"  {"timestamp":"2026-11-21T07:31:10.542928+0000","type":"Authentication","Authentication":{"eventId":4625,
        "status":"NT_STATUS_WRONG_PASSWORD","clientAccount":"Administrator@LAB.TEST","mappedAccount":"Administrator",
        "remoteAddress":"ipv6:fe80::1:34774"}}"#;
    let event = AuditEvent::parse(text.as_bytes()).unwrap();
    assert_eq!(event.kind(), Kind::Authentication);
    assert_eq!(field(&event, "Authentication.status").as_deref(), Some("NT_STATUS_WRONG_PASSWORD"));
    assert_eq!(field(&event, "EventID"), None);
    assert_eq!(
        (field(&event, ACCOUNT), field(&event, ADDRESS)),
        (Some("administrator".into()), Some("fe80::1".into()))
    );
    assert_eq!(event.time().unwrap().to_string(), "2026-11-21T07:31:10.542Z");
}

#[test]
fn what_is_missing_or_odd_is_absent() {
    for text in ["[1]", "1", "{", "\"x\""] {
        assert!(AuditEvent::parse(text.as_bytes()).is_none(), "{text}");
    }
    for (text, kind) in [
        ("{}", Kind::Other),
        (r#"{"type":"Authentication"}"#, Kind::Other),
        (
            r#"{"type":"Authentication","Authentication":{"remoteAddress":null,"clientAccount":"-"}}"#,
            Kind::Authentication,
        ),
        (r#"{"Event":{"System":{}}}"#, Kind::Windows(Channel::Other)),
        (r#"{"EventID":1,"IpAddress":"-","TargetUserName":"-"}"#, Kind::Windows(Channel::Other)),
    ] {
        let event = AuditEvent::parse(text.as_bytes()).unwrap();
        assert_eq!(event.kind(), kind, "{text}");
        assert_eq!((event.account(), event.address(), event.time()), (None, None, None), "{text}");
    }
    assert_eq!(samba_address("ipv4:10.0.0.1"), None);
    assert_eq!(samba_address("unix:/run/x"), None);
}
