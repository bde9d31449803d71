//! The orchestrator that is loaded, as its loaders know it.

use lode_network::PeerAddress;
use lode_protocol::envelope::Realm;
use lode_protocol::ids::Address;

/// Whom to load.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) pid: u64,
    pub(crate) libp2p: PeerAddress,
    pub(crate) http: String,
    pub(crate) orchestrator: Address,
    pub(crate) realm: Realm,
}
