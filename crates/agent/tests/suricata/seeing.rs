//! What the engine sees: alerts, devices, packets, drops, and its canary.

use std::collections::BTreeSet;
use std::time::Duration;

use watchpost_agent::engine::suricata::check::check;
use watchpost_agent::engine::suricata::config::{SuricataSettings, render};
use watchpost_agent::engine::suricata::loading::Loader;
use watchpost_agent::engine::suricata::process::Programs;
use watchpost_agent::engine::suricata::{Evidence, Expectation, ProveError, RuleSources};
use watchpost_clock::Clock;
use watchpost_core::evidence::{Alert, AlertLevel, Sighting};
use watchpost_core::facts::EngineKind;

use crate::lab::{CAPTURE, Lab, in_own_network};

fn alerts(evidence: &[Evidence]) -> Vec<&Alert> {
    evidence.iter().filter_map(|piece| if let Evidence::Alert(alert) = piece { Some(&**alert) } else { None }).collect()
}

fn sightings(evidence: &[Evidence]) -> Vec<&Sighting> {
    evidence.iter().filter_map(|piece| if let Evidence::Sighting(seen) = piece { Some(seen) } else { None }).collect()
}

#[test]
fn real_traffic_becomes_alerts_devices_and_packets() {
    in_own_network("seeing::real_traffic_becomes_alerts_devices_and_packets", async |lab: Lab| {
        let mut engine = lab.engine().await;
        let _served = lab.serve();
        for what in ["http", "dns", "modbus", "dhcp"] {
            Lab::send(what);
        }
        let is_leased = |seen: &&Sighting| seen.address.as_deref() == Some("10.77.0.77");
        let evidence = engine
            .evidence_until("everything is seen", |evidence| {
                alerts(evidence).len() >= 3 && sightings(evidence).iter().any(&is_leased)
            })
            .await;
        check_alerts(&alerts(&evidence));
        let saw = |address: &str, protocol: &str, is_server: bool| {
            sightings(&evidence).iter().any(|seen| {
                (seen.address.as_deref(), seen.protocol.as_deref(), seen.is_server)
                    == (Some(address), Some(protocol), is_server)
            })
        };
        for protocol in ["http", "dns", "modbus"] {
            assert!(saw("10.77.0.1", protocol, false), "{protocol} client; {evidence:#?}");
            assert!(saw("10.77.0.2", protocol, true), "{protocol} server; {evidence:#?}");
        }
        let named = |address: &str, name: &str| {
            sightings(&evidence)
                .iter()
                .any(|s| s.address.as_deref() == Some(address) && s.name.as_deref() == Some(name))
        };
        assert!(named("10.77.0.99", "hmi.lab.test") && named("10.77.0.2", "plc.lab"), "{evidence:#?}");
        let leased = sightings(&evidence).into_iter().find(is_leased).unwrap().clone();
        assert_eq!(leased.hardware.as_deref(), Some("02:00:00:00:00:42"));
        let by_hardware = sightings(&evidence).into_iter().find(|seen| seen.name.as_deref() == Some("plc-7")).unwrap();
        assert_eq!(by_hardware.hardware.as_deref(), Some("02:00:00:00:00:42"));
        let wrote = |e: &Evidence| matches!(e, Evidence::Timeline(entry) if entry.text.contains("wrote to 10.77.0.2"));
        assert!(evidence.iter().any(wrote));

        engine.handle.stop().await;
        let packets = std::fs::read_dir(&engine.place.log).unwrap().map(|entry| entry.unwrap());
        let sizes: Vec<u64> = packets.map(|entry| entry.metadata().unwrap().len()).collect();
        // A pcap header has 24 bytes; each of the three alerts has at least one packet.
        assert!(sizes.len() == 1 && sizes[0] > 24 + 3 * 16, "{sizes:?}");
    });
}

#[test]
fn the_rules_of_the_release_load_and_fire() {
    in_own_network("seeing::the_rules_of_the_release_load_and_fire", async |lab: Lab| {
        let mut engine = lab.engine().await;
        let _served = lab.serve();
        let content = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/suricata");
        let text = std::fs::read_to_string(content.join("watchpost.rules")).unwrap();
        let rules = text.lines().filter(|line| line.starts_with("alert ")).count();
        let sources = RuleSources { release: Some(content), package: None };
        // The canary's is built in.
        let all = Expectation { loaded_at_least: u32::try_from(rules + 1).unwrap(), failed_at_most: 0 };
        engine.handle.load_rules(sources, all).await.unwrap();
        for what in ["http", "detection", "modbus"] {
            Lab::send(what);
        }
        let evidence = engine.evidence_until("the rules fire", |evidence| alerts(evidence).len() >= 3).await;
        let fired: BTreeSet<&str> = alerts(&evidence).iter().map(|alert| alert.rule_id.as_str()).collect();
        // Writing coils, a password in clear text, a name that is reserved for this.
        assert_eq!(fired, BTreeSet::from(["1:1000101", "1:1000201", "1:1000301"]));
    });
}

