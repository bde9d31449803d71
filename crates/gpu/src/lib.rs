//! The GPUs of one host: what there is ([`Inventory`]), how they are ([`HealthSample`], [`XidEvent`],
//! [`GpuHealthCore`]), who else uses them ([`ForeignWatch`]), which are kept from tasks ([`Excluded`]), and what a container
//! needs to use them ([`cdi`]).
//!
//! Owns NVML: no other room names its types. NVML runs on threads of its own behind [`NvmlHandle`], because its
//! calls block and, on a sick GPU, hang.
//! Does not own: who may use which GPU (the worker), proofs (`lode-gpu-proof`).
//!
//! Invariants: a GPU is named by its UUID, never by its index; every field but the UUID may be unknown; one sick
//! GPU never hides the others; an error never looks like "no GPUs".

pub mod cdi;
mod error;
mod exclude;
mod foreign;
mod health;
mod inventory;
mod nvml;
mod processes;
mod sample;
mod spec;
mod xid;

pub use error::NvmlError;
pub use exclude::{Excluded, GpuName, NoGpuName, PciAddress};
pub use foreign::{ForeignUse, ForeignWatch, OwnUse};
pub use health::{
    GpuHealth, GpuHealthCore, HealthEffect, HealthEvent, HealthPolicy, HealthReason, ProofDepth,
};
pub use inventory::{
    EccMode, FabricState, FieldProblem, Gpu, Inventory, MigInstance, MigMode, NvLinks, PcieLink,
    UnreadableGpu,
};
pub use lode_protocol::ids::GpuUuid;
pub use nvml::{NvmlConfig, NvmlHandle, WatchStatus, XidEvent, XidWatch};
pub use processes::{ProcessOwner, container_of, container_of_cgroup, owner_of};
pub use sample::{GpuProcess, GpuReading, HealthSample, RecoveryAction, RemappedRows, ThrottleReasons};
pub use spec::{gpu_specs, gpu_statuses};
pub use xid::XidClass;
