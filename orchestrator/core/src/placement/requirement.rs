//! What a replica needs of a node. Replicas with equal needs have one shape, whatever task they belong to.

use lode_protocol::envelope::encode;
use lode_protocol::hardware::{SoftwareVersion, WantedModel, has_memory};
use lode_protocol::hash::{Digest, keccak256_of};
use lode_protocol::task::{Constraint, ConstraintOperator, TaskKind, TaskSpec};
use lode_protocol::units::Bytes;

use super::super::Core;
use super::super::error::Rejected;
use super::super::hardware::GpuKind;

/// The needs of one shape.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Requirement {
    pub(crate) gpus: u32,
    pub(crate) models: Vec<WantedModel>,
    pub(crate) gpu_memory: Bytes,
    pub(crate) cpus: u64,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    /// Bytes of its node's desired set that it takes, at most.
    pub(crate) set_bytes: u64,
    pub(crate) constraints: Vec<Constraint>,
    /// Whether its replicas should be on different nodes.
    pub(crate) kind: TaskKind,
}

impl Requirement {
    pub(crate) fn of(spec: &TaskSpec) -> Self {
        let resources = &spec.resources;
        Requirement {
            gpus: resources.gpus,
            models: resources.gpu_models.iter().map(|model| WantedModel::parse(model)).collect(),
            gpu_memory: resources.gpu_memory,
            cpus: resources.cpus.0.into(),
            memory: resources.memory.0,
            disk: resources.disk.0,
            set_bytes: set_bytes(spec),
            constraints: spec.constraints.clone(),
            kind: spec.kind,
        }
    }

    /// Equal for equal needs.
    pub(crate) fn digest(spec: &TaskSpec) -> Digest {
        let kind = encode(&spec.kind);
        let resources = encode(&spec.resources);
        let constraints = encode(&spec.constraints);
        keccak256_of([kind.as_slice(), &resources, &constraints, &set_bytes(spec).to_be_bytes()])
    }

    /// Whether a GPU's model will do. An instance of a GPU does only where it was asked for; a GPU of unknown model does
    /// where nothing is asked.
    pub(crate) fn accepts_model(&self, kind: &GpuKind) -> bool {
        if self.models.is_empty() {
            return !kind.slice;
        }
        let model = kind.model.as_deref();
        self.models.iter().any(|wanted| {
            wanted.is_slice() == kind.slice && model.is_some_and(|model| wanted.is(model, kind.memory))
        })
    }

    /// Whether a GPU's memory will do. Unknown memory does where nothing is asked.
    pub(crate) fn accepts_memory(&self, kind: &GpuKind) -> bool {
        has_memory(kind.memory.unwrap_or_default(), kind.model.as_deref(), self.gpu_memory)
    }
}

/// Bytes that an assignment takes in its node's desired set: its spec, and about as much as its id, its GPUs and its image
/// may be. Rounded up to a power of two, so that few shapes differ by it.
pub(crate) fn set_bytes(spec: &TaskSpec) -> u64 {
    const BESIDE_THE_SPEC: usize = 1_536;
    let bytes = encode(spec).len().saturating_add(BESIDE_THE_SPEC).next_power_of_two();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Whether `value` (`None`: the node has no such key) meets a constraint.
pub(crate) fn meets(constraint: &Constraint, value: Option<&str>) -> bool {
    // Addresses are written with or without their checksum's capitals.
    let address = constraint.key == "node" || constraint.key == "provider";
    let version = Constraint::is_version(&constraint.key);
    let equal = |wanted: &str, value: &str| {
        if address {
            wanted.eq_ignore_ascii_case(value)
        } else if version {
            SoftwareVersion::parse(wanted).is_some_and(|wanted| SoftwareVersion::parse(value) == Some(wanted))
        } else {
            wanted == value
        }
    };
    let newest = || value.and_then(SoftwareVersion::parse);
    let listed = || value.is_some_and(|value| constraint.values.iter().any(|wanted| equal(wanted, value)));
    match constraint.operator {
        ConstraintOperator::In => listed(),
        ConstraintOperator::NotIn => !listed(),
        ConstraintOperator::Exists => value.is_some(),
        ConstraintOperator::NotExists => value.is_none(),
        ConstraintOperator::AtLeast => {
            let least = constraint.values.first().and_then(|wanted| SoftwareVersion::parse(wanted));
            newest().zip(least).is_some_and(|(value, least)| value >= least)
        }
    }
}

impl Core {
    /// Refuses what the pool says it can never have, naming the shortfall.
    pub(crate) fn check_declared(&self, spec: &TaskSpec) -> Result<(), Rejected> {
        let Some(most) = &self.config.declared else { return Ok(()) };
        let wanted = &spec.resources;
        let mut shortfalls: Vec<String> = Vec::new();
        let mut require = |fits: bool, shortfall: String| {
            if !fits {
                shortfalls.push(shortfall);
            }
        };
        require(wanted.gpus <= most.gpus, format!("{} GPUs on one node, at most {}", wanted.gpus, most.gpus));
        require(
            wanted.gpus == 0 || has_memory(most.gpu_memory, None, wanted.gpu_memory),
            format!("GPUs with {}, at most {}", wanted.gpu_memory, most.gpu_memory),
        );
        let there_is = |wanted: &String| {
            let wanted = WantedModel::parse(wanted);
            // What is declared may be a product's full name or, like a wish, a part of it.
            most.gpu_models
                .iter()
                .any(|model| wanted.is(model, None) || WantedModel::parse(model).is(wanted.text(), None))
        };
        let models = wanted.gpus == 0
            || most.gpu_models.is_empty()
            || wanted.gpu_models.is_empty()
            || wanted.gpu_models.iter().any(there_is);
        require(models, format!("GPU models {:?}, there are {:?}", wanted.gpu_models, most.gpu_models));
        require(wanted.cpus <= most.cpus, format!("{} CPUs on one node, at most {}", wanted.cpus, most.cpus));
        require(
            wanted.memory <= most.memory,
            format!("{} of memory, at most {}", wanted.memory, most.memory),
        );
        require(wanted.disk <= most.disk, format!("{} of disk, at most {}", wanted.disk, most.disk));
        let total = u64::from(wanted.gpus).saturating_mul(spec.replicas.into());
        require(
            spec.kind == TaskKind::Batch || total <= most.total_gpus.into(),
            format!("{total} GPUs at once, at most {}", most.total_gpus),
        );
        if shortfalls.is_empty() {
            return Ok(());
        }
        Err(Rejected::invalid(
            "task/beyond-pool",
            format!("the task asks for more than this pool can ever have: {}", shortfalls.join("; ")),
            "ask for less, or use another pool",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraint(operator: ConstraintOperator, values: &[&str]) -> Constraint {
        Constraint {
            key: "zone".to_owned(),
            operator,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    #[test]
    fn constraints_compare_as_their_names_say() {
        use ConstraintOperator::{Exists, In, NotExists, NotIn};
        assert!(meets(&constraint(In, &["a", "b"]), Some("b")));
        assert!(!meets(&constraint(In, &["a"]), None));
        assert!(meets(&constraint(NotIn, &["a"]), None));
        assert!(!meets(&constraint(NotIn, &["a"]), Some("a")));
        assert!(meets(&constraint(Exists, &[]), Some("")));
        assert!(meets(&constraint(NotExists, &[]), None));
    }
}
