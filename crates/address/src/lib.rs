//! Where Lode's programs are reached, as people write it: a peer's multiaddress, or an HTTPS URL that may pin its
//! certificate. Both are checked when they are parsed.
//!
//! What it owns besides: the HTTP client that judges a server as its URL says. What it does not: connections to peers.
//! The command line names and reads addresses without linking what dials them (`lode-network`).

mod endpoint;
mod error;
mod https;
mod peer;
mod peer_id;
mod pin;

pub use endpoint::EndpointUrl;
pub use error::AddressError;
pub use https::{HttpsAddress, PIN_PREFIX, literal_ip};
pub use peer::{AddressFamily, Host, PeerAddress};
pub use peer_id::peer_id_text;
pub use pin::{Fingerprint, ensure_provider, is_pin_mismatch, pinned_client_config};
