//! Issues of sensors and of the workspace, from what is observed to what the API answers.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use watchpost_core::health::IssueType;
use watchpost_core::health::global::Condition;
use watchpost_core::sync::Report;

use crate::app::App;
use crate::lifecycle::Running;
use crate::testing::{A, House, T0, running, until};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn unreachable() -> Condition {
    let details = vec!["dc01: no answer".to_owned()];
    let reason = "no domain controller answers".to_owned();
    Condition { kind: IssueType::DirectoryUnreachable, subject: "corp.example".to_owned(), reason, details }
}

async fn patch(house: &House, server: &Running, id: &str, status: &str) -> (StatusCode, Value) {
    let body = json!({ "status": status, "reason": "maintenance" }).to_string();
    let answer = house.call(server, Method::PATCH, &format!("/api/v1/healthIssues/{id}"), body.as_bytes()).await;
    (answer.status, answer.json())
}

async fn list(house: &House, server: &Running, query: &str) -> Vec<Value> {
    let answer = house.call(server, Method::GET, &format!("/api/v1/healthIssues?{query}"), b"").await;
    answer.json()["value"].as_array().unwrap_or_else(|| panic!("{query}: {}", answer.status)).clone()
}

fn status(app: &App, kind: IssueType) -> String {
    let rows = app.health_issues();
    rows.iter().find(|row| row.kind == kind).map(|row| super::status_word(&row.issue).to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn what_a_source_sees_opens_and_closes_and_the_same_again_costs_no_sql() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    app.observe_global("directory", vec![unreachable()]).await.unwrap();
    let issues = list(&house, &server, "scope=global").await;
    assert_eq!(issues.len(), 1);
    for (key, value) in [
        ("issueTypeId", json!("1401")),
        ("healthIssueType", json!("global")),
        ("status", json!("open")),
        ("severity", json!("medium")),
        ("createdDateTime", json!("2026-01-05T00:00:00Z")),
        ("description", json!("no domain controller answers")),
        ("additionalInformation", json!(["dc01: no answer"])),
        ("domainNames", json!(["corp.example"])),
        ("sensorDNSNames", json!([])),
        ("subject", json!("corp.example")),
    ] {
        assert_eq!(issues[0][key], value, "{key}");
    }
    app.plan().await.unwrap();
    let before = app.statements();
    app.observe_global("directory", vec![unreachable()]).await.unwrap();
    assert_eq!(app.statements(), before);
    app.observe_global("another", Vec::new()).await.unwrap();
    assert_eq!(status(app, IssueType::DirectoryUnreachable), "open", "another source closes nothing of this one");
    app.observe_global("directory", Vec::new()).await.unwrap();
    assert_eq!(status(app, IssueType::DirectoryUnreachable), "closed");
}

#[tokio::test]
async fn after_a_restart_an_issue_stays_until_its_source_has_looked() {
    let house = House::new().await;
    let server = house.start().await;
    server.app().observe_global("directory", vec![unreachable()]).await.unwrap();
    server.stop().await.unwrap();
    let again = house.start().await;
    again.app().plan().await.unwrap();
    assert_eq!(status(again.app(), IssueType::DirectoryUnreachable), "open");
    again.app().observe_global("directory", Vec::new()).await.unwrap();
    assert_eq!(status(again.app(), IssueType::DirectoryUnreachable), "closed");
}

#[tokio::test]
async fn a_person_suppresses_closes_and_reopens_an_issue_of_the_workspace() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let see = async || app.observe_global("directory", vec![unreachable()]).await.unwrap();
    see().await;
    let id = list(&house, &server, "").await[0]["id"].as_str().unwrap().to_owned();
    let (code, issue) = patch(&house, &server, &id, "suppressed").await;
    assert_eq!((code, &issue["status"]), (StatusCode::OK, &json!("suppressed")));
    assert_eq!(issue["suppressedUntilDateTime"], "2026-01-12T00:00:00Z");
    house.clock.set(T0 + WEEK - Duration::from_secs(1));
    see().await;
    assert_eq!(status(app, IssueType::DirectoryUnreachable), "suppressed");
    assert_eq!(app.plan().await.unwrap(), Some(T0 + WEEK), "the planner looks when it ends");
    house.clock.set(T0 + WEEK);
    app.plan().await.unwrap();
    assert_eq!(status(app, IssueType::DirectoryUnreachable), "open", "it still holds");
    assert_eq!(patch(&house, &server, &id, "closed").await.1["status"], "closed");
    see().await;
    assert_eq!(status(app, IssueType::DirectoryUnreachable), "closed", "by hand, until it has gone and come back");
    let (code, refused) = patch(&house, &server, &id, "suppressed").await;
    assert_eq!((code, &refused["code"]), (StatusCode::CONFLICT, &json!("wrongState")));
    assert_eq!(patch(&house, &server, &id, "open").await.1["status"], "open");
    assert_eq!(patch(&house, &server, &id, "open").await.0, StatusCode::OK, "open already");
    let actions: Vec<_> = app.audit_log(0, 10).await.unwrap().into_iter().map(|row| row.entry.action).collect();
    assert_eq!(actions[..3], ["healthIssue.reopen", "healthIssue.close", "healthIssue.suppress"]);
    for (id, body) in [(id.as_str(), "muted"), ("iss_00000000000000000000000000", "closed"), ("x", "closed")] {
        let (code, _) = patch(&house, &server, id, body).await;
        let wanted = if body == "muted" { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
        assert_eq!(code, wanted, "{id} {body}");
    }
}

#[tokio::test]
async fn two_sensors_with_one_issue_make_one_of_their_domain_and_the_list_is_filtered() {
    let mut house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    house.publish(&server, A).await;
    let ill = |word: &str| Report { conditions: [word.to_owned()].into(), ..running(A) };
    let (one, two) = (house.host(app, 1, false, A).await, house.host(app, 2, false, A).await);
    app.check_in(one, ill("someEventsNotAnalyzed"), T0).await.unwrap();
    until("the first has it", || app.health_issues().len() == 1).await;
    app.check_in(two, ill("someEventsNotAnalyzed"), T0).await.unwrap();
    until("the domain has it", || app.health_issues().len() == 3).await;
    let global = list(&house, &server, "type=someEventsNotAnalyzed&scope=global&status=open").await;
    assert_eq!(global.len(), 1);
    assert_eq!(global[0]["additionalInformation"], json!(["DC01", "DC02"]));
    assert_eq!(list(&house, &server, "sensor=dc01").await.len(), 1);
    assert_eq!(list(&house, &server, "severity=low").await.len(), 0);
    let page = house.call(&server, Method::GET, "/api/v1/healthIssues?scope=sensor&$top=1&$count=true", b"").await;
    assert_eq!(page.json()["@odata.count"], 2);
    assert_eq!(page.json()["@odata.nextLink"], "/api/v1/healthIssues?scope=sensor&$top=1&$skip=1");
    let odd = house.call(&server, Method::GET, "/api/v1/healthIssues?severity=bad", b"").await;
    assert_eq!((odd.status, odd.code()), (StatusCode::BAD_REQUEST, "badQuery".to_owned()));
    let id = list(&house, &server, "sensor=DC01").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(patch(&house, &server, &id, "closed").await.1["status"], "closed");
    until("only one is left", || list_open(app) == ["someEventsNotAnalyzed"]).await;
    let old = house.call(&server, Method::GET, "/api/v1/health-issues", b"").await;
    assert_eq!(old.json()["value"].as_array().unwrap().len(), 3, "the old address still answers");
}

/// Open issues in words.
fn list_open(app: &App) -> Vec<&'static str> {
    app.health_issues().iter().filter(|row| row.issue.is_open()).map(|row| row.kind.word()).collect()
}

