//! The rules a spec must meet beyond its form. All problems are found in one pass.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::{ConstraintOperator, ProbeAction, ReadinessProbe, TaskKind, TaskSpec};
use crate::hash::{Digest, keccak256};
use crate::units::{Bytes, Millis};

/// Caps on everything a spec may hold.
pub mod limits {
    use crate::units::{Bytes, Millis};

    /// Bytes of a name.
    pub const NAME: usize = 63;
    /// Bytes of an image reference.
    pub const IMAGE: usize = 512;
    /// Words of a command, and of its arguments.
    pub const WORDS: usize = 256;
    /// Bytes of one word, value or label.
    pub const TEXT: usize = 32 << 10;
    /// Bytes of the whole environment.
    pub const ENVIRONMENT: usize = 128 << 10;
    /// Variables, labels.
    pub const ENTRIES: usize = 256;
    /// Ports of one replica.
    pub const PORTS: usize = 32;
    /// Constraints, and values of one constraint.
    pub const CONSTRAINTS: usize = 32;
    /// Copies of one task.
    pub const REPLICAS: u32 = 10_000;
    /// GPUs of one replica.
    pub const GPUS: u32 = 64;
    /// Time to stop.
    pub const STOP_GRACE: Millis = Millis::seconds(3_600);
    /// Deadline of a readiness probe.
    pub const PROBE_DEADLINE: Millis = Millis::seconds(24 * 3_600);
    /// Least memory limit that container engines accept.
    pub const LEAST_MEMORY: Bytes = Bytes::mebi(6);
}

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SpecProblem {
    /// Path of the field.
    pub field: String,
    /// What is wrong and what is accepted.
    pub message: String,
}

/// A spec that keeps every rule. Decoding one from the wire checks again. Clones share it: every assignment has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidTaskSpec(Arc<TaskSpec>);

impl ValidTaskSpec {
    /// The spec.
    pub fn as_spec(&self) -> &TaskSpec {
        &self.0
    }

    /// keccak-256 of its CBOR form: equal specs have equal hashes on every version of this program.
    pub fn digest(&self) -> Digest {
        keccak256(&crate::envelope::encode(self.as_spec()))
    }
}

impl Deref for ValidTaskSpec {
    type Target = TaskSpec;

    fn deref(&self) -> &TaskSpec {
        &self.0
    }
}

impl<C> Encode<C> for ValidTaskSpec {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.0.encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for ValidTaskSpec {
    fn decode(decoder: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        TaskSpec::decode(decoder, context)?.validate().map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            minicbor::decode::Error::message(format!("invalid task spec: {first}"))
        })
    }
}

/// Variables that would change which GPUs a task sees, what the loader loads, or who it claims to be; `*`: all that
/// begin so. In any case of letters.
pub(super) const RESERVED_VARIABLES: [&str; 6] =
    ["NVIDIA_*", "CUDA_MPS_*", "LODE_*", "DOCKER_*", "LD_*", "CUDA_VISIBLE_DEVICES"];

fn is_reserved(variable: &str) -> bool {
    let upper = variable.to_ascii_uppercase();
    RESERVED_VARIABLES.iter().any(|name| match name.strip_suffix('*') {
        Some(prefix) => upper.starts_with(prefix),
        None => upper == *name,
    })
}

#[derive(Default)]
struct Problems(Vec<SpecProblem>);

impl Problems {
    fn require(&mut self, holds: bool, field: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.0.push(SpecProblem { field: field.into(), message: message.into() });
        }
    }
}

