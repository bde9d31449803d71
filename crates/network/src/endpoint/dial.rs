//! Dials that are under way, and what their failures mean.

use libp2p::swarm::{ConnectionDenied, DialError};
use lode_address::PeerAddress;
use lode_protocol::ids::Address;
use tokio::sync::oneshot;

use super::Connection;
use super::admission::Refused;
use crate::error::NetworkError;
use crate::identity::address_of;

/// A dial whose caller waits.
pub(super) struct PendingDial {
    pub(super) address: PeerAddress,
    pub(super) expected: Address,
    pub(super) reply: oneshot::Sender<Result<Connection, NetworkError>>,
}

pub(super) fn mismatch(dial: &PendingDial, got: &str) -> NetworkError {
    NetworkError::PeerMismatch {
        address: dial.address.to_string(),
        expected: dial.expected.to_string(),
        got: got.to_owned(),
    }
}

pub(super) fn dial_error(dial: &PendingDial, error: &DialError) -> NetworkError {
    let address = dial.address.to_string();
    match error {
        DialError::WrongPeerId { obtained, .. } => {
            let got =
                address_of(obtained).map_or_else(|| obtained.to_string(), |address| address.to_string());
            mismatch(dial, &got)
        }
        DialError::Denied { cause } => denied(cause),
        DialError::Transport(errors) => {
            let reasons: Vec<String> = errors.iter().map(|(_, error)| deepest(error)).collect();
            NetworkError::Dial { address, reason: reasons.join("; ") }
        }
        DialError::LocalPeerId { .. } => {
            NetworkError::Dial { address, reason: "this is our own address".to_owned() }
        }
        DialError::NoAddresses | DialError::DialPeerConditionFalse(_) | DialError::Aborted => {
            NetworkError::Dial { address, reason: error.to_string() }
        }
    }
}

fn denied(cause: &ConnectionDenied) -> NetworkError {
    match cause.downcast_ref::<Refused>() {
        Some(Refused("unsupported-key")) => NetworkError::UnsupportedPeer,
        Some(refused) => NetworkError::Denied { reason: refused.to_string() },
        None => NetworkError::Denied { reason: cause.to_string() },
    }
}

/// The innermost cause: the layers around it say only that they failed.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
