//! The store suite: what is written is read back, what must not happen is refused, and bad rows are named.

mod certificates;
mod evidence;

use serde_json::json;
use watchpost_core::content::RulesManifest;
use watchpost_core::health::{Hold, Issue, IssueStatus, IssueType};
use watchpost_core::id::{AuditId, IssueId, SensorId, SessionId, SiteId, TokenId, UserId, WorkspaceId, ZoneId};
use watchpost_core::rehearsal::RolloutPlan;
use watchpost_core::release::ReleaseManifest;
use watchpost_core::rollout::{Planner, RolloutSettings};
use watchpost_core::sensor::{Sensor, SensorKind};
use watchpost_core::sync::TargetRef;
use watchpost_core::time::Timestamp;
use watchpost_core::version::Version;

use super::*;

const T0: Timestamp = Timestamp::from_millis(1_767_571_200_000);

struct House {
    _dir: tempfile::TempDir,
    store: Store,
    workspace: WorkspaceId,
    zone: ZoneId,
}

async fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("watchpost.db")).await.unwrap();
    let workspace = WorkspaceId::from_parts(T0, 1);
    let (site, zone) = (SiteId::from_parts(T0, 1), ZoneId::from_parts(T0, 1));
    let mut tx = store.begin(workspace).await.unwrap();
    tx.insert_workspace("main", T0).await.unwrap();
    tx.insert_site(&SiteRow { id: site, name: "hq".into() }, T0).await.unwrap();
    tx.insert_zone(&ZoneRow { id: zone, site, name: "core".into() }, T0).await.unwrap();
    tx.commit().await.unwrap();
    House { _dir: dir, store, workspace, zone }
}

fn sensor(house: &House, n: u8) -> SensorRow {
    let id = SensorId::from_parts(T0, u128::from(n));
    let kind = SensorKind::AdfsIntegrated;
    let mut sensor = Sensor::new(id, house.workspace, format!("DC{n:02}"), kind, T0);
    sensor.domain = "corp.example".into();
    sensor.zone = Some("hq/core".into());
    sensor.domain_controllers = vec!["dc01.corp.example".into()];
    sensor.delayed = true;
    SensorRow { sensor, zone: house.zone, pin: [n; 32], revision: 1 }
}

async fn save(house: &House, rows: &[SensorRow]) -> Result<(), StoreError> {
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let list: Vec<_> = rows.iter().map(|row| (&row.sensor, row.revision)).collect();
    tx.save_sensors(&list).await?;
    tx.commit().await
}

#[tokio::test]
async fn a_sensor_reads_back_as_it_was_written() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let mut first = sensor(&house, 1);
    first.sensor.last_contact = Some(T0);
    first.sensor.report.alert_count = u64::from(u32::MAX) + 7;
    tx.insert_sensor(&first).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(house.store.first_workspace().await.unwrap(), Some(house.workspace));
    let mut tx = house.store.read(house.workspace).await.unwrap();
    assert_eq!(tx.sensors().await.unwrap(), [first]);
    assert_eq!(tx.zones().await.unwrap()[0].id, house.zone);
}

#[tokio::test]
async fn a_save_needs_the_revision_it_was_read_with_and_keeps_nothing_otherwise() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    for n in [1, 2] {
        tx.insert_sensor(&sensor(&house, n)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut changed = [sensor(&house, 1), sensor(&house, 2)];
    changed.iter_mut().for_each(|row| row.sensor.report.alert_count = 3);
    save(&house, &changed).await.unwrap();
    changed[0].revision = 2;
    changed[0].sensor.report.alert_count = 4;
    let error = save(&house, &changed).await.unwrap_err();
    assert!(matches!(error, StoreError::Changed { table: "sensors", .. }), "{error}");
    let mut tx = house.store.read(house.workspace).await.unwrap();
    let read: Vec<_> = tx.sensors().await.unwrap().iter().map(|s| (s.revision, s.sensor.report.alert_count)).collect();
    assert_eq!(read, [(2, 3), (2, 3)]);
}

#[tokio::test]
async fn contacts_of_many_sensors_cost_one_statement() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    for n in 1..=50 {
        tx.insert_sensor(&sensor(&house, n)).await.unwrap();
    }
    let before = house.store.statements();
    let contacts: Vec<_> = (1..=50)
        .rev()
        .map(|n| Contact { sensor: sensor(&house, n).sensor.id, seen_at: Some(T0), pulled_at: None })
        .collect();
    tx.save_contacts(&contacts).await.unwrap();
    assert_eq!(house.store.statements() - before, 1);
    assert!(tx.sensors().await.unwrap().iter().all(|s| s.sensor.last_contact == Some(T0) && s.revision == 1));
}