fn is_name(text: &str, most: usize) -> bool {
    !text.is_empty()
        && text.len() <= most
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_label_key(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
}

fn is_text(text: &str) -> bool {
    text.len() <= limits::TEXT && !text.contains('\0')
}

impl TaskSpec {
    /// Checks every rule; all problems are returned together.
    pub fn validate(self) -> Result<ValidTaskSpec, Vec<SpecProblem>> {
        let mut problems = Problems::default();
        self.check_identity(&mut problems);
        self.check_command(&mut problems);
        self.check_environment(&mut problems);
        self.check_resources(&mut problems);
        self.check_ports(&mut problems);
        if let Some(probe) = &self.readiness {
            self.check_readiness(probe, &mut problems);
        }
        self.check_placement(&mut problems);
        if problems.0.is_empty() { Ok(ValidTaskSpec(Arc::new(self))) } else { Err(problems.0) }
    }

    fn check_identity(&self, problems: &mut Problems) {
        problems.require(
            self.version == 1,
            "version",
            format!("{} is not known; write 1 or leave it out", self.version),
        );
        problems.require(
            is_name(&self.name, limits::NAME),
            "name",
            "use 1 to 63 lower-case letters, digits and dashes, with no dash at the ends",
        );
        let image = !self.image.is_empty()
            && self.image.len() <= limits::IMAGE
            && self.image.bytes().all(|b| b.is_ascii_graphic())
            && !self.image.starts_with('-');
        problems.require(
            image,
            "image",
            "use an image reference like registry.example/name:tag or name@sha256:…",
        );
    }

    fn check_command(&self, problems: &mut Problems) {
        let words = |words: &[String]| words.len() <= limits::WORDS && words.iter().all(|word| is_text(word));
        if let Some(command) = &self.command {
            problems.require(
                !command.is_empty(),
                "command",
                "is empty; leave it out to use the image's entry point",
            );
            problems.require(words(command), "command", "at most 256 words of 32 KiB, without NUL bytes");
        }
        problems.require(words(&self.args), "args", "at most 256 words of 32 KiB, without NUL bytes");
        problems.require(self.stop_grace <= limits::STOP_GRACE, "stop_grace", "at most 1h");
    }

    fn check_environment(&self, problems: &mut Problems) {
        problems.require(self.env.len() <= limits::ENTRIES, "env", "at most 256 variables");
        let total: usize = self.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        problems.require(total <= limits::ENVIRONMENT, "env", "at most 128 KiB in all");
        for (name, value) in &self.env {
            let field = || format!("env.{name}");
            let form = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !name.starts_with(|c: char| c.is_ascii_digit());
            problems.require(form, field(), "use letters, digits and underscores, not starting with a digit");
            problems.require(is_text(value), field(), "at most 32 KiB, without NUL bytes");
            problems.require(
                !is_reserved(name),
                field(),
                "is set by the worker, because it decides what the task may see; ask for GPUs with resources.gpus",
            );
        }
        problems.require(self.labels.len() <= limits::ENTRIES, "labels", "at most 256 labels");
        for (key, value) in &self.labels {
            let form = is_label_key(key) && value.len() <= 1_024 && !value.contains(char::is_control);
            problems.require(
                form,
                format!("labels.{key}"),
                "keys of letters, digits and -_./, values up to 1 KiB",
            );
        }
    }

    fn check_resources(&self, problems: &mut Problems) {
        let resources = &self.resources;
        problems.require(resources.gpus <= limits::GPUS, "resources.gpus", "at most 64 for one replica");
        let models = resources.gpu_models.len() <= 32
            && resources.gpu_models.iter().all(|model| !model.trim().is_empty() && model.len() <= 128);
        problems.require(models, "resources.gpu_models", "at most 32 names, none of them empty");
        let without_gpus =
            resources.gpus == 0 && (!resources.gpu_models.is_empty() || resources.gpu_memory > Bytes(0));
        problems.require(
            !without_gpus,
            "resources.gpus",
            "is 0 although a GPU model or memory is asked for; write how many",
        );
        let memory = resources.memory == Bytes(0) || resources.memory >= limits::LEAST_MEMORY;
        problems.require(memory, "resources.memory", "at least 6MiB, or leave it out");
        problems.require((1..=limits::REPLICAS).contains(&self.replicas), "replicas", "between 1 and 10000");
    }

    fn check_ports(&self, problems: &mut Problems) {
        problems.require(self.ports.len() <= limits::PORTS, "ports", "at most 32");
        let mut names = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for (index, port) in self.ports.iter().enumerate() {
            let field = |part: &str| format!("ports[{index}].{part}");
            problems.require(
                is_name(&port.name, 15),
                field("name"),
                "use up to 15 lower-case letters, digits and dashes",
            );
            problems.require(names.insert(&port.name), field("name"), "is used twice");
            problems.require(port.container != 0, field("container"), "between 1 and 65535");
            problems.require(
                numbers.insert((port.container, port.protocol)),
                field("container"),
                "is used twice",
            );
        }
    }

    fn check_readiness(&self, probe: &ReadinessProbe, problems: &mut Problems) {
        problems.require(
            self.kind == TaskKind::Service,
            "readiness",
            "is for services; a batch task is judged by its exit code",
        );
        let declared = |name: &String| self.ports.iter().any(|port| port.name == *name);
        match &probe.check {
            ProbeAction::Http { port, path } => {
                problems.require(
                    declared(port),
                    "readiness.check.http.port",
                    format!("no port is named {port:?}"),
                );
                let form = path.starts_with('/')
                    && path.len() <= 2_048
                    && path.bytes().all(|b| b.is_ascii_graphic());
                problems.require(form, "readiness.check.http.path", "start with / and use no spaces");
            }
            ProbeAction::Tcp { port } => {
                problems.require(
                    declared(port),
                    "readiness.check.tcp.port",
                    format!("no port is named {port:?}"),
                );
            }
            ProbeAction::Exec { command } => {
                let form = !command.is_empty()
                    && command.len() <= limits::WORDS
                    && command.iter().all(|w| is_text(w));
                problems.require(form, "readiness.check.exec.command", "1 to 256 words");
            }
        }
        let range = |value: Millis, most: Millis| value >= Millis(100) && value <= most;
        problems.require(
            range(probe.interval, Millis::seconds(3_600)),
            "readiness.interval",
            "between 100ms and 1h",
        );
        problems.require(
            range(probe.timeout, Millis::seconds(600)),
            "readiness.timeout",
            "between 100ms and 10m",
        );
        problems.require(
            range(probe.deadline, limits::PROBE_DEADLINE),
            "readiness.deadline",
            "between 100ms and 24h",
        );
    }

    fn check_placement(&self, problems: &mut Problems) {
        problems.require(self.constraints.len() <= limits::CONSTRAINTS, "constraints", "at most 32");
        for (index, constraint) in self.constraints.iter().enumerate() {
            let field = |part: &str| format!("constraints[{index}].{part}");
            problems.require(is_label_key(&constraint.key), field("key"), "use letters, digits and -_./");
            let values = match constraint.operator {
                ConstraintOperator::In | ConstraintOperator::NotIn => {
                    (1..=limits::CONSTRAINTS).contains(&constraint.values.len())
                }
                ConstraintOperator::Exists | ConstraintOperator::NotExists => constraint.values.is_empty(),
            };
            problems.require(
                values,
                field("values"),
                "1 to 32 values for in and not-in, none for exists and not-exists",
            );
            problems.require(
                constraint.values.iter().all(|v| v.len() <= 1_024),
                field("values"),
                "up to 1 KiB each",
            );
        }
    }
}

#[cfg(test)]
mod tests;
