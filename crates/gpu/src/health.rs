//! Which GPUs may be trusted with work: a pure state machine, one record per UUID.
//!
//! ```text
//!            doubt                      fault
//!  Healthy ────────▶ Suspect ─────────────────────▶ Quarantined ──▶ (operator must clear)
//!     ▲                 │  clean for N samples          │  ▲
//!     │◀────────────────┘  and quiet                    │  │ any doubt or fault
//!     │                             clean, hold is over ▼  │
//!     └──────────────────────────────────────────── Recovering
//!              clean for N samples, quiet, proof where asked for
//! ```
//!
//! A proof that is passed ends a quarantine before its hold is over, and so does an operator; after both, clean samples
//! must follow.
//!
//! Owns: the states and what moves them. Does not own: reading NVML, stopping tasks, running proofs; it asks for
//! those with effects.
//!
//! Invariants: a GPU that cannot be read is never Healthy; what one GPU does changes no other GPU's state;
//! from Quarantined nothing leads back to Healthy but Recovering; times may repeat or go back without harm.

mod assess;
mod core;
mod effect;
mod policy;
mod reason;
mod record;

pub use self::core::{GpuHealthCore, HealthEvent};
pub use effect::{GpuHealth, HealthEffect, ProofDepth};
pub use policy::HealthPolicy;
pub use reason::HealthReason;

#[cfg(test)]
pub(crate) mod tests;
