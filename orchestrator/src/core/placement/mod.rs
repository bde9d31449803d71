//! Placement: which node gets which replica. Filter → score → bind.
//!
//! * [`requirement`]: what a replica needs, shared by all replicas of one shape
//! * [`filter`]: whether one node can take it, and if not, why
//! * [`index`]: free capacity in an order in which the best fit comes first
//! * [`score`]: which of the fitting nodes is best
//! * [`queue`]: replicas that wait
//! * [`bind`]: the decision itself, checked against the core's own state in the moment it is made
//! * [`explain`]: the same filters, asked about every node, for people

mod bind;
mod explain;
mod filter;
mod index;
mod queue;
mod requirement;
mod score;

pub(crate) use index::Index;
pub(crate) use queue::Queue;
pub(crate) use requirement::{Requirement, ShapeId};
