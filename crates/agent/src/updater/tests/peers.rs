//! The failures of other updaters (safety 5.3), each with the number of its report, against a real disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use watchpost_core::updater::{Command, Event, Machine, Phase, Policy, Purpose, Record, Running, recover};

use super::host::{START, installed, release, version, write_version};
use crate::host::disk::Disk;
use crate::host::disk::tests::Power;
use crate::updater::versions::{Look, VersionError};
use crate::updater::{Installation, Layout, RecordStore};

fn host() -> (tempfile::TempDir, Layout, Installation) {
    let root = tempfile::tempdir().unwrap();
    let layout = installed(root.path(), 254, "program");
    let installation = Installation::new(&layout, Disk::default());
    (root, layout, installation)
}

fn recovered(installation: &Installation, running: Running) -> Machine {
    let (mut machine, mut commands) = installation.recover(running, START).unwrap();
    while !commands.is_empty() {
        let events: Vec<Event> =
            commands.iter().filter_map(|command| installation.carry_out(command, running).unwrap()).flatten().collect();
        commands = events.into_iter().flat_map(|event| machine.handle(event, START)).collect();
    }
    machine
}

#[test]
fn elastic_agent_14699_garbage_collection_never_deletes_what_runs_is_linked_or_is_kept() {
    let (_root, layout, installation) = host();
    for minor in [251, 252, 253, 255] {
        write_version(&layout.version(release(minor)), minor, "program");
    }
    fs::create_dir(layout.version(release(250))).unwrap();
    let running = Running::Release(release(253));
    let removed = installation.versions.collect(&BTreeSet::from([release(252)]), running).unwrap();
    assert_eq!(BTreeSet::from_iter(removed), BTreeSet::from([release(250), release(251), release(255)]));
    for kept in [252, 253, 254] {
        installation.versions.verify(release(kept), Look::Full).unwrap();
    }
    assert!(installation.versions.collect(&BTreeSet::new(), Running::Unknown).unwrap().is_empty());
    assert_eq!(installation.versions.view(Running::Nothing).unwrap().versions.len(), 3);
}

#[test]
fn elastic_agent_9099_a_record_full_of_zeros_is_made_up_from_the_disk() {
    let (_root, layout, installation) = host();
    for slot in layout.record_slots() {
        fs::write(slot, vec![0; 65_536]).unwrap();
    }
    let machine = recovered(&installation, Running::Release(release(254)));
    assert_eq!(machine.record().committed, Some(release(254)));
    assert!(machine.record().derived_from_disk);
    assert_eq!(installation.record().unwrap().committed, Some(release(254)), "and written anew");
}

#[test]
fn elastic_agent_14194_a_damaged_record_blocks_no_start() {
    let (_root, layout, installation) = host();
    let slot = layout.record_slots()[0].clone();
    let mut bytes = fs::read(&slot).unwrap();
    bytes[70] ^= 0xff;
    fs::write(&slot, bytes).unwrap();
    assert_eq!(recovered(&installation, Running::Nothing).record().committed, Some(release(254)));
}

#[test]
fn elastic_agent_14239_the_link_is_never_pointed_at_a_folder_that_is_gone_or_altered() {
    let (_root, layout, installation) = host();
    assert!(matches!(installation.versions.switch_to(release(255)), Err(VersionError::Missing { .. })));
    let folder = layout.version(release(255));
    write_version(&folder, 255, "program");
    fs::write(folder.join("rules/a.yml"), "title: 266\n").unwrap();
    assert!(matches!(installation.versions.switch_to(release(255)), Err(VersionError::Altered { .. })));
    assert_eq!(fs::read_link(layout.current()).unwrap(), Layout::link_target(release(254)));
}

#[test]
fn elastic_agent_2264_a_link_to_a_deleted_folder_is_pointed_at_what_is_there() {
    let (_root, layout, installation) = host();
    Disk::default().point(&layout.current(), &Layout::link_target(release(255))).unwrap();
    for record in [true, false] {
        if !record {
            layout.record_slots().iter().for_each(|slot| fs::write(slot, "").unwrap());
        }
        let machine = recovered(&installation, Running::Nothing);
        assert_eq!(machine.current(), Some(release(254)));
        assert_eq!(fs::read_link(layout.current()).unwrap(), Layout::link_target(release(254)));
    }
}

#[test]
fn a_link_that_leads_out_of_the_host_names_no_release() {
    let (_root, layout, installation) = host();
    fs::remove_file(layout.current()).unwrap();
    symlink("/etc", layout.current()).unwrap();
    assert_eq!(installation.versions.view(Running::Nothing).unwrap().link, None);
    assert_eq!(recovered(&installation, Running::Nothing).current(), Some(release(254)));
}

