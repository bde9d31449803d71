//! What is said to our programs by those whom they ask or follow: tenants, pools, directories, provers, the chain's RPC.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use lode_address::{EndpointUrl, Fingerprint, HttpsAddress, PeerAddress};
use lode_contracts::{RawTransaction, decode_revert};
use lode_gpu_proof::prover_protocol::{FrameBuffer, Request, Response};
use lode_protocol::directory::{ChangesPage, DirectoryPage};
use lode_protocol::image::{ImageDigest, ImageReference, PinnedImage};
use lode_protocol::published::{EpochDocument, EpochPage, PayeeDocument};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest frame that is taken from a prover.
const FRAME: usize = 4 << 10;
/// Length of an address that is never too long.
const SHORT: usize = 200;

/// A reference that is taken leads nowhere but to its repository, however its parts are put into a URL.
pub(super) fn image(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(image) = text.parse::<ImageReference>() else { return };
    let harmless = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\@\"<>".contains(&byte))
            && part.split('/').all(|piece| !piece.is_empty() && piece != "." && piece != "..")
    };
    assert!(harmless(image.repository()), "{image:?}");
    assert!(harmless(image.version()) && !image.version().contains('/'), "{image:?}");
    assert!(harmless(image.registry()) && !image.registry().contains('/'), "{image:?}");
    let digest = ImageDigest::from_bytes(&[7; 32]);
    let pinned = PinnedImage::new(&image, digest.clone());
    assert!(pinned.reference().same_repository(&image), "{pinned} is of the repository of {text}");
    let again = pinned.to_string().parse::<PinnedImage>().expect("what was pinned can be read");
    assert!(again == pinned && again.digest() == &digest);
}

fn written<T>(text: &str)
where
    T: FromStr + Display + PartialEq + Debug,
{
    let Ok(value) = text.parse::<T>() else { return };
    let shown = value.to_string();
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    // What is written out in full may be longer than what is read.
    if shown.len() <= SHORT {
        assert_eq!(shown.parse::<T>().ok().as_ref(), Some(&value), "{text:?} is written as {shown:?}");
    }
}

/// Endpoints that pools put on chain, and directories into descriptions.
pub(super) fn addresses(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    written::<PeerAddress>(text);
    written::<HttpsAddress>(text);
    written::<EndpointUrl>(text);
    written::<Fingerprint>(text);
    if let Ok(EndpointUrl::Https(address)) = text.parse::<EndpointUrl>() {
        let path = address.join("wire/v1");
        assert!(path.starts_with("http") && path.ends_with("/wire/v1"), "{path}");
    }
}

fn json<T>(bytes: &[u8]) -> Option<T>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value = serde_json::from_slice::<T>(bytes).ok()?;
    let text = serde_json::to_vec(&value).expect("what was read can be written");
    let again = serde_json::from_slice::<T>(&text).expect("what was written can be read");
    assert_eq!(again, value);
    Some(value)
}

/// What pools publish of their epochs.
pub(super) fn published(bytes: &[u8]) {
    let _ = json::<EpochPage>(bytes);
    let _ = json::<PayeeDocument>(bytes);
    let Some(document) = json::<EpochDocument>(bytes) else { return };
    for receipt in &document.receipts {
        let _ = receipt.usage.digest();
    }
}

/// Pages of a directory: nothing that it lists opens unless somebody signed it.
pub(super) fn directory(bytes: &[u8]) {
    let _ = json::<ChangesPage>(bytes);
    let Some(page) = json::<DirectoryPage>(bytes) else { return };
    for entry in &page.nodes {
        super::descriptor(&entry.descriptor);
    }
}

/// Refusals of an API, as the client reads them.
pub(super) fn problem(bytes: &[u8]) {
    let _ = json::<lode_api_types::Problem>(bytes);
}

/// Both sides of the pipe between a worker and its prover, in pieces of any size.
pub(super) fn prover(bytes: &[u8]) {
    let Some((step, stream)) = bytes.split_first() else { return };
    let mut buffer = FrameBuffer::new(FRAME);
    let mut taken = 0;
    for piece in stream.chunks(1 + usize::from(*step)) {
        buffer.push(piece);
        loop {
            match buffer.next_frame() {
                Ok(Some(content)) => {
                    assert!(content.len() <= FRAME);
                    taken += content.len();
                    let _ = Request::from_content(&content);
                    let _ = Response::from_content(&content);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(taken <= stream.len(), "no byte counts twice");
    let _ = buffer.finish();
}

/// What an RPC says of reverted calls, and transactions that somebody signed elsewhere.
pub(super) fn chain_answers(bytes: &[u8]) {
    let revert = decode_revert(bytes);
    assert!(!revert.name.is_empty() && !revert.name.chars().any(char::is_control), "{revert:?}");
    if let Ok(raw) = RawTransaction::decode(bytes) {
        assert_eq!(raw.signed.bytes, bytes);
    }
}