fn check_alerts(alerts: &[&Alert]) {
    let rules: BTreeSet<&str> = alerts.iter().map(|alert| alert.rule_id.as_str()).collect();
    assert_eq!(rules, BTreeSet::from(["1:1000001", "1:1000002", "1:1000003"]));
    for alert in alerts {
        assert_eq!(alert.engine, EngineKind::Suricata);
        assert!(alert.has_packets && alert.id.len() == 32);
        assert_eq!(alert.devices, BTreeSet::from(["10.77.0.1".to_owned(), "10.77.0.2".to_owned()]));
        assert_eq!(alert.event["in_iface"], CAPTURE);
    }
    let http = alerts.iter().find(|alert| alert.rule_id == "1:1000001").unwrap();
    // classification.config gives web-application-attack priority 1.
    assert_eq!((http.level, http.rule_title.as_str()), (AlertLevel::High, "T http"));
    assert_eq!((&http.event["dest_port"], &http.event["url"]), (&80.into(), &"/watchpost-test".into()));
}

#[test]
fn canary_comes_out_on_a_quiet_interface_and_only_with_its_rule() {
    in_own_network("seeing::canary_comes_out_on_a_quiet_interface_and_only_with_its_rule", async |lab: Lab| {
        // Suricata counts about a second late.
        let mut options = lab.options();
        options.patience.window = Duration::from_millis(1_500);
        let mut engine = lab.engine_with(options).await;
        // Without IPv6 nothing but us sends anything here.
        lab.peer("sysctl -q -w net.ipv6.conf.plc0.disable_ipv6=1").status().unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/sens0/disable_ipv6", "1").unwrap();
        engine.until("it is quiet", |s| s.interfaces[CAPTURE].silent_since.is_some()).await;
        let proof = engine.handle.prove().await.unwrap();
        assert_eq!((proof.rules_loaded, proof.rules_failed), (4, 0));
        let packets = engine.status.borrow().counters[CAPTURE].packets;
        let status = engine.until("the canary is counted", |s| s.counters[CAPTURE].packets > packets).await;
        assert!(status.interfaces[CAPTURE].silent_since.is_some(), "our own canary is no traffic");

        let rules = engine.place.rules();
        let text = std::fs::read_to_string(&rules).unwrap();
        std::fs::write(&rules, text.lines().skip(1).collect::<Vec<_>>().join("\n") + "\n").unwrap();
        let (clock, mut control) = (Clock::system(), engine.control().await);
        let patience = Duration::from_secs(30);
        Loader { clock: &clock, control: &mut control, rules: &rules, patience }.reload().await.unwrap();
        let error = engine.handle.prove().await.unwrap_err();
        assert_eq!(error, ProveError::NotSeen { interface: CAPTURE.to_owned(), seconds: 5 });
        engine.handle.stop().await;
        let mut left = Vec::new();
        while let Ok(piece) = engine.evidence.try_recv() {
            left.push(piece);
        }
        assert!(alerts(&left).is_empty() && sightings(&left).is_empty(), "a canary is no evidence: {left:#?}");
    });
}

#[test]
fn real_kernel_drops_are_told() {
    in_own_network("seeing::real_kernel_drops_are_told", async |lab: Lab| {
        // It must not be taken for hanging while it is stopped.
        let mut options = lab.options();
        options.patience.answer = Duration::from_secs(60);
        let mut engine = lab.engine_with(options).await;
        let _served = lab.serve();
        engine.signal("-STOP");
        Lab::send("flood");
        engine.signal("-CONT");
        let status = engine.until("drops are seen", |s| s.interfaces[CAPTURE].losing_since.is_some()).await;
        assert!(status.counters[CAPTURE].dropped > 0);
        engine.until("it recovers", |s| s.interfaces[CAPTURE].losing_since.is_none()).await;
    });
}

#[test]
fn suricata_takes_what_is_rendered() {
    in_own_network("seeing::suricata_takes_what_is_rendered", async |lab: Lab| {
        let engine = lab.idle_engine();
        engine.place.prepare().unwrap();
        let settings = SuricataSettings {
            interfaces: BTreeSet::from([CAPTURE.to_owned(), "eth0.100".to_owned()]),
            home_networks: BTreeSet::from(["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()]),
            log_folder: engine.place.log.clone(),
            rules_file: engine.place.rules(),
            eve_socket: engine.place.eve(),
            control_socket: engine.place.control(),
            packet_bytes: 1,
            packet_files: 2,
            threads: 2,
        };
        let (programs, config) = (Programs::find(None).unwrap(), engine.place.config());
        std::fs::write(&config, render(&settings)).unwrap();
        let rules = lab.path("release/a.rules");
        let checked = check(&programs, &engine.place, &config, &rules).await.unwrap();
        assert!(checked.is_clean, "{checked:?}");
        assert_eq!(checked.rules.unwrap().loaded, 3);
        std::fs::write(
            &config,
            render(&SuricataSettings { home_networks: BTreeSet::from(["x".to_owned()]), ..settings }),
        )
        .unwrap();
        assert!(!check(&programs, &engine.place, &config, &rules).await.unwrap().is_clean);
    });
}
