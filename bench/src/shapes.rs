//! What the tasks ask for that a fleet is given.

use lode_protocol::task::{TaskSpec, ValidTaskSpec};

/// A batch task with these lines of TOML.
pub(crate) fn batch(more: &str) -> anyhow::Result<ValidTaskSpec> {
    let text = format!(
        "name = \"train-llama\"\nkind = \"batch\"\nimage = \"registry.example/team/train:v1.4.2\"\n\
         args = [\"--epochs\", \"3\", \"--batch\", \"64\"]\n{more}"
    );
    TaskSpec::from_toml(&text)?.validate().map_err(|problems| anyhow::anyhow!("not a task: {problems:?}"))
}

pub(crate) fn constraint(key: &str, operator: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    let values = match operator {
        "exists" | "not-exists" => String::new(),
        _ => format!("values = [{}]\n", values.join(", ")),
    };
    format!("[[constraints]]\nkey = \"{key}\"\noperator = \"{operator}\"\n{values}")
}

/// 48 shapes: models, memory of GPUs, one or two GPUs, labels of two thirds and of a twentieth of the nodes.
pub(crate) fn mixed_specs() -> anyhow::Result<Vec<ValidTaskSpec>> {
    let models = [
        "",
        "gpu_models = [\"h200\"]\n",
        "gpu_models = [\"h100\", \"h200\"]\n",
        "gpu_models = [\"a100\"]\n",
        "gpu_models = [\"4090\"]\n",
        "gpu_memory = \"40GiB\"\n",
    ];
    let labels = [
        String::new(),
        constraint("tier", "in", &["secure", "community"]),
        constraint("zone", "in", &["zone-3"]),
        constraint("zone", "not-in", &["zone-1"]),
    ];
    let mut all = Vec::new();
    for model in models {
        for label in &labels {
            for gpus in [1, 2] {
                let memory = gpus * 4;
                let resources =
                    format!("[resources]\ngpus = {gpus}\ncpus = {gpus}\nmemory = \"{memory}GiB\"\n{model}");
                all.push(batch(&format!("{resources}{label}"))?);
            }
        }
    }
    Ok(all)
}
