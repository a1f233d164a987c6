//! The TUF client of a host against the cases of `tests/conformance`, whose repositories python-tuf signs.

use std::process::Command;

use watchpost_tests::tools;

/// Every case there is, so that none gets lost; the suite itself had 113 when they were written.
const CASES: &str = "163 of 163 cases passed, of 81 functions";

#[test]
fn a_hosts_tuf_client_passes_every_case_of_the_specification() {
    assert!(std::path::Path::new("/usr/bin/faketime").exists(), "faketime is missing: apt-get install faketime");
    let checkout = tools::checkout();
    let python = std::env::var_os("WATCHPOST_PYTHON").map_or(checkout.join("target/venv/bin/python"), Into::into);
    let mut run = Command::new(python);
    run.arg(checkout.join("tests/conformance/run.py")).arg(tools::binary("watchpost-updater").unwrap());
    // Python's own bytecode would lie about in the checkout.
    let said = tools::run(run.arg("tuf-client").env("PYTHONDONTWRITEBYTECODE", "1"), "cargo xtask setup").unwrap();
    assert_eq!(said.lines().last(), Some(CASES));
}
