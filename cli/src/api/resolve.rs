//! From what a person types to an id: a whole id, a name, or the first digits.

use lode_protocol::ids::{NodeId, TaskId};

use super::Api;
use crate::failure::Kind;

/// How many tasks are looked through for a name.
const MOST_TASKS: usize = 10_000;

impl Api {
    /// The id of the task that is meant.
    pub(crate) async fn task_id(&self, text: &str) -> anyhow::Result<TaskId> {
        if let Ok(id) = text.parse::<TaskId>() {
            return Ok(id);
        }
        let tasks = self.tasks(None, MOST_TASKS).await?.items;
        choose_task(text, tasks.iter().map(|task| (task.id, task.name.as_str())))
    }

    /// The id of the node that is meant.
    pub(crate) async fn node_id(&self, text: &str) -> anyhow::Result<NodeId> {
        if let Ok(id) = text.parse::<NodeId>() {
            return Ok(id);
        }
        let nodes = self.nodes().await?.items;
        choose_node(text, nodes.iter().map(|node| node.id))
    }
}

fn choose_task<'a>(text: &str, tasks: impl Iterator<Item = (TaskId, &'a str)>) -> anyhow::Result<TaskId> {
    let (mut named, mut started) = (Vec::new(), Vec::new());
    for (id, name) in tasks {
        if name == text {
            named.push(id);
        }
        if text.len() >= 4 && id.to_string().starts_with(&text.to_lowercase()) {
            started.push(id);
        }
    }
    let found = if named.is_empty() { started } else { named };
    one("task", text, &found, "lode task ls")
}

fn choose_node(text: &str, ids: impl Iterator<Item = NodeId>) -> anyhow::Result<NodeId> {
    let wanted = text.to_lowercase();
    let wanted = wanted.strip_prefix("0x").unwrap_or(&wanted);
    let starts = |id: &NodeId| id.to_string().to_lowercase().trim_start_matches("0x").starts_with(wanted);
    let found: Vec<NodeId> = ids.filter(|id| wanted.len() >= 4 && starts(id)).collect();
    one("node", text, &found, "lode node ls")
}

fn one<T: Copy + std::fmt::Display>(what: &str, text: &str, found: &[T], list: &str) -> anyhow::Result<T> {
    match found {
        [only] => Ok(*only),
        [] => {
            Err(Kind::NotFound.with_remedy(format!("there is no {what} {text:?}"), format!("run `{list}`")))
        }
        several => {
            let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(Kind::Conflict.with_remedy(
                format!("{text:?} could be {} {what}s: {}", several.len(), ids.join(", ")),
                "give the whole id",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_found_by_its_name_or_first_digits_if_there_is_only_one() {
        let id = |head: &str| format!("{head}-0000-7000-8000-000000000000").parse::<TaskId>().unwrap();
        let tasks = [(id("0190aaaa"), "primes"), (id("0190bbbb"), "hello"), (id("0190bbcc"), "hello")];
        let choose = |text| choose_task(text, tasks.into_iter());
        assert_eq!(choose("primes").unwrap(), tasks[0].0);
        assert_eq!(choose("0190A").unwrap(), tasks[0].0);
        let kind = |text| crate::report::classify(&choose(text).unwrap_err()).0;
        assert_eq!(kind("hello"), Kind::Conflict);
        assert_eq!(kind("0190bb"), Kind::Conflict);
        assert_eq!(kind("none"), Kind::NotFound);
        assert_eq!(kind("019"), Kind::NotFound);
    }

    #[test]
    fn a_node_is_found_by_its_first_digits_in_any_case() {
        let nodes =
            ["0xabcd000000000000000000000000000000000001", "0xabce000000000000000000000000000000000002"]
                .map(|text| text.parse::<NodeId>().unwrap());
        assert_eq!(choose_node("0xabcd", nodes.into_iter()).unwrap(), nodes[0]);
        assert_eq!(choose_node("ABCE", nodes.into_iter()).unwrap(), nodes[1]);
        assert!(choose_node("ab", nodes.into_iter()).is_err());
    }
}