#[test]
fn a_decision_to_go_back_is_on_the_disk_before_the_restart_that_might_kill_who_decided() {
    // elastic-agent #14699, second part.
    let (_root, layout, installation) = host();
    write_version(&layout.version(release(255)), 255, "program");
    let phase = Phase::Trial { from: Some(release(254)), to: release(255), switched_at: START, starts: 1, failed: 1 };
    let store = RecordStore::new(&layout, Disk::default());
    store.write(&Record { phase, ..Record::committed(release(254)) }).unwrap();
    Disk::default().point(&layout.current(), &Layout::link_target(release(255))).unwrap();
    let (mut machine, _) = installation.recover(Running::Release(release(255)), START).unwrap();
    let death = watchpost_core::updater::Death::Ended("code 1".into());
    let commands = machine.handle(Event::SensorDied(death), START);
    let position = |wanted: fn(&Command) -> bool| commands.iter().position(wanted).unwrap();
    let persisted = position(|command| {
        matches!(
            command,
            Command::Persist(Record { phase: Phase::Switching { purpose: Purpose::GoBack { .. }, .. }, .. })
        )
    });
    assert!(persisted < position(|command| matches!(command, Command::SwitchTo(_))), "{commands:?}");
}

#[test]
fn fleetdm_9053_presence_on_the_disk_is_not_taken_for_health() {
    let (_root, layout, installation) = host();
    let folder = layout.version(release(253));
    write_version(&folder, 253, "program");
    fs::write(folder.join("bin/watchpost-sensor"), "PROGRAM").unwrap();
    let staging = installation.versions.staging().unwrap();
    write_version(&staging, 253, "program");
    installation.versions.install(&staging, release(253)).unwrap();
    installation.versions.verify(release(253), Look::Full).unwrap();
}

#[test]
fn rauc_459_wrong_bytes_after_a_successful_unpack_are_found() {
    let (_root, layout, installation) = host();
    let staging = installation.versions.staging().unwrap();
    write_version(&staging, 255, "program");
    fs::write(staging.join("rules/a.yml"), "title: 2x5\n").unwrap();
    assert!(matches!(installation.versions.install(&staging, release(255)), Err(VersionError::Altered { .. })));
    assert!(!layout.version(release(255)).exists());
}

#[test]
fn a_file_that_nobody_signed_makes_a_version_unfit() {
    let (_root, layout, installation) = host();
    fs::write(layout.version(release(254)).join("rules/z.yml"), "title: mine\n").unwrap();
    for look in [Look::Cheap, Look::Full] {
        assert!(matches!(installation.versions.verify(release(254), look), Err(VersionError::Altered { .. })));
    }
    let (_root, layout, installation) = host();
    let rule = layout.version(release(254)).join("rules/a.yml");
    fs::remove_file(&rule).unwrap();
    symlink("/etc/hostname", &rule).unwrap();
    assert!(matches!(installation.versions.verify(release(254), Look::Cheap), Err(VersionError::Altered { .. })));
}

#[test]
fn systemd_41502_what_a_cancelled_update_left_is_swept_at_the_next_start() {
    let (_root, layout, installation) = host();
    let staging = installation.versions.staging().unwrap();
    write_version(&staging, 255, "program");
    fs::write(layout.downloads().join(".partial-0011223344556677"), "half").unwrap();
    symlink("versions/x", layout.root().join(".link-0011223344556677")).unwrap();
    recovered(&installation, Running::Nothing);
    assert!(!staging.exists());
    assert_eq!(fs::read_dir(layout.downloads()).unwrap().count(), 0);
    assert!(!layout.root().join(".link-0011223344556677").is_symlink());
}

#[test]
fn a_garbage_collection_cut_half_way_never_leaves_half_a_version_that_looks_whole() {
    for cut in 0..5 {
        let (_root, layout, _) = host();
        write_version(&layout.version(release(253)), 253, "program");
        let failing = Installation::new(&layout, Disk { power: Some(Power::failing_at(cut)) });
        let _ = failing.versions.collect(&BTreeSet::new(), Running::Nothing);
        let sound = Installation::new(&layout, Disk::default());
        for release in sound.versions.view(Running::Nothing).unwrap().versions {
            sound.versions.verify(release, Look::Full).unwrap();
        }
    }
}

#[test]
fn a_record_from_an_older_updater_still_reads() {
    let text = r#"{"committed":"2.254.1.0-000000fe","phase":{"phase":"committed"}}"#;
    let record: Record = serde_json::from_str(text).unwrap();
    let (_root, _layout, installation) = host();
    let disk = installation.versions.view(Running::Nothing).unwrap();
    let (machine, _) = recover(Some(record), &disk, Policy::default(), START);
    assert_eq!(machine.report().version, Some(version(254)));
}

#[tokio::test]
async fn a_process_that_is_no_sensor_of_this_host_is_never_ended_whatever_lies_in_the_sensors_folder() {
    let root = tempfile::tempdir().unwrap();
    let layout = installed(root.path(), 254, "");
    // This very process holds the lock, answers on the socket and stands in the lock file: were it ended, so was the test.
    let _held = crate::host::lock::take(&layout.sensor_lock()).unwrap().unwrap();
    fs::write(layout.sensor_lock(), std::process::id().to_string()).unwrap();
    let _listener = crate::local::listen(root.path()).unwrap();
    let (heard, _) = tokio::sync::mpsc::channel(1);
    let mut supervisor =
        crate::updater::supervisor::Supervisor::new(layout, Vec::new(), heard, tokio::sync::watch::Sender::new(None));
    assert_eq!(supervisor.running(), Running::Unknown);
    supervisor.stop().await;
}
