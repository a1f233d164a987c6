//! Deaths between the alerts and the place, torn lines, refused writes: nothing lost, nothing twice.

use std::fs;

use watchpost_core::time::Timestamp;

use super::*;
use crate::engine::Match;
use crate::sensor::alert::EventSummary;
use crate::sensor::line::Origin;

fn alert(offset: u64) -> Raised {
    let rule = Match {
        rule_id: "r".into(),
        rule_title: "R".into(),
        level: "medium".into(),
        rule_file: "r.yml".into(),
        correlation: None,
    };
    let at = Timestamp::from_millis(0);
    let alert = Alert { id: format!("id-{offset}"), at, rule, event: EventSummary::default() };
    Raised { origin: Origin::Log { epoch: 0, inode: 1, offset }, alert }
}

fn place(offset: u64) -> Place {
    Place { inode: 1, offset, ..Place::default() }
}

fn ids(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("alerts.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str::<Alert>(line).unwrap().id).collect()
}

#[test]
fn a_death_between_alerts_and_place_repeats_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    sink.commit(&[alert(1)], Some(&place(10)), None, true).unwrap();
    let settled = fs::read(folder.path().join("cursor")).unwrap();
    sink.commit(&[alert(10), alert(11)], Some(&place(20)), None, true).unwrap();
    drop(sink);
    // As if the process had died before the second place was written, and while a third alert was.
    fs::write(folder.path().join("cursor"), settled).unwrap();
    let mut alerts = fs::OpenOptions::new().append(true).open(folder.path().join("alerts.jsonl")).unwrap();
    alerts.write_all(b"{\"id\":\"id-12\",\"at\":\"19").unwrap();

    let mut sink = Sink::open(folder.path()).unwrap();
    assert_eq!(sink.place(), Some(place(10)));
    assert_eq!(sink.alert_count(), 3);
    // The replay brings the second batch in two pieces, with a second death between them.
    sink.commit(&[alert(10)], Some(&place(11)), None, false).unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    assert_eq!((sink.place(), sink.alert_count()), (Some(place(11)), 3));
    sink.commit(&[alert(11), alert(12)], Some(&place(30)), None, false).unwrap();
    sink.commit(&[], Some(&place(30)), None, true).unwrap();
    assert_eq!(ids(folder.path()), ["id-1", "id-10", "id-11", "id-12"]);
    assert_eq!(Sink::open(folder.path()).unwrap().alert_count(), 4);
}

#[test]
fn counts_belong_to_the_place_that_was_settled_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    assert!(sink.counts().is_empty());
    sink.commit(&[], Some(&place(10)), Some(b"ten"), true).unwrap();
    let settled = fs::read(folder.path().join("cursor")).unwrap();
    sink.commit(&[alert(10)], Some(&place(20)), Some(b"twenty"), true).unwrap();
    assert_eq!(Sink::open(folder.path()).unwrap().counts(), b"twenty");
    // As if the process had died after the second counts were written, and before the second place was.
    fs::write(folder.path().join("cursor"), settled).unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    assert_eq!((sink.place(), sink.counts()), (Some(place(10)), b"ten".to_vec()));
    sink.commit(&[alert(10)], Some(&place(20)), Some(b"twenty"), true).unwrap();
    // Unchanged counts stay with the next place.
    sink.commit(&[], Some(&place(30)), None, true).unwrap();
    let sink = Sink::open(folder.path()).unwrap();
    assert_eq!((sink.place(), sink.counts()), (Some(place(30)), b"twenty".to_vec()));
    assert_eq!(ids(folder.path()), ["id-10"]);
    let files = fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("correlation"));
    assert_eq!(files.count(), 2, "two files take turns");
}

#[test]
fn damaged_counts_count_as_none() {
    let folder = tempfile::tempdir().unwrap();
    Sink::open(folder.path()).unwrap().commit(&[], Some(&place(10)), Some(b"ten"), true).unwrap();
    fs::write(folder.path().join("correlation.1"), b"tem").unwrap();
    let sink = Sink::open(folder.path()).unwrap();
    assert_eq!((sink.place(), sink.counts().len()), (Some(place(10)), 0));
}

#[test]
fn a_lost_or_garbled_cursor_is_rebuilt_from_the_alerts() {
    let folder = tempfile::tempdir().unwrap();
    Sink::open(folder.path()).unwrap().commit(&[alert(1), alert(2)], Some(&place(9)), None, true).unwrap();
    fs::write(folder.path().join("cursor"), [0, 159, 146]).unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    assert_eq!((sink.place(), sink.alert_count()), (None, 2));
    sink.commit(&[alert(1), alert(2), alert(3)], Some(&place(12)), None, true).unwrap();
    assert_eq!(ids(folder.path()), ["id-1", "id-2", "id-3"]);
}

#[test]
fn what_is_kept_of_alerts_is_bounded_and_the_count_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    sink.rotate_at = 400;
    for number in 0..40 {
        sink.commit(&[alert(number)], Some(&place(number)), None, true).unwrap();
    }
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("alerts"))
        .collect();
    files.sort();
    assert_eq!(files, ["alerts.1.jsonl", "alerts.2.jsonl", "alerts.3.jsonl", "alerts.jsonl"]);
    assert_eq!(Sink::open(folder.path()).unwrap().alert_count(), 40);
    assert_eq!(ids(folder.path()).last().unwrap(), "id-39");
}

#[test]
fn a_death_just_after_the_file_was_set_aside_counts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    sink.commit(&[alert(1), alert(2)], Some(&place(9)), None, true).unwrap();
    sink.rotate().unwrap();
    drop(sink);
    let mut sink = Sink::open(folder.path()).unwrap();
    assert_eq!((sink.place(), sink.alert_count()), (Some(place(9)), 2));
    sink.commit(&[alert(3)], Some(&place(12)), None, true).unwrap();
    assert_eq!(Sink::open(folder.path()).unwrap().alert_count(), 3);
}

#[test]
fn a_refused_place_can_be_tried_again_without_a_second_alert() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    fs::create_dir(folder.path().join("cursor.tmp")).unwrap();
    sink.commit(&[alert(1)], Some(&place(9)), None, true).unwrap_err();
    fs::remove_dir(folder.path().join("cursor.tmp")).unwrap();
    sink.commit(&[alert(1)], Some(&place(9)), None, true).unwrap();
    assert_eq!(ids(folder.path()), ["id-1"]);
    assert_eq!(Sink::open(folder.path()).unwrap().alert_count(), 1);
}

#[test]
fn a_full_disk_leaves_no_half_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = Sink::open(folder.path()).unwrap();
    let real = std::mem::replace(&mut sink.file, fs::File::options().write(true).open("/dev/full").unwrap());
    let refused = sink.commit(&[alert(1)], Some(&place(9)), None, true).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    assert_eq!(sink.alert_count(), 0);
    sink.file = real;
    sink.commit(&[alert(1)], Some(&place(9)), None, true).unwrap();
    assert_eq!(ids(folder.path()), ["id-1"]);
}
