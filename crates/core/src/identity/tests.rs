//! Single steps of both machines, and the instants between them.

use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_767_571_200_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MOMENT: Duration = Duration::from_millis(1);

fn pin(number: u8) -> Pin {
    Pin::from([number; 32])
}

fn sensor(number: u128) -> SensorId {
    SensorId::from_parts(NOW, number)
}

fn policy() -> CertificatePolicy {
    CertificatePolicy::default()
}

/// A sensor whose certificate 1 was replaced by 2 at `NOW`.
fn rotated() -> Pins {
    let mut pins = Pins::enrolled(pin(1), NOW - 700 * DAY);
    assert_eq!(pins.propose(pin(1), pin(2), NOW), Ok(true));
    assert!(pins.confirm(pin(2), NOW));
    pins
}

#[test]
fn a_pin_reads_back_and_nothing_else_does() {
    let text = pin(0xab).to_string();
    assert_eq!(text, "ab".repeat(32));
    assert_eq!(text.parse(), Ok(pin(0xab)));
    assert_eq!(serde_json::from_str::<Pin>(&serde_json::to_string(&pin(7)).unwrap()).unwrap(), pin(7));
    for bad in ["", "ab", &"zz".repeat(32), &"ab".repeat(33)] {
        assert!(bad.parse::<Pin>().is_err(), "{bad}");
    }
    assert!(Role::ALL.into_iter().all(|role| Role::from_word(role.word()) == Some(role)));
}

#[test]
fn a_renewal_begins_sixty_days_before_the_end_spread_over_fourteen() {
    // 730 days of validity less 60: between day 670 and day 684 of its life.
    let mut days = [0_u32; 14];
    for number in 0..14_000 {
        let begins = renewal_begins(sensor(number), NOW, &policy()).since(NOW);
        assert!(begins >= 670 * DAY && begins < 684 * DAY, "{begins:?}");
        let day = usize::try_from((begins - 670 * DAY).as_millis() / DAY.as_millis()).unwrap();
        days[day] += 1;
    }
    // 1,000 on each day, give or take five standard deviations of √(14,000 · 1/14 · 13/14) = 30.5.
    assert!(days.iter().all(|count| (848..=1152).contains(count)), "{days:?}");
}

#[test]
fn it_should_be_renewed_from_its_beginning_on_and_from_an_order_on_until_that_was_done() {
    let pins = Pins::enrolled(pin(1), NOW);
    let begins = renewal_begins(sensor(7), NOW, &policy());
    let should = |pins: &Pins, ordered, now| pins.should_renew(sensor(7), ordered, now, &policy());
    assert!(!should(&pins, None, begins - MOMENT) && should(&pins, None, begins));
    assert!(should(&pins, None, NOW + 3000 * DAY), "one that has expired is still renewed");
    let ordered = Some(NOW + DAY);
    assert!(should(&pins, ordered, NOW + DAY));
    let mut after = pins;
    after.propose(pin(1), pin(2), NOW).unwrap();
    assert!(should(&after, ordered, NOW + DAY), "a proposal is not yet another certificate");
    after.confirm(pin(2), NOW + 2 * DAY);
    assert!(!should(&after, ordered, NOW + 2 * DAY));
}

#[test]
fn who_presents_what_may_do_what() {
    let mut pins = Pins::enrolled(pin(1), NOW);
    pins.propose(pin(1), pin(2), NOW).unwrap();
    let admit = |pins: &Pins, number, now| pins.admit(pin(number), now, &policy());
    assert_eq!(admit(&pins, 1, NOW), Some(Admission::Full));
    assert_eq!(admit(&pins, 2, NOW), Some(Admission::ConfirmOnly));
    assert_eq!(admit(&pins, 3, NOW), None);
    // 730 days, and 90 more.
    assert_eq!(admit(&pins, 1, NOW + 820 * DAY - MOMENT), Some(Admission::Full));
    assert_eq!(admit(&pins, 1, NOW + 820 * DAY), Some(Admission::RenewOnly));
    pins.confirm(pin(2), NOW + 820 * DAY);
    assert_eq!(admit(&pins, 1, NOW + 820 * DAY), Some(Admission::RenewOnly), "the one before grows no younger");
    assert_eq!(admit(&pins, 2, NOW + 819 * DAY), Some(Admission::Full), "counted from when it was proposed");
}

