//! A host that is installed, updated and taken off by a script: the documented switches, no terminal, no input.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use watchpost_core::access_key::{AccessKey, AccessSecret};
use watchpost_tests::site::Site;
use watchpost_tests::tools::{self, binary};

/// How long the script may take, in real time.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn a_script_installs_updates_and_uninstalls_a_host_and_meets_every_exit_code() -> anyhow::Result<()> {
    let site = Site::without_small_disks().await?;
    let (first, second) = (site.release("2.254.1.0")?, site.release("2.255.1.0")?);
    let broken = site.release_with("2.256.1.0", 64, |source| {
        let program = source.join("bin/watchpost-sensor");
        std::fs::write(&program, "#!/bin/sh\nexit 1\n")?;
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
    })?;
    site.publish(&first)?;
    for held in [&second, &broken] {
        site.watchpost(&["release", "publish", "--hold", "--repository", &site.path("author"), held])?;
    }
    let key = site.write_access_key("key")?;
    let mut unknown: AccessKey = std::fs::read_to_string(&key)?.parse()?;
    unknown.secret = AccessSecret::new([8; 32]);
    std::fs::write(site.path("unknown-key"), unknown.to_string())?;
    std::fs::write(site.path("audit.jsonl"), "")?;

    let mut script = tokio::process::Command::new("setsid");
    script.args(["--wait", "sh", "-c", "exec sh \"$0\" <&-"]).arg(tools::checkout().join("tests/end_to_end/silent.sh"));
    script.env("UPDATER", binary("watchpost-updater")?).env("WATCHPOST", binary("watchpost")?);
    script.env("ROOT", site.host()).env("SERVER", site.gateway_address()).env("UNKNOWN_KEY", site.path("unknown-key"));
    script.env("IMAGE_ROOT", site.path("author/metadata/1.root.json")).env("KEY", key);
    script.env("LOG", site.path("audit.jsonl")).env("CLOCK", site.host_clock()?.join(" "));
    script.env("FIRST", first).env("SECOND", second).env("BROKEN", broken);
    script.envs(site.access()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, script.spawn()?.wait_with_output()).await;
    let log = || std::fs::read_to_string(site.path("host/root.out")).unwrap_or_default() + &site.host_log();
    let output = output.with_context(|| format!("the script hangs: {}", log()))??;
    let (said, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success() && said.ends_with("whole\n"), "{}: {said}{err}\n{}", output.status, log());
    let met: BTreeSet<&str> =
        said.lines().filter_map(|line| line.split_once(" (wanted ")).map(|(code, _)| code).collect();
    let hosts = std::fs::read_to_string(tools::checkout().join("docs/operators/hosts.md"))?;
    let table = hosts.split("| exit code | means |").nth(1).context("hosts.md lists no exit codes")?;
    let documented = table.lines().skip(2).map_while(|line| line.strip_prefix("| ")?.split(' ').next());
    assert_eq!(met, documented.collect(), "{said}");
    Ok(())
}

#[test]
fn help_lists_every_option_and_says_what_is_mandatory() -> anyhow::Result<()> {
    for (words, mandatory, others) in [
        (["setup", "/help"], &["--root", "--server", "--access-key", "--image-root", "--name", "--type"][..], 20),
        (["update", "/HELP"], &["<FILE>", "--root"][..], 1),
        (["uninstall", "/?"], &["--root"][..], 1),
    ] {
        let help =
            tools::run(Command::new(binary("watchpost-updater")?).args(words).env("COLUMNS", "200"), "cargo build")?;
        let text = help.replace("\n          ", " ");
        for name in mandatory {
            let line = text.lines().find(|line| line.trim_start().starts_with(name));
            let line = line.with_context(|| format!("{words:?}: no {name} in {text}"))?;
            assert!(line.contains("(mandatory"), "{words:?}: {line}");
        }
        let count = text.lines().filter(|line| line.trim_start().starts_with("--")).count();
        assert!(count >= others, "{words:?} lists {count} options: {text}");
    }
    Ok(())
}
