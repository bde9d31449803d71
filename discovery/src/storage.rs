//! What survives a restart: each node's sealed descriptor, with its provider of then in front.
//!
//! A row was acknowledged to its node. It is deleted only when it can never count: it cannot be read, or is long over.
//! One that does not count now (by a clock that may be wrong, in a configuration that may be, for want of room) stays on
//! the disk and is looked at again: see [`crate::undecided`].

use lode_protocol::descriptor::{self, DescriptorError, Scope, VerifiedDescriptor};
use lode_protocol::envelope::{EnvelopeError, Realm};
use lode_protocol::ids::{Address, NodeId, ProviderId};
use lode_protocol::time::Now;
use lode_protocol::units::{Millis, Timestamp};
use lode_store::{Batch, Row, Table};

use crate::core::{Event, Rejected, Stored};

/// By node, as text.
pub(crate) const DESCRIPTORS: Table = Table::new("descriptors");
/// Rows that are dropped in one batch.
pub(crate) const MOST_DROPPED: usize = 1_000;
/// How long a row is kept after its time: a clock that is ahead by less deletes nothing.
const KEPT_AFTER_EXPIRY: Millis = Millis::seconds(7 * 24 * 3_600);

/// A row that is verified and counts now.
pub(crate) struct Stands {
    pub(crate) descriptor: Box<VerifiedDescriptor>,
    pub(crate) provider: ProviderId,
}

impl Stands {
    /// As the core takes it.
    pub(crate) fn loaded(self) -> Event {
        Event::Loaded { descriptor: self.descriptor, provider: self.provider }
    }
}

/// Why a row is not listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unlisted {
    /// It may count later.
    Later,
    /// It will never count.
    Never,
}

/// Whose row it is; `None` where that cannot be read.
pub(crate) fn node_of((key, _): &Row) -> Option<NodeId> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// Verifies a row again.
pub(crate) fn open(row: &Row, realm: Realm, now: Timestamp) -> Result<Stands, Unlisted> {
    let node = node_of(row).ok_or(Unlisted::Never)?;
    let (provider, sealed) = row.1.split_first_chunk::<20>().ok_or(Unlisted::Never)?;
    let descriptor = descriptor::open(sealed, Scope::Deployment(realm), Some(node), now)
        .map_err(|error| why_refused(&error, now))?;
    Ok(Stands { descriptor: Box::new(descriptor), provider: ProviderId(Address(*provider)) })
}

/// What it means that the core does not take a row.
pub(crate) fn why_rejected(rejected: &Rejected, now: Now) -> Unlisted {
    match rejected {
        Rejected::Expired { expired_at } => expired(*expired_at, now.wall),
        Rejected::Stale { .. }
        | Rejected::NotRegistered(_)
        | Rejected::NotEligible(_)
        | Rejected::ChainUnknown(_)
        | Rejected::TooOften { .. }
        | Rejected::Busy
        | Rejected::Full
        | Rejected::NotStored(_) => Unlisted::Later,
    }
}

/// What waits for a later time ends by itself: an envelope's lifetime is bounded, and its expiry is checked before all
/// that is said here to be for later but its beginning.
fn why_refused(error: &DescriptorError, now: Timestamp) -> Unlisted {
    match error {
        DescriptorError::Expired { expired_at }
        | DescriptorError::Envelope(EnvelopeError::Expired { expired_at, .. }) => expired(*expired_at, now),
        DescriptorError::Lifetime { .. }
        | DescriptorError::Envelope(EnvelopeError::NotYetValid { .. } | EnvelopeError::WrongRealm { .. }) => {
            Unlisted::Later
        }
        DescriptorError::WrongNode { .. }
        | DescriptorError::TooMany { .. }
        | DescriptorError::TooLong { .. }
        | DescriptorError::RepeatedGpu(_)
        | DescriptorError::Envelope(
            EnvelopeError::TooLarge { .. }
            | EnvelopeError::Malformed(_)
            | EnvelopeError::NotCanonical(_)
            | EnvelopeError::UnsupportedVersion { .. }
            | EnvelopeError::WrongPurpose { .. }
            | EnvelopeError::ExpiresBeforeIssue { .. }
            | EnvelopeError::CountsTooLong { .. }
            | EnvelopeError::NotAddressed { .. }
            | EnvelopeError::WrongAudience { .. }
            | EnvelopeError::WrongSigner { .. }
            | EnvelopeError::BadSignature
            | EnvelopeError::BadTag,
        ) => Unlisted::Never,
    }
}

fn expired(at: Timestamp, now: Timestamp) -> Unlisted {
    if at.plus(KEPT_AFTER_EXPIRY) < now { Unlisted::Never } else { Unlisted::Later }
}

/// Adds a change to a batch.
pub(crate) fn add(batch: &mut Batch, change: Stored) {
    let key = |node: NodeId| node.to_string().into_bytes();
    match change {
        Stored::Put { node, provider, sealed } => {
            let mut value = provider.0.as_bytes().to_vec();
            value.extend_from_slice(&sealed);
            batch.put(DESCRIPTORS, key(node), value);
        }
        Stored::Delete(node) => drop(batch.delete(DESCRIPTORS, key(node))),
    }
}
