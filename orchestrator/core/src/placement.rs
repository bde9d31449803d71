//! Placement: which node gets which replica. Filter → score → bind.
//!
//! * [`requirement`]: what a replica needs, shared by all replicas of one shape
//! * [`filter`]: whether one node can take it, and if not, why
//! * [`index`]: free capacity in an order in which the best fit comes first, made of [`places`], [`kinds`] and [`labels`]
//! * [`search`]: proposes nodes for a shape, tightest fit first
//! * [`effort`]: how much of all this one step may do
//! * [`score`]: which of the fitting nodes is best
//! * [`queue`]: replicas that wait; [`blocked`]: those that fit nowhere, by what they wait for
//! * [`bind`]: the decision itself, checked against the core's own state in the moment it is made
//! * [`explain`]: the same filters, asked about every node, for people; [`figures`]: what there is of the GPUs

mod bind;
mod blocked;
mod effort;
mod explain;
mod figures;
mod filter;
mod index;
mod kinds;
mod labels;
mod places;
mod queue;
mod requirement;
mod score;
mod search;

#[cfg(test)]
pub(crate) use effort::{Counted, Effort};
pub(crate) use index::Index;
pub(crate) use queue::Queue;
pub(crate) use requirement::{Requirement, set_bytes};
#[cfg(test)]
pub(crate) use score::{COMPARED, Score, score};
#[cfg(test)]
pub(crate) use search::Search;
