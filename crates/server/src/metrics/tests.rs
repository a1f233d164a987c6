//! The text against a strict reader of its own, and against what was counted; and that nobody reads it unasked.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};

use super::*;
use crate::testing::{A, House, T0, batch, call, running};

/// Samples by their whole name with labels, as OpenMetrics 1.0 spells them; fails on anything it does not allow.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    let (mut samples, mut family, mut kind) = (BTreeMap::new(), String::new(), String::new());
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "TYPE" => {
                    assert!(["gauge", "counter", "histogram", "info"].contains(&rest), "{line}");
                    kind = rest.to_owned();
                }
                "HELP" => {
                    assert!(!rest.is_empty() && name.starts_with("watchpost_"), "{line}");
                    family = name.to_owned();
                }
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let bare = name.split('{').next().unwrap();
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            _ => &[""],
        };
        let fits = suffixes.iter().any(|suffix| bare == format!("{family}{suffix}"));
        assert!(fits, "{line} does not belong to the {kind} {family}");
        if let Some(labels) = name.strip_prefix(bare).filter(|labels| !labels.is_empty()) {
            let inside = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("braces");
            for label in inside.split(',') {
                let (key, value) = label.split_once('=').expect("a label");
                assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                assert!(value.starts_with('"') && value.ends_with('"') && value.len() >= 2, "{line}");
            }
        }
        let before = samples.insert(name.to_owned(), value.parse().expect("a number"));
        assert_eq!(before, None, "{name} is there twice");
    }
    samples
}

#[tokio::test]
async fn what_is_read_is_what_happened_and_only_a_token_may_read_it() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let id = house.host(app, 1, false, A).await;
    app.plan().await.unwrap();
    for second in 1..=4 {
        app.check_in(id, running(A), T0 + Duration::from_secs(second)).await.unwrap();
    }
    let stranger = watchpost_core::id::SensorId::from_parts(T0, 99);
    app.check_in(stranger, running(A), T0).await.unwrap_err();
    for through in [1, 2] {
        app.take_evidence(id, batch(&[1, 2, 3], &[1], "aa", through), T0).await.unwrap();
    }
    app.look_at_oneself(true).await.unwrap();
    let answer = house.call(&server, Method::GET, "/metrics", b"").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.head.contains(CONTENT_TYPE), "{}", answer.head);
    let samples = parse(std::str::from_utf8(&answer.body).unwrap());
    for (name, value) in [
        ("watchpost_check_ins_total{outcome=\"changed\"}", 1.0),
        ("watchpost_check_ins_total{outcome=\"same\"}", 4.0),
        ("watchpost_check_ins_total{outcome=\"refused\"}", 1.0),
        ("watchpost_check_in_duration_seconds_count", 6.0),
        ("watchpost_check_in_duration_seconds_bucket{le=\"+Inf\"}", 6.0),
        ("watchpost_sensors{status=\"upToDate\"}", 1.0),
        ("watchpost_sensors_by_health{health=\"healthy\"}", 1.0),
        ("watchpost_evidence_batches_total", 2.0),
        ("watchpost_alerts_taken_total", 3.0),
        ("watchpost_earliest_expiry_seconds", 7.0 * 86_400.0),
        ("watchpost_trust_expires_seconds{part=\"director\",role=\"timestamp\"}", 7.0 * 86_400.0),
        ("watchpost_trust_expires_seconds{part=\"director\",role=\"root\"}", 365.0 * 86_400.0),
        ("watchpost_trust_expires_seconds{part=\"hosts\",role=\"certificate\"}", 730.0 * 86_400.0),
        ("watchpost_database_writable", 1.0),
        ("watchpost_store_statements_total", f64::from(u32::try_from(app.statements()).unwrap())),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in {samples:#?}");
    }
    assert!(samples["watchpost_process_resident_memory_bytes"] > 1e6);
    assert!(samples["watchpost_process_open_files"] > 3.0);
    let nobody = call(&server, Method::GET, "/metrics", "", b"").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    let wrong = call(&server, Method::GET, "/metrics", "Authorization: Bearer wp_wrong\r\n", b"").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    server.stop().await.unwrap();
}

#[test]
fn a_bucket_holds_what_is_no_longer_than_its_bound() {
    let metrics = Metrics::default();
    for micros in [50, 51, 5_000_001] {
        metrics.count_check_in(CheckInOutcome::Same, Duration::from_micros(micros));
    }
    let mut registry = prometheus_client::registry::Registry::with_prefix("watchpost");
    registry.register("x", "x", Holder(std::sync::Arc::clone(&metrics.check_in_latency)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let samples = parse(&text);
    assert_eq!(samples["watchpost_x_bucket{le=\"0.00005\"}"], 1.0);
    assert_eq!(samples["watchpost_x_bucket{le=\"0.0001\"}"], 2.0);
    assert_eq!(samples["watchpost_x_bucket{le=\"5.0\"}"], 2.0);
    assert_eq!(samples["watchpost_x_bucket{le=\"+Inf\"}"], 3.0);
    assert!((samples["watchpost_x_sum"] - 5.000_102).abs() < 1e-9);
}

#[derive(Debug)]
struct Holder(std::sync::Arc<Latency>);

impl prometheus_client::encoding::EncodeMetric for Holder {
    fn encode(&self, encoder: prometheus_client::encoding::MetricEncoder<'_>) -> std::fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> prometheus_client::metrics::MetricType {
        self.0.metric_type()
    }
}
