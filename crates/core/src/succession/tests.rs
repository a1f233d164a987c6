//! One updater after the other: who is started, who is given up, and that a host is never without one.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const INSTALLED: &str = "00";

fn program(minor: u32) -> Program {
    Program { version: Version::new(2, minor, 1, 0), sha256: format!("{minor:064x}") }
}

fn on_trial(minor: u32) -> Succession {
    let mut succession = Succession::default();
    succession.begin(program(minor));
    succession
}

/// Programs of this test are whole unless it is said.
fn whole(_: &Program) -> bool {
    true
}

#[test]
fn a_successor_that_is_answered_stays_and_what_ran_before_is_kept() {
    let mut succession = on_trial(1);
    assert_eq!(succession.next(whole, NOW), Some(program(1)));
    succession.proved(&program(1).sha256);
    assert_eq!((succession.settled.clone(), succession.previous.clone()), (Some(program(1)), None));
    assert_eq!(succession.next(whole, NOW), Some(program(1)));
    succession.begin(program(2));
    assert_eq!(succession.next(whole, NOW), Some(program(2)));
    succession.proved(&program(2).sha256);
    assert_eq!((succession.settled.clone(), succession.previous), (Some(program(2)), Some(program(1))));
}

#[test]
fn three_starts_without_proof_bring_back_what_ran_before_and_it_is_never_tried_again() {
    let mut succession = Succession { settled: Some(program(1)), ..on_trial(2) };
    for _ in 0..TRIAL_STARTS {
        assert_eq!(succession.next(whole, NOW), Some(program(2)));
        succession.ended(End::Itself("exit code 1".to_owned()));
    }
    assert_eq!(succession.next(whole, NOW), Some(program(1)));
    assert_eq!(succession.refused().map(|tried| tried.reason.as_str()), Some("it was started 3 times: exit code 1"));
    assert!(!succession.wants(&program(2), &program(1).sha256));
    assert!(succession.wants(&program(3), &program(1).sha256));
    for is_answered in [false, true] {
        succession.first_check_in(is_answered);
        assert!(!succession.wants(&program(2), &program(1).sha256), "it has crashed, whatever the server did");
    }
}

#[test]
fn a_start_that_takes_the_host_down_counts_and_one_that_is_stopped_does_not() {
    let mut succession = on_trial(1);
    for _ in 0..10 {
        assert_eq!(succession.next(whole, NOW), Some(program(1)));
        succession.stopped();
    }
    // Nobody saw how these ended.
    for _ in 0..TRIAL_STARTS {
        assert_eq!(succession.next(whole, NOW), Some(program(1)));
    }
    assert_eq!(succession.next(whole, NOW), None, "what was installed");
    assert!(succession.refused().is_some());
}

#[test]
fn an_unreachable_server_is_no_evidence_against_a_successor() {
    let given_up = || {
        let mut succession = on_trial(1);
        for _ in 0..TRIAL_STARTS {
            let _ = succession.next(whole, NOW);
            succession.ended(End::Unanswered);
        }
        assert_eq!(succession.next(whole, NOW), None);
        assert_eq!(succession.refused(), None, "not before the verdict stands");
        assert!(!succession.wants(&program(1), INSTALLED), "nor is it tried again before");
        succession
    };
    let mut outage = given_up();
    outage.first_check_in(false);
    assert!(outage.wants(&program(1), INSTALLED), "whoever runs instead cannot reach the server either");
    let mut fault = given_up();
    fault.first_check_in(true);
    fault.first_check_in(false);
    assert!(!fault.wants(&program(1), INSTALLED), "the same server answers whoever runs instead");
    assert!(fault.refused().is_some());
}

#[test]
fn a_damaged_file_is_passed_over_for_the_next_best_down_to_what_was_installed() {
    let mut succession = Succession { settled: Some(program(2)), previous: Some(program(1)), ..on_trial(3) };
    let damaged = |bad: &'static [u32]| move |of: &Program| !bad.iter().any(|minor| *of == program(*minor));
    assert_eq!(succession.clone().next(damaged(&[]), NOW), Some(program(3)));
    assert_eq!(succession.clone().next(damaged(&[3]), NOW), Some(program(2)));
    assert_eq!(succession.clone().next(damaged(&[2, 3]), NOW), Some(program(1)));
    assert_eq!(succession.next(damaged(&[1, 2, 3]), NOW), None);
    assert_eq!(succession.refused().map(|tried| tried.reason.as_str()), Some("its file is damaged"));
}

#[test]
fn nobody_takes_the_place_of_itself_or_while_another_is_on_trial() {
    let succession = on_trial(1);
    assert!(!succession.wants(&program(2), INSTALLED));
    assert!(!Succession::default().wants(&program(1), &program(1).sha256));
    assert!(Succession::default().wants(&program(1), INSTALLED));
}

#[test]
fn never_in_one_step_with_the_sensor_and_never_unheard() {
    let all = Standing { is_of_committed: true, is_idle: true, sensor_runs: true, is_answered: true };
    assert!(all.allows());
    let but = [
        Standing { is_of_committed: false, ..all },
        Standing { is_idle: false, ..all },
        Standing { sensor_runs: false, ..all },
        Standing { is_answered: false, ..all },
    ];
    assert!(but.into_iter().all(|standing| !standing.allows()));
}

#[test]
fn what_is_remembered_has_a_bound_and_files_in_use_are_named() {
    let mut succession = Succession::default();
    for minor in 0..100 {
        succession.begin(program(minor));
        let _ = succession.next(|_| false, NOW);
    }
    assert_eq!(succession.given_up.len(), REMEMBERED);
    assert_eq!(succession.given_up.last().map(|tried| tried.program.clone()), Some(program(99)));
    let full = Succession { settled: Some(program(2)), previous: Some(program(1)), ..on_trial(3) };
    assert_eq!(full.in_use().cloned().collect::<Vec<_>>(), [program(2), program(1), program(3)]);
    assert_eq!(program(255).file_name().as_deref(), Some("watchpost-updater-2.255.1.0-00000000"));
    assert_eq!(Program { sha256: "../x".to_owned(), ..program(1) }.file_name(), None);
}

/// What may happen to a host between two looks of its launcher.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Crashes,
    HangsUnanswered,
    PowerCut,
    Proves,
    IsStopped,
}

#[test]
fn however_starts_end_a_trial_is_over_after_three_that_were_not_stopped() {
    let deeds = [Deed::Crashes, Deed::HangsUnanswered, Deed::PowerCut, Deed::Proves, Deed::IsStopped];
    // Every story of five deeds: 3,125.
    for story in 0..5_usize.pow(5) {
        let mut succession = Succession { settled: Some(program(1)), ..on_trial(2) };
        let mut counted = 0;
        for step in 0..5 {
            let started = succession.next(whole, NOW);
            let is_trial = started == Some(program(2)) && succession.trial.is_some();
            assert!(started.is_some(), "story {story}: a host without an updater");
            assert!(!is_trial || counted < TRIAL_STARTS, "story {story}: a fourth start");
            let deed = deeds[story / 5_usize.pow(step) % 5];
            counted += u32::from(is_trial && !matches!(deed, Deed::IsStopped));
            match deed {
                Deed::Crashes => succession.ended(End::Itself("exit code 1".to_owned())),
                Deed::HangsUnanswered => succession.ended(End::Unanswered),
                Deed::PowerCut => {}
                Deed::Proves => succession.proved(&started.unwrap().sha256),
                Deed::IsStopped => succession.stopped(),
            }
            if succession.settled == Some(program(2)) {
                assert_eq!(succession.previous, Some(program(1)));
            }
        }
    }
}
