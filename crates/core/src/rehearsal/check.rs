//! What a scenario must hold beyond its form: one sensor per name, windows that end after they begin, known names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::scenario::{Deed, Scenario, ScenarioError, SensorSpec, Step, Window};
use crate::health::IssueType;
use crate::version::Version;

/// The longest scenario: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// The shortest time between two check-ins.
const SHORTEST_CHECK_IN: Duration = Duration::from_secs(1);
/// Most sensors of a scenario.
const MOST_SENSORS: usize = 100_000;

fn refuse(path: String, why: impl Into<String>) -> Result<(), ScenarioError> {
    Err(ScenarioError::Meaning { path, why: why.into() })
}

/// Refuses a scenario whose parts do not fit together.
pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    if scenario.until.0 > LONGEST {
        refuse("until".to_owned(), "a scenario lasts ten years at most")?;
    }
    if scenario.sensors.len() > MOST_SENSORS {
        refuse("sensors".to_owned(), format!("a scenario has {MOST_SENSORS} sensors at most"))?;
    }
    policy(scenario)?;
    releases(scenario)?;
    let mut names = BTreeSet::new();
    for (index, sensor) in scenario.sensors.iter().enumerate() {
        let path = format!("sensors[{index}]");
        if !names.insert(sensor.name.as_str()) {
            refuse(format!("{path}.name"), format!("there are two sensors named “{}”; rename one", sensor.name))?;
        }
        behaviour(sensor, &path)?;
    }
    let published = scenario.releases.iter().map(|release| (release.version, release.at.0)).collect();
    for (index, step) in scenario.operator.iter().enumerate() {
        operator(step, &format!("operator[{index}]"), &names, &published)?;
    }
    Ok(())
}

fn policy(scenario: &Scenario) -> Result<(), ScenarioError> {
    let policy = &scenario.policy;
    if policy.check_in.is_some_and(|every| every.0 < SHORTEST_CHECK_IN) {
        refuse("policy.checkIn".to_owned(), "hosts check in once a second at most; write PT1S or more")?;
    }
    if policy.max_in_flight == Some(0) {
        refuse("policy.maxInFlight".to_owned(), "with 0 no sensor would ever start; write 1 or more")?;
    }
    if policy.clearance_deadline.is_some_and(|deadline| deadline.0.is_zero()) {
        refuse(
            "policy.clearanceDeadline".to_owned(),
            "without time for clearance every update fails; write more than 0",
        )?;
    }
    if policy.failure_budget.percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
        refuse("policy.failureBudget.percent".to_owned(), "a share lies between 0 and 100")?;
    }
    let mut zones = BTreeSet::new();
    for (index, coverage) in policy.coverage.iter().enumerate() {
        if !zones.insert(&coverage.zone) {
            let why = format!("the zone “{}” is declared twice; keep one", coverage.zone);
            refuse(format!("policy.coverage[{index}].zone"), why)?;
        }
    }
    Ok(())
}

fn releases(scenario: &Scenario) -> Result<(), ScenarioError> {
    let mut versions = BTreeSet::new();
    for (index, history) in scenario.catalogue.iter().enumerate() {
        if !versions.insert(history.version) {
            let why = format!("{} is in the catalogue twice; keep one", history.version);
            refuse(format!("catalogue[{index}].version"), why)?;
        }
    }
    for (index, release) in scenario.releases.iter().enumerate() {
        if !versions.insert(release.version) {
            let why = format!("{} was published before; a release has a version of its own", release.version);
            refuse(format!("releases[{index}].version"), why)?;
        }
    }
    Ok(())
}

fn behaviour(sensor: &SensorSpec, path: &str) -> Result<(), ScenarioError> {
    let behaviour = &sensor.behaviour;
    let named = [
        ("offline", &behaviour.offline),
        ("noConfigPull", &behaviour.no_config_pull),
        ("serviceStopped", &behaviour.service_stopped),
    ];
    for (key, windows) in named {
        for (index, window) in windows.iter().enumerate() {
            ends_later(*window, &format!("{path}.behaviour.{key}[{index}]"))?;
        }
    }
    for (index, fact) in behaviour.health_facts.iter().enumerate() {
        let path = format!("{path}.behaviour.healthFacts[{index}]");
        ends_later(fact.window(), &path)?;
        if IssueType::from_word(&fact.issue_type).is_none() {
            let known: Vec<&str> = IssueType::all().map(IssueType::word).collect();
            let why = format!("there is no issue type “{}”; there are {}", fact.issue_type, known.join(", "));
            refuse(format!("{path}.issueType"), why)?;
        }
    }
    Ok(())
}

fn ends_later(window: Window, path: &str) -> Result<(), ScenarioError> {
    if window.to < window.from {
        refuse(format!("{path}.to"), "it ends before it begins; exchange from and to")?;
    }
    Ok(())
}

fn operator(
    step: &Step,
    path: &str,
    sensors: &BTreeSet<&str>,
    published: &BTreeMap<Version, Duration>,
) -> Result<(), ScenarioError> {
    match step.deed {
        Deed::Pause | Deed::Resume | Deed::Abort if step.version.is_none() => {
            refuse(format!("{path}.version"), "say of which release")?;
        }
        Deed::SetDelayed if step.value.is_none() => refuse(format!("{path}.value"), "say true or false")?,
        Deed::Pause
        | Deed::Resume
        | Deed::Abort
        | Deed::SetDelayed
        | Deed::Retry
        | Deed::Exclude
        | Deed::Delete
        | Deed::RemoveFromDirectory => {}
    }
    let is_about_a_rollout = matches!(step.deed, Deed::Pause | Deed::Resume | Deed::Abort);
    match &step.sensor {
        None if !is_about_a_rollout => refuse(format!("{path}.sensor"), "say on which sensor")?,
        Some(name) if !sensors.contains(name.as_str()) => {
            refuse(format!("{path}.sensor"), format!("there is no sensor “{name}”"))?;
        }
        Some(_) | None => {}
    }
    match step.version {
        Some(version) => match published.get(&version) {
            None => refuse(format!("{path}.version"), format!("{version} is none of the releases")),
            Some(at) if step.at.0 < *at => {
                refuse(format!("{path}.at"), format!("{version} is not published by then; order it later"))
            }
            Some(_) => Ok(()),
        },
        None => Ok(()),
    }
}
