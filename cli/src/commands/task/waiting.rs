//! What a task waits for, said beside its output: whoever waits longer than a few seconds learns why.

use std::time::Duration;

use lode_api_types::{Assignment, ExplainQuery, Explanation, TaskState};
use lode_protocol::assignment::AssignmentState;
use lode_protocol::ids::TaskId;

use crate::api::Api;
use crate::output;

/// Between two looks, and before the first one: what is quicker needs no words.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Says on standard error what the task waits for, once for each change, for as long as it is let.
pub(super) async fn explain(api: &Api, id: TaskId) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Whoever waits for the task says what is wrong with the API.
        let Ok(words) = words(api, id).await else { continue };
        if let Some(words) = words.filter(|words| *words != said) {
            output::note(&words);
            said = words;
        }
    }
}

async fn words(api: &Api, id: TaskId) -> anyhow::Result<Option<String>> {
    let task = api.task(id).await?;
    if task.summary.state != TaskState::Pending {
        return Ok(None);
    }
    if let Some(assignment) = task.assignments.iter().find(|row| !row.state.is_final()) {
        return Ok(on_its_way(assignment));
    }
    let explanation: Explanation =
        api.get(&format!("v1/tasks/{id}/explain"), &ExplainQuery::default()).await?;
    Ok(Some(reason(&explanation)))
}

/// What is done with an assignment that does not run yet; nothing where it does.
fn on_its_way(assignment: &Assignment) -> Option<String> {
    let Assignment { replica, node, state, detail, .. } = assignment;
    let what = match state {
        AssignmentState::Assigned => "has been placed; its node has not said anything yet",
        AssignmentState::Pulling => "waits for its image, which is being pulled",
        AssignmentState::Starting if detail.is_empty() => "is being started, or is not ready yet",
        AssignmentState::Starting => detail.as_str(),
        AssignmentState::Running
        | AssignmentState::Stopping
        | AssignmentState::Succeeded
        | AssignmentState::Failed
        | AssignmentState::Stopped
        | AssignmentState::Lost => return None,
    };
    Some(format!("replica {replica} on {node}: {what}"))
}

/// Why nothing of it has a node.
fn reason(explanation: &Explanation) -> String {
    let mut parts = vec![explanation.summary.clone()];
    parts.extend(
        explanation.blocked.as_ref().map(|blocked| format!("{} [{}]", blocked.message, blocked.code)),
    );
    if explanation.waiting > 0 && explanation.fitting == 0 {
        let helps = explanation.filters.iter().map(|count| {
            format!("{} of {} nodes fail {}: {}", count.nodes, explanation.nodes, count.filter, count.help)
        });
        parts.extend(helps);
    }
    format!("waiting: {}", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(json: serde_json::Value) -> Explanation {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn who_waits_for_a_node_reads_what_would_help_and_how_many_fail_at_it() {
        let mut json = serde_json::json!({
            "task": "01a00000-0000-7000-8000-000000000000", "state": "pending", "summary": "No node has 9 free GPUs.",
            "waiting": 1, "nodes": 2, "fitting": 0, "blocked": null, "back_offs": [], "verdicts": [], "next": null,
            "filters": [{ "filter": "gpus-free", "nodes": 2, "help": "ask for fewer" }],
        });
        let words = reason(&explanation(json.clone()));
        assert_eq!(words, "waiting: No node has 9 free GPUs.; 2 of 2 nodes fail gpus-free: ask for fewer");
        json["fitting"] = 1.into();
        assert_eq!(reason(&explanation(json)), "waiting: No node has 9 free GPUs.");
    }
}
