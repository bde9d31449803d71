//! What work is worth, and how it is paid. Only pools with prices do any of it.
//!
//! beats → [`meter`] → receipts ([`close`], [`offer`]) → roots ([`posting`]); [`budget`] keeps what is accrued within what
//! the pool may promise, [`order`] within what a tenant signed for.
//!
//! * An epoch's usage is what was acknowledged while that epoch ran by the chain's time, as this core has heard of it.
//!   Time is counted from accepted beats only, and once: between two beats of one session, at both of which the
//!   assignment ran.
//! * A payee's earnings only grow, and its index in the tree is for ever.
//! * What is accrued and not posted never exceeds what the pool may promise, unless its owner takes money away.
//!
//! | what | durable |
//! |---|---|
//! | usage of the running epoch | at the latest a checkpoint later, or when an assignment ends: a crash loses it in the payer's favour |
//! | receipts, payees, indices, roots | in the commit that makes them |

mod budget;
mod close;
mod ledger;
mod meter;
mod offer;
mod order;
mod posting;
mod record;
mod recover;
mod rows;
pub mod view;

pub(crate) use ledger::Ledger;
pub(crate) use meter::ReportedRun;
pub use order::SignedSpendAuthorization;
pub(crate) use order::TaskOrderState;
pub use record::{LEAVES_IN_PAGE, ReceiptRow, RootRow, receipt_key, root_key, root_page_key};
pub(crate) use recover::LedgerRows;
pub(crate) use rows::TouchedLedger;

/// What the core's tests look at.
#[cfg(test)]
pub(crate) mod test_access {
    pub(crate) use super::ledger::{LineKey, Meter};
    pub(crate) use super::record::MeterRow;
    pub(crate) use crate::state::cost::Cost;
}
