//! The rules a spec must meet beyond its form. All problems are found in one pass.

mod probes;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::{Constraint, ConstraintOperator, TaskSpec};
use crate::hardware::{SoftwareVersion, WantedModel};
use crate::hash::{Digest, keccak256};
use crate::image::ImageReference;
use crate::units::Bytes;

/// Caps on everything a spec may hold.
pub mod limits {
    use crate::units::{Bytes, MilliCpus, Millis};

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
    /// Least time between two tries of a probe.
    pub const PROBE_INTERVAL: Millis = Millis(100);
    /// Least time between two commands in a container: each is a process of the engine's as well.
    pub const COMMAND_INTERVAL: Millis = Millis::seconds(1);
    /// Failed tries in a row after which a service is started again.
    pub const PROBE_FAILURES: u32 = 100;
    /// Least share of a CPU that kernels can measure out, and engines accept: a millisecond in each tenth of a second.
    pub const LEAST_CPUS: MilliCpus = MilliCpus(10);
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

/// A spec that keeps every rule and names its limits. Decoding one from the wire checks again. Clones share it: every assignment has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidTaskSpec(Arc<Checked>);

#[derive(PartialEq, Eq, Debug)]
struct Checked {
    spec: TaskSpec,
    image: ImageReference,
}

impl ValidTaskSpec {
    /// The spec.
    pub fn as_spec(&self) -> &TaskSpec {
        &self.0.spec
    }

    /// Its image, taken apart: the only form in which it may become part of a request.
    pub fn image_reference(&self) -> &ImageReference {
        &self.0.image
    }

    /// keccak-256 of its CBOR form: equal specs have equal hashes on every version of this program.
    pub fn digest(&self) -> Digest {
        keccak256(&crate::envelope::encode(self.as_spec()))
    }
}

impl Deref for ValidTaskSpec {
    type Target = TaskSpec;

    fn deref(&self) -> &TaskSpec {
        self.as_spec()
    }
}

impl<C> Encode<C> for ValidTaskSpec {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        self.as_spec().encode(encoder, context)
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
    /// Fills in the limits that were left out and checks every rule; all problems are returned together.
    pub fn validate(mut self) -> Result<ValidTaskSpec, Vec<SpecProblem>> {
        self.resources.settle();
        let mut problems = Problems::default();
        self.check_identity(&mut problems);
        let image = self.check_image(&mut problems);
        self.check_command(&mut problems);
        self.check_environment(&mut problems);
        self.check_resources(&mut problems);
        self.check_ports(&mut problems);
        self.check_probes(&mut problems);
        self.check_placement(&mut problems);
        match image {
            Some(image) if problems.0.is_empty() => {
                Ok(ValidTaskSpec(Arc::new(Checked { spec: self, image })))
            }
            Some(_) | None => Err(problems.0),
        }
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
    }

    fn check_image(&self, problems: &mut Problems) -> Option<ImageReference> {
        let parsed = self.image.parse::<ImageReference>();
        problems.require(self.image.len() <= limits::IMAGE, "image", "at most 512 bytes");
        if let Err(error) = &parsed {
            let words =
                format!("is no image reference like registry.example/name:tag or name@sha256:…: {error}");
            problems.require(false, "image", words);
        }
        parsed.ok()
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
        if models {
            self.check_slices(problems);
        }
        let without_gpus =
            resources.gpus == 0 && (!resources.gpu_models.is_empty() || resources.gpu_memory > Bytes(0));
        problems.require(
            !without_gpus,
            "resources.gpus",
            "is 0 although a GPU model or memory is asked for; write how many",
        );
        problems.require(
            resources.cpus >= limits::LEAST_CPUS,
            "resources.cpus",
            "at least 0.01, or leave it out",
        );
        let memory = resources.memory >= limits::LEAST_MEMORY;
        problems.require(memory, "resources.memory", "at least 6MiB, or leave it out");
        problems.require(
            resources.shared_memory() <= resources.memory,
            "resources.shm",
            format!(
                "is more than the memory ({}), in which it counts; ask for more memory",
                resources.memory
            ),
        );
        problems.require((1..=limits::REPLICAS).contains(&self.replicas), "replicas", "between 1 and 10000");
    }

    /// A program sees one instance of a GPU, however many it is given (NVIDIA's MIG guide, "CUDA visibility").
    fn check_slices(&self, problems: &mut Problems) {
        let wanted: Vec<WantedModel> =
            self.resources.gpu_models.iter().map(|model| WantedModel::parse(model)).collect();
        problems.require(
            !wanted.iter().any(WantedModel::lacks_profile),
            "resources.gpu_models",
            "an instance of a GPU is named by its profile, like \"MIG 1g.10gb\"",
        );
        problems.require(
            self.resources.gpus <= 1 || !wanted.iter().any(WantedModel::is_slice),
            "resources.gpus",
            "a program uses one instance of a GPU (MIG) at a time: write 1, and more replicas, or ask for whole GPUs",
        );
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
                ConstraintOperator::AtLeast => constraint.values.len() == 1,
            };
            problems.require(
                values,
                field("values"),
                "1 to 32 values for in and not-in, one for at-least, none for exists and not-exists",
            );
            let versions = Constraint::is_version(&constraint.key);
            problems.require(
                versions || constraint.operator != ConstraintOperator::AtLeast,
                field("operator"),
                "at-least compares versions; it is for the keys cuda and driver",
            );
            problems.require(
                !versions || constraint.values.iter().all(|value| SoftwareVersion::parse(value).is_some()),
                field("values"),
                "versions like 12.8 or 550.54.15",
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