#[tokio::test]
async fn a_network_sensor_that_comes_back_again_and_again_is_unstable() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let request = crate::app::enrollment::EnrollRequest {
        sensor_type: "otCloudConnected".to_owned(),
        ..house.enrolment("OT01", false)
    };
    let id = app.enroll(request, [1; 32], T0).await.unwrap().sensor;
    app.check_in(id, running(A), T0).await.unwrap();
    app.plan().await.unwrap();
    let before = app.statements();
    for minutes in [2, 4, 6] {
        let now = T0 + Duration::from_secs(minutes * 60);
        house.clock.set(now);
        app.check_in(id, running(A), now).await.unwrap();
        assert!(minutes > 2 || app.statements() == before, "an unchanged check-in, late or not, runs no SQL");
    }
    until("it is unstable", || list_open(app) == ["unstableTraffic"]).await;
    // The first of the three, at 2 minutes, counts until 17 minutes.
    for minutes in 7..=17 {
        let now = T0 + Duration::from_secs(minutes * 60);
        house.clock.set(now);
        app.check_in(id, running(A), now).await.unwrap();
    }
    app.plan().await.unwrap();
    assert!(list_open(app).is_empty());
}
#[tokio::test]
async fn the_catalogue_is_in_the_api() {
    let house = House::new().await;
    let server = house.start().await;
    let types = house.call(&server, Method::GET, "/api/v1/healthIssueTypes", b"").await.json();
    let types = types["value"].as_array().unwrap().clone();
    assert_eq!(types.len(), IssueType::all().count());
    let one = types.iter().find(|row| row["issueType"] == "objectAuditingIncomplete").unwrap();
    assert_eq!((&one["id"], &one["scope"], &one["measured"]), (&json!("1031"), &json!("global"), &json!("door")));
}