#[tokio::test]
async fn a_pin_and_an_enrolment_belong_to_one_sensor() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    tx.insert_sensor(&sensor(&house, 1)).await.unwrap();
    let twin = SensorRow { pin: [1; 32], ..sensor(&house, 2) };
    assert!(matches!(tx.insert_sensor(&twin).await.unwrap_err(), StoreError::Taken(_)));
    let enrolment = EnrolmentRow {
        enrolment_id: "e1".into(),
        sensor: sensor(&house, 1).sensor.id,
        pin: [1; 32],
        host_id: "h1".into(),
    };
    tx.insert_enrolment(&enrolment, T0).await.unwrap();
    assert!(matches!(tx.insert_enrolment(&enrolment, T0).await.unwrap_err(), StoreError::Taken(_)));
    assert_eq!(tx.enrolment("e1").await.unwrap(), Some(enrolment.clone()));
    assert_eq!(tx.enrolments_of_host("h1").await.unwrap(), [enrolment]);
    assert_eq!(tx.enrolments_of_host("h2").await.unwrap(), []);
    assert_eq!(tx.enrolment("e2").await.unwrap(), None);
    tx.replace_access_key(&[3; 32], T0).await.unwrap();
    tx.replace_access_key(&[4; 32], T0).await.unwrap();
    assert_eq!(tx.access_key().await.unwrap(), Some([4; 32]));
}

