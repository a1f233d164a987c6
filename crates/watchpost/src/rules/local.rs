//! What an author does without a control plane: count, pack, sign.

use std::path::Path;

use serde_json::json;
use watchpost_agent::engine::Engine as _;
use watchpost_agent::engine::sigma::Sigma;
use watchpost_core::content::{
    MAX_RULES_JSON, RULES_JSON, RulesManifest, SIGMA_FOLDER, SURICATA_FOLDER, rules_file_name,
};
use watchpost_core::time::Timestamp;
use watchpost_package::Contents;

use super::{Build, Sign};
use crate::failure::Failure;
use crate::release::local::{count_suricata, pack, sign_into};
use crate::release::{failed, refused};

pub(super) fn build(args: &Build) -> Result<(), Failure> {
    if !args.from.is_dir() {
        return Err(Failure::not_found(format!("there is no folder {}; name the one to pack", args.from.display())));
    }
    let wanted = rules_file_name(args.build);
    if args.out.file_name().is_none_or(|name| name.to_string_lossy() != wanted) {
        return Err(Failure::usage(format!(
            "the package of {} must be named {wanted}; give --out accordingly",
            args.build
        )));
    }
    let described = described(&args.from)?;
    let rules = RulesManifest {
        build: args.build,
        notes: args.notes.clone().or(described.notes).unwrap_or_default(),
        sigma_expected: kept("sigma", described.sigma_expected, count_sigma(&args.from.join(SIGMA_FOLDER))?)?,
        suricata_expected: kept(
            "suricata",
            described.suricata_expected,
            count_suricata(&args.from.join(SURICATA_FOLDER)).map_err(failed)?,
        )?,
    };
    rules.validate().map_err(refused)?;
    let (sigma, suricata) = (rules.sigma_expected, rules.suricata_expected);
    let info = pack(&args.from, &Contents::Rules(rules), &args.out)?;
    args.output.one(&json!({
        "package": args.out,
        "build": args.build,
        "sigmaExpected": sigma,
        "suricataExpected": suricata,
        "files": info.manifest.files.len(),
        "length": info.length,
        "sha256": info.sha256,
    }))
}

/// What a `rules.json` in the folder gives; the build date comes with the command.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Described {
    #[serde(default)]
    notes: Option<String>,
    #[serde(default)]
    sigma_expected: Option<u32>,
    #[serde(default)]
    suricata_expected: Option<u32>,
    #[serde(default, rename = "build")]
    _build: Option<Timestamp>,
}

fn described(from: &Path) -> Result<Described, Failure> {
    let path = from.join(RULES_JSON);
    if !path.exists() {
        return Ok(Described::default());
    }
    let unreadable =
        |why: &dyn std::fmt::Display| Failure::refused(format!("{} cannot be read: {why}", path.display()));
    let length = std::fs::metadata(&path).map_err(|error| unreadable(&error))?.len();
    if length > MAX_RULES_JSON as u64 {
        return Err(unreadable(&"it is larger than any honest one"));
    }
    let text = std::fs::read(&path).map_err(|error| unreadable(&error))?;
    serde_json::from_slice(&text).map_err(|error| unreadable(&error))
}

/// The count of what is there; a promise of more would have the package put back on every host.
fn kept(engine: &str, promised: Option<u32>, holds: u32) -> Result<u32, Failure> {
    match promised.filter(|promised| *promised > holds) {
        Some(promised) => Err(Failure::refused(format!(
            "{RULES_JSON} promises {promised} rules for {engine} and the folder holds {holds}; every host would put the \
             package back: add the rules, or leave the number out"
        ))),
        None => Ok(holds),
    }
}

/// How many Sigma rules load, by loading them with the sensor's own engine.
fn count_sigma(folder: &Path) -> Result<u32, Failure> {
    if !folder.is_dir() {
        return Ok(0);
    }
    let sigma = Sigma::load(folder).map_err(failed)?;
    let rules = sigma.rules();
    if rules.failed > 0 {
        let first = rules.complaints.first().map_or("", String::as_str);
        return Err(Failure::refused(format!("{} rules do not load, the first: {first}", rules.failed)));
    }
    Ok(rules.loaded)
}

pub(super) fn sign(args: &Sign, now: Timestamp) -> Result<(), Failure> {
    let target = sign_into(args, now)?;
    let rules = target.custom.rules();
    args.output.one(&json!({
        "rulesCounter": rules.map(|rules| rules.rules_counter),
        "build": rules.map(|rules| rules.build),
        "name": target.name,
        "length": target.length,
        "sha256": target.sha256,
    }))
}
