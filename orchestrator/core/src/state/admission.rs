//! How far a node's admission is; the steps are in [`crate::admission`].

use lode_protocol::error_code::ErrorCode;
use lode_protocol::join::Invite;
use lode_protocol::keys::EthereumSignature;
use lode_protocol::units::Timestamp;
use minicbor::{Decode, Encode};

/// How far a node has come.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Admission {
    /// Tries that came to nothing.
    #[n(0)]
    pub(crate) attempts: u32,
    #[n(1)]
    pub(crate) phase: Phase,
}

/// The phase of the table above.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Phase {
    #[n(0)]
    Waiting {
        #[n(0)]
        since: Timestamp,
    },
    #[n(1)]
    Invited {
        #[n(0)]
        invite: Invite,
    },
    #[n(2)]
    Consented {
        #[n(0)]
        invite: Invite,
        #[n(1)]
        consent: EthereumSignature,
        #[n(2)]
        since: Timestamp,
    },
    #[n(3)]
    CoolingDown {
        #[n(0)]
        until: Timestamp,
        #[n(1)]
        code: ErrorCode,
        #[n(2)]
        message: String,
    },
    #[n(4)]
    GaveUp {
        #[n(0)]
        code: ErrorCode,
        #[n(1)]
        message: String,
    },
}

impl Admission {
    pub(crate) fn new(now: Timestamp) -> Self {
        Admission { attempts: 0, phase: Phase::Waiting { since: now } }
    }
}