#[tokio::test]
async fn another_workspace_sees_nothing() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    tx.insert_sensor(&sensor(&house, 1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut other = house.store.begin(WorkspaceId::from_parts(T0, 2)).await.unwrap();
    assert!(other.sensors().await.unwrap().is_empty());
    assert!(other.zones().await.unwrap().is_empty());
    assert!(other.save_sensors(&[(&sensor(&house, 1).sensor, 1)]).await.is_err());
}

#[tokio::test]
async fn a_bad_row_is_named() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    tx.insert_sensor(&sensor(&house, 1)).await.unwrap();
    sqlx::query("UPDATE sensors SET report = '{\"service\":7}'").execute(tx.statement()).await.unwrap();
    let id = sensor(&house, 1).sensor.id;
    let error = tx.sensors().await.unwrap_err();
    let text = format!("row {id} of table sensors has an unreadable report; restore it from a backup");
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_keeps_nothing() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    // SQLite's own way to say that there is no room for another page.
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(tx.statement()).await.unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(limit).execute(tx.statement()).await.unwrap();
    let mut big = sensor(&house, 1);
    big.sensor.report.operating_system = "x".repeat(100_000);
    let error = tx.insert_sensor(&big).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull(_)), "{error:?}");
    drop(tx);
    let mut tx = house.store.read(house.workspace).await.unwrap();
    assert!(tx.sensors().await.unwrap().is_empty());
    drop(tx);

    // There is room again: every connection works, also the one on which the database undid the transaction by itself.
    for number in 1..=u8::try_from(2 * MAX_CONNECTIONS).unwrap() {
        let mut tx = house.store.begin(house.workspace).await.unwrap();
        let limit = sqlx::AssertSqlSafe("PRAGMA max_page_count = 1000000".to_owned());
        sqlx::query(limit).execute(tx.statement()).await.unwrap();
        tx.insert_sensor(&sensor(&house, number)).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn the_audit_log_counts_without_gaps_newest_first() {
    let house = house().await;
    let entry = |n: u128| AuditEntry {
        id: AuditId::from_parts(T0, n),
        at: T0,
        actor: "console".into(),
        action: "token.create".into(),
        subject: format!("tok {n}"),
        before: None,
        after: Some(json!({ "n": 1 })),
        reason: Some("because".into()),
    };
    for n in 1..=3 {
        let mut tx = house.store.begin(house.workspace).await.unwrap();
        tx.append_audit(&entry(n)).await.unwrap();
        if n != 2 {
            tx.commit().await.unwrap();
        }
    }
    let mut tx = house.store.read(house.workspace).await.unwrap();
    let rows = tx.audit(0, 10).await.unwrap();
    assert_eq!(rows, [AuditRow { seq: 2, entry: entry(3) }, AuditRow { seq: 1, entry: entry(1) }]);
    assert_eq!(tx.audit(1, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_sign_in_secret_works_once_and_a_new_one_replaces_it() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let user = UserRow { id: UserId::from_parts(T0, 1), name: "admin".into(), role: "x".into(), is_enabled: true };
    tx.insert_user(&user, T0).await.unwrap();
    assert_eq!(tx.users().await.unwrap(), std::slice::from_ref(&user));
    tx.replace_sign_in_secret(user.id, &[1; 32], T0).await.unwrap();
    tx.replace_sign_in_secret(user.id, &[2; 32], T0).await.unwrap();
    assert_eq!(tx.use_sign_in_secret(&[1; 32], T0).await.unwrap(), None);
    assert_eq!(tx.use_sign_in_secret(&[2; 32], T0).await.unwrap(), Some((user.id, T0)));
    assert_eq!(tx.use_sign_in_secret(&[2; 32], T0).await.unwrap(), None);
    let session = SessionRow { id: SessionId::from_parts(T0, 1), user: user.id, created_at: T0, used_at: T0 };
    tx.insert_session(&session, &[5; 32]).await.unwrap();
    let later = T0 + Duration::from_secs(5);
    tx.touch_sessions(&[(session.id, later)]).await.unwrap();
    assert_eq!(tx.sessions().await.unwrap(), [(SessionRow { used_at: later, ..session }, [5; 32])]);
    tx.delete_old_sessions(T0, later).await.unwrap();
    assert_eq!(tx.sessions().await.unwrap().len(), 1);
    tx.delete_old_sessions(T0, later + Duration::from_millis(1)).await.unwrap();
    assert!(tx.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn tokens_settings_releases_rollouts_and_issues_read_back() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let mut token = TokenRow {
        id: TokenId::from_parts(T0, 1),
        name: "ci".into(),
        role: "viewer".into(),
        scopes: vec!["fleet.read".into()],
        secret: [9; 32],
        created_at: T0,
        expires_at: Some(T0),
        revoked_at: None,
    };
    tx.insert_token(&token).await.unwrap();
    assert!(tx.revoke_token(token.id, T0).await.unwrap());
    assert!(!tx.revoke_token(token.id, T0).await.unwrap());
    token.revoked_at = Some(T0);
    assert_eq!(tx.tokens().await.unwrap(), [token]);

    tx.save_setting("pace", &1).await.unwrap();
    tx.save_setting("pace", &2).await.unwrap();
    assert_eq!(tx.setting::<i32>("pace").await.unwrap(), Some((2, 2)));

    let version = Version::new(2, 255, 1, 0);
    let text = br#"{"version":"2.255.1.0","rulesExpected":6}"#;
    let release = ReleaseRow {
        manifest: ReleaseManifest::from_slice(text).unwrap(),
        target: TargetRef { name: "sensor.cab".into(), sha256: "ab".repeat(32), length: 12 },
        published_at: T0,
        pulled_back_at: None,
    };
    tx.insert_release(&release).await.unwrap();
    assert!(matches!(tx.insert_release(&release).await.unwrap_err(), StoreError::Taken(_)));
    assert_eq!(tx.releases().await.unwrap(), [release]);

    let mut planner = Planner::default();
    let planned = planner.publish(version, T0).unwrap();
    tx.insert_rollout(&planner.rollouts[&version]).await.unwrap();
    let paused = planner.pause(version, T0).unwrap();
    let mut row = RolloutRow { rollout: planner.rollouts[&version].clone(), revision: 1 };
    tx.save_rollout(&row).await.unwrap();
    assert!(matches!(tx.save_rollout(&row).await.unwrap_err(), StoreError::Changed { table: "rollouts", .. }));
    row.revision = 2;
    assert_eq!(tx.rollouts().await.unwrap(), [row]);
    tx.append_rollout_events(std::slice::from_ref(&planned)).await.unwrap();
    tx.append_rollout_events(&[paused.clone(), planned.clone()]).await.unwrap();
    assert_eq!(tx.rollout_events(version, 10).await.unwrap(), [planned.clone(), paused, planned]);

    tx.insert_sensor(&sensor(&house, 1)).await.unwrap();
    let issue = Issue {
        status: IssueStatus::Open,
        opened_at: T0,
        changed_at: T0,
        reason: "it failed".into(),
        details: Vec::new(),
        hold: Hold::None,
    };
    let id = sensor(&house, 1).sensor.id;
    let mut row = IssueRow { id: IssueId::from_parts(T0, 1), sensor: id, kind: IssueType::SensorOutdated, issue };
    let other = IssueRow { id: IssueId::from_parts(T0, 2), kind: IssueType::MemoryLimitReached, ..row.clone() };
    tx.save_issues(&[row.clone(), other.clone()]).await.unwrap();
    row.issue.close(T0);
    tx.save_issues(std::slice::from_ref(&row)).await.unwrap();
    assert_eq!(tx.issues().await.unwrap(), [row, other]);
}

#[tokio::test]
async fn issues_of_the_workspace_read_back_and_two_sources_may_see_the_same() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let issue = Issue {
        status: IssueStatus::Open,
        opened_at: T0,
        changed_at: T0,
        reason: "no answer".into(),
        details: vec!["DC01".into(), "DC02".into()],
        hold: Hold::None,
    };
    let mut row = GlobalIssueRow {
        id: IssueId::from_parts(T0, 1),
        source: "directory".into(),
        kind: IssueType::DirectoryUnreachable,
        subject: "corp.example".into(),
        issue,
    };
    let other = GlobalIssueRow { id: IssueId::from_parts(T0, 2), source: "another".into(), ..row.clone() };
    tx.save_global_issues(&[row.clone(), other.clone()]).await.unwrap();
    row.issue.close(T0);
    tx.save_global_issues(std::slice::from_ref(&row)).await.unwrap();
    assert_eq!(tx.global_issues().await.unwrap(), [row.clone(), other]);
    let twin = GlobalIssueRow { id: IssueId::from_parts(T0, 3), ..row };
    assert!(tx.save_global_issues(&[twin]).await.is_err(), "one of a type about a subject per source");
}

#[tokio::test]
async fn rule_packages_read_back_and_are_pulled_back_once() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let text = br#"{"build":"2026-01-05T00:00:00Z","sigmaExpected":2}"#;
    let mut rules = RulePackageRow {
        manifest: RulesManifest::from_slice(text).unwrap(),
        target: TargetRef { name: "watchpost-rules.cab".into(), sha256: "cd".repeat(32), length: 12 },
        published_at: T0,
        pulled_back_at: None,
    };
    tx.insert_rule_package(&rules).await.unwrap();
    assert!(matches!(tx.insert_rule_package(&rules).await.unwrap_err(), StoreError::Taken(_)));
    let build = rules.manifest.build;
    tx.pull_back_rule_package(build, T0).await.unwrap();
    tx.pull_back_rule_package(build, T0 + Duration::from_secs(1)).await.unwrap();
    rules.pulled_back_at = Some(T0);
    assert_eq!(tx.rule_packages().await.unwrap(), [rules]);
}

#[tokio::test]
async fn a_plan_is_written_once_the_newest_is_read_and_the_oldest_go() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let text = |generation: u32| {
        format!(
            r#"{{"version":"2.255.1.0","kind":"minor","generation":{generation},"factsRevision":7,"bytes":0,"already":0,
            "madeDateTime":"2026-01-05T00:00:00Z","publishedDateTime":"2026-01-05T00:00:00Z","endsDateTime":null,
            "assumes":{{"checkIn":"PT1M","updateTakes":"PT30S","isResumed":false,"coverage":{{}}}},
            "rings":[],"steps":[],"skipped":[]}}"#
        )
    };
    let plan = |generation| serde_json::from_str::<RolloutPlan>(&text(generation)).unwrap();
    let version = plan(1).version;
    assert_eq!(tx.plan(version, None).await.unwrap(), None);
    for generation in 1..=21 {
        tx.insert_plan(&plan(generation)).await.unwrap();
    }
    assert!(matches!(tx.insert_plan(&plan(21)).await.unwrap_err(), StoreError::Taken(_)));
    assert_eq!(tx.plan(version, None).await.unwrap(), Some(plan(21)));
    assert_eq!(tx.plan(version, Some(2)).await.unwrap(), Some(plan(2)));
    assert_eq!(tx.plan(version, Some(1)).await.unwrap(), None, "twenty are kept");
}

#[tokio::test]
async fn what_is_set_about_rollouts_reads_back() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    assert_eq!(tx.rollout_settings().await.unwrap(), RolloutSettings::default());
    for keep in [1, 2] {
        let coverage = std::collections::BTreeMap::from([("hq/core".to_owned(), keep)]);
        let settings = RolloutSettings {
            max_in_flight: Some(3),
            coverage,
            restart_for_major: watchpost_core::restart::RestartSwitch::On,
        };
        tx.save_rollout_settings(&settings).await.unwrap();
        assert_eq!(tx.rollout_settings().await.unwrap(), settings);
    }
}

#[tokio::test]
async fn everything_is_there_after_the_file_was_closed() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    tx.insert_sensor(&sensor(&house, 1)).await.unwrap();
    tx.commit().await.unwrap();
    house.store.close().await;
    let again = Store::open(&house._dir.path().join("watchpost.db")).await.unwrap();
    let mut tx = again.read(house.workspace).await.unwrap();
    assert_eq!(tx.sensors().await.unwrap(), [sensor(&house, 1)]);
}
