//! Follows a rollout through the API until it is over, and keeps its timeline.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::control_plane::ControlPlane;
use super::screen::Screen;
use super::stepping::Pace;

/// How often the API is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long one stage of the demo may take before it gives up.
const STAGE_PATIENCE: Duration = Duration::from_secs(300);

/// A text field of a row, or nothing.
pub(super) fn word<'a>(row: &'a Value, field: &str) -> &'a str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Asks until `done` says so about the rows of `sensors`, and gives those rows.
async fn until(
    control_plane: &ControlPlane,
    screen: &mut Screen,
    stage: &str,
    done: impl Fn(&[Value]) -> bool,
) -> anyhow::Result<Vec<Value>> {
    let asking = async {
        loop {
            // A control plane that was just killed is back in a moment; asking again is all it takes.
            if let Ok(rows) = control_plane.list("sensors").await {
                show(screen, &rows);
                if done(&rows) {
                    return rows;
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    tokio::time::timeout(STAGE_PATIENCE, asking).await.with_context(|| format!("{stage} took too long"))
}

fn show(screen: &mut Screen, rows: &[Value]) {
    for row in rows {
        let waiting = word(row, "waitingFor");
        let dash = if waiting.is_empty() { "" } else { " — " };
        let line = format!("{:12} {:14}{dash}{waiting}", word(row, "version"), word(row, "deploymentStatus"));
        screen.host(word(row, "displayName"), &line);
    }
}

/// Waits until `count` sensors run `version` and are seen to run.
pub(super) async fn installed(
    control_plane: &ControlPlane,
    screen: &mut Screen,
    count: usize,
    version: &str,
) -> anyhow::Result<()> {
    let is_up = |row: &Value| word(row, "version") == version && word(row, "serviceStatus") == "running";
    until(control_plane, screen, "the first installation", |rows| rows.len() == count && rows.iter().all(is_up))
        .await?;
    Ok(())
}

/// Whether something happens in a rollout without waiting for its delayed ring.
pub(super) fn is_moving(rollout: &Value) -> bool {
    rollout.get("isMoving").and_then(Value::as_bool).unwrap_or(false)
}

/// Follows the rollout of `version` to its end and says each event once. Gives the rollout's last row.
/// The clock runs at `speed` while sensors move, and without a limit while all there is to see is a closed gate.
pub(super) async fn followed(
    control_plane: &ControlPlane,
    screen: &mut Screen,
    version: &str,
    pace: &Pace,
    speed: u64,
) -> anyhow::Result<Value> {
    let path = format!("rollouts/{version}");
    let mut told = 0;
    let deadline = tokio::time::timeout(STAGE_PATIENCE, async {
        loop {
            if let Ok(rows) = control_plane.list("sensors").await {
                show(screen, &rows);
            }
            if let Ok(rollout) = control_plane.get(&path).await {
                pace.set(if is_moving(&rollout) { speed } else { Pace::UNLIMITED });
                tell(screen, &rollout, &mut told);
                if matches!(word(&rollout, "state"), "completed" | "aborted" | "halted") {
                    return rollout;
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    deadline.await.with_context(|| format!("the rollout of {version} took too long"))
}

/// Says the events that were not said yet.
fn tell(screen: &Screen, rollout: &Value, told: &mut usize) {
    let events = rollout.get("events").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for event in events.iter().skip(*told) {
        let reason = word(event, "reason");
        let dash = if reason.is_empty() { "" } else { " — " };
        let who = if word(event, "sensor").is_empty() { "rollout" } else { word(event, "sensor") };
        screen.say(&format!(
            "  {}  {who:8} {:10} {}{dash}{reason}",
            word(event, "at"),
            word(event, "event"),
            word(event, "version")
        ));
    }
    *told = events.len().max(*told);
}