#[test]
fn proposals_and_confirmations_may_be_repeated_and_only_the_last_proposal_counts() {
    let mut pins = Pins::enrolled(pin(1), NOW);
    assert_eq!(pins.propose(pin(1), pin(2), NOW), Ok(true));
    assert_eq!(pins.propose(pin(1), pin(2), NOW + DAY), Ok(false));
    assert_eq!(pins.propose(pin(2), pin(3), NOW), Err(ProposalRefused::Unconfirmed));
    assert_eq!(pins.propose(pin(9), pin(3), NOW), Err(ProposalRefused::Unknown));
    assert_eq!(pins.propose(pin(1), pin(3), NOW + PROPOSALS_EVERY - MOMENT), Err(ProposalRefused::TooSoon));
    assert_eq!(pins.propose(pin(1), pin(3), NOW + PROPOSALS_EVERY), Ok(true));
    assert_eq!(pins.role(pin(2)), None, "another one was proposed in its place");
    assert!(!pins.confirm(pin(2), NOW) && pins.confirm(pin(3), NOW + DAY) && !pins.confirm(pin(3), NOW + DAY));
    assert_eq!(pins.propose(pin(3), pin(1), NOW), Ok(false), "what is known stays what it is");
    let roles = [pin(3), pin(1)].map(|pin| pins.role(pin));
    assert_eq!(roles, [Some(Role::Active), Some(Role::Retiring)]);
}

#[test]
fn the_one_before_goes_a_week_after_the_next_was_first_used_and_only_when_that_is_used_again() {
    let pins = rotated();
    let may = |by, now| pins.may_remove_previous(pin(by), now, &policy());
    assert!(!may(2, NOW + 7 * DAY - MOMENT));
    assert!(may(2, NOW + 7 * DAY));
    assert!(!may(1, NOW + 70 * DAY), "the one before was used: the host may hold nothing else");
    let mut after = pins.clone();
    after.remove_previous();
    assert!(after.are_settled() && !after.may_remove_previous(pin(2), NOW + 70 * DAY, &policy()));
}

#[test]
fn a_disk_that_keeps_losing_certificates_does_not_grow_the_list_for_ever() {
    let mut pins = Pins::enrolled(pin(0), NOW);
    for number in 1..=8 {
        assert_eq!(pins.propose(pin(0), pin(number), NOW), Ok(true));
        assert!(pins.confirm(pin(number), NOW));
    }
    assert_eq!(pins.propose(pin(0), pin(9), NOW), Err(ProposalRefused::TooMany));
    assert_eq!(pins.rows().len(), 1 + MAX_RETIRING);
}

#[test]
fn rows_read_back_and_others_are_refused() {
    let mut pins = rotated();
    pins.propose(pin(2), pin(3), NOW + DAY).unwrap();
    let rows = pins.rows();
    assert_eq!(Pins::of_rows(&rows), Ok(pins));
    assert_eq!(Pins::of_rows(&[]), Err(PinsError { active: 0, pending: 0 }));
    assert_eq!(Pins::of_rows(&[rows[0], rows[0]]), Err(PinsError { active: 2, pending: 0 }));
}

/// The host in these slots hears this, over `by`.
fn told(slots: Slots, by: u8, roles: &[(u8, Role)], renew: bool) -> Step {
    let pins = roles.iter().map(|(number, role)| (pin(*number), *role)).collect();
    Machine::open(slots).told(pin(by), &Standing { pins, renew })
}

