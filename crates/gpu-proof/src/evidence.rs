//! Evidence of a forged proof: what a validator keeps, and what anybody makes of it.
//!
//! [`verify_evidence`] says *guilty* only when the node's own signature covers something false in the very
//! conversation that it names: a row that is not the product under the root it signed, an opening that is not of what
//! it committed to or not what it was asked for, or two commits that exclude each other. Everything else is innocent:
//! broken or foreign files, messages of several conversations put together, demands that the class does not allow,
//! bytes that say nothing, and everything about time, which is not even in the file.
//!
//! The judgement is a pure function of the bytes, without secrets: rows and intervals that are suspected are computed
//! in full, so that everybody comes to the same verdict. It trusts neither side. What the validator says counts only
//! where the node's signature names it (see `lode_protocol::proof`); a Merkle path under a signed root needs no
//! further signature.

mod acquittal;
mod conversation;
mod file;
mod judge;
mod verdict;

pub use acquittal::{Acquittal, MAX_EVIDENCE_BYTES};
pub use file::{Evidence, Exhibit, Suspect};
pub use judge::verify_evidence;
pub use verdict::{Deed, Guilt, MAX_ANSWER_LIFETIME, Verdict};
