//! The Container Device Interface, as far as a worker needs it: reading a specification file and saying what a
//! container must get for certain GPUs. For engines that do not resolve CDI names themselves.
//!
//! Owns the file's types (specification 0.8, <https://github.com/cncf-tags/container-device-interface>), the
//! search by UUID, the merge. Does not own: giving the result to an engine.
//!
//! Invariants: a field this build does not know is an error, because ignoring it could give a container less, or
//! more, than the file says; hooks are never run here, and never forgotten silently.

mod edits;
mod error;
mod spec;

pub use edits::HookPolicy;
pub use error::CdiError;
pub use spec::{CdiDevice, CdiDeviceNode, CdiHook, CdiMount, CdiSpec, ContainerEdits};