#[test]
fn a_rotation_on_the_host_step_by_step() {
    use Role::{Active, Pending, Retiring};
    let (one, made) = (Slots::only(pin(1)), Slots { next: Some(pin(2)), ..Slots::only(pin(1)) });
    let both = Slots { prev: Some(pin(1)), ..Slots::only(pin(2)) };
    assert_eq!(told(one, 1, &[(1, Active)], false), Step::Rest);
    assert_eq!(told(one, 1, &[(1, Active)], true), Step::Make);
    assert_eq!(told(made, 1, &[(1, Active)], true), Step::Propose { over: pin(1), pin: pin(2) });
    assert_eq!(told(made, 1, &[(1, Active), (2, Pending)], true), Step::Confirm { with: pin(2) });
    assert_eq!(told(made, 2, &[(2, Active), (1, Retiring)], false), Step::Keep(both));
    assert_eq!(told(made, 1, &[(2, Active), (1, Retiring)], false), Step::Keep(both), "the answer was lost");
    assert_eq!(told(both, 2, &[(2, Active), (1, Retiring)], true), Step::Rest, "one rotation at a time");
    assert_eq!(told(both, 2, &[(2, Active)], false), Step::Keep(Slots::only(pin(2))));
}

#[test]
fn a_restored_control_plane_is_taught_what_it_forgot() {
    use Role::{Active, Pending, Retiring};
    let both = Slots { prev: Some(pin(1)), ..Slots::only(pin(2)) };
    let mut host = Machine::open(both);
    assert_eq!(host.refused(pin(2)), Step::Ask { by: pin(1) });
    let standing = |pins: &[(u8, Role)]| Standing {
        pins: pins.iter().map(|(number, role)| (pin(*number), *role)).collect(),
        renew: false,
    };
    assert_eq!(host.told(pin(1), &standing(&[(1, Active)])), Step::Propose { over: pin(1), pin: pin(2) });
    assert_eq!(host.presents(), pin(1), "it checks in with what is accepted meanwhile");
    assert_eq!(host.told(pin(1), &standing(&[(1, Active), (2, Pending)])), Step::Confirm { with: pin(2) });
    assert_eq!(host.told(pin(2), &standing(&[(2, Active), (1, Retiring)])), Step::Rest);
    assert_eq!(host.presents(), pin(2));
}

#[test]
fn who_holds_only_what_retires_makes_another_one_at_once() {
    use Role::{Active, Retiring};
    assert_eq!(told(Slots::only(pin(1)), 1, &[(2, Active), (1, Retiring)], false), Step::Make);
}

#[test]
fn refused_by_all_means_trouble_and_gives_nothing_up() {
    let slots = Slots { cur: pin(1), next: Some(pin(2)), prev: Some(pin(3)) };
    let mut host = Machine::open(slots);
    assert_eq!(host.refused(pin(1)), Step::Ask { by: pin(2) });
    assert_eq!(host.refused(pin(2)), Step::Ask { by: pin(3) });
    assert_eq!(host.refused(pin(3)), Step::LockedOut);
    assert_eq!((host.slots(), host.presents()), (slots, pin(1)));
    assert_eq!(host.refused(pin(1)), Step::Ask { by: pin(2) }, "the next time they are all tried again");
}

#[test]
fn an_order_on_the_host_holds_until_the_certificate_it_names_was_replaced() {
    let mut host = Machine::open(Slots::only(pin(1)));
    let alone = |number| Standing { pins: vec![(pin(number), Role::Active)], renew: false };
    assert!(!host.is_under_way());
    host.order(Some(pin(1)));
    assert!(host.is_under_way());
    assert_eq!(host.told(pin(1), &alone(1)), Step::Make);
    host.order(Some(pin(0)));
    assert_eq!(host.told(pin(1), &alone(1)), Step::Rest, "another one was meant");
}
