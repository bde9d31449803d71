//! From what a person types to an id: a whole id, a name, or the first digits.

use lode_protocol::ids::{NodeId, TaskId};
use serde_json::Value;

use super::Api;
use crate::failure::Kind;

/// How many tasks are looked through for a name.
const MOST_TASKS: usize = 10_000;

impl Api {
    /// The id of the task that is meant.
    pub(crate) async fn task_id(&self, text: &str) -> anyhow::Result<String> {
        if let Ok(id) = text.parse::<TaskId>() {
            return Ok(id.to_string());
        }
        let tasks = self.list("v1/tasks", &[], MOST_TASKS).await?;
        let candidates: Vec<(&str, &str)> =
            tasks.iter().map(|task| (field(task, "id"), field(task, "name"))).collect();
        choose_task(text, &candidates)
    }

    /// The id of the node that is meant.
    pub(crate) async fn node_id(&self, text: &str) -> anyhow::Result<String> {
        if let Ok(id) = text.parse::<NodeId>() {
            return Ok(id.to_string());
        }
        let nodes = self.list("v1/nodes", &[], usize::MAX).await?;
        let ids: Vec<&str> = nodes.iter().map(|node| field(node, "id")).collect();
        choose_node(text, &ids)
    }
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn choose_task(text: &str, tasks: &[(&str, &str)]) -> anyhow::Result<String> {
    let named: Vec<&str> = tasks.iter().filter(|(_, name)| *name == text).map(|(id, _)| *id).collect();
    let started: Vec<&str> = tasks
        .iter()
        .filter(|(id, _)| text.len() >= 4 && id.starts_with(&text.to_lowercase()))
        .map(|(id, _)| *id)
        .collect();
    let found = if named.is_empty() { started } else { named };
    one("task", text, &found, "lode task ls")
}

fn choose_node(text: &str, ids: &[&str]) -> anyhow::Result<String> {
    let wanted = text.to_lowercase();
    let wanted = wanted.strip_prefix("0x").unwrap_or(&wanted);
    let found: Vec<&str> = ids
        .iter()
        .copied()
        .filter(|id| wanted.len() >= 4 && id.to_lowercase().trim_start_matches("0x").starts_with(wanted))
        .collect();
    one("node", text, &found, "lode node ls")
}

fn one(what: &str, text: &str, found: &[&str], list: &str) -> anyhow::Result<String> {
    match found {
        [only] => Ok((*only).to_owned()),
        [] => {
            Err(Kind::NotFound.with_remedy(format!("there is no {what} {text:?}"), format!("run `{list}`")))
        }
        several => Err(Kind::Conflict.with_remedy(
            format!("{text:?} could be {} {what}s: {}", several.len(), several.join(", ")),
            "give the whole id",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_found_by_its_name_or_first_digits_if_there_is_only_one() {
        let tasks = [("0190aaaa-1", "primes"), ("0190bbbb-2", "hello"), ("0190bbcc-3", "hello")];
        assert_eq!(choose_task("primes", &tasks).unwrap(), "0190aaaa-1");
        assert_eq!(choose_task("0190A", &tasks).unwrap(), "0190aaaa-1");
        let kind = |text| crate::failure::classify(&choose_task(text, &tasks).unwrap_err()).0;
        assert_eq!(kind("hello"), Kind::Conflict);
        assert_eq!(kind("0190bb"), Kind::Conflict);
        assert_eq!(kind("none"), Kind::NotFound);
        assert_eq!(kind("019"), Kind::NotFound);
    }

    #[test]
    fn a_node_is_found_by_its_first_digits_in_any_case() {
        let nodes =
            ["0xAbCd000000000000000000000000000000000001", "0xABce000000000000000000000000000000000002"];
        assert_eq!(choose_node("0xabcd", &nodes).unwrap(), nodes[0]);
        assert_eq!(choose_node("ABCE", &nodes).unwrap(), nodes[1]);
        assert!(choose_node("ab", &nodes).is_err());
    }
}
