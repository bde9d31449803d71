//! The fuzz targets of the client: what servers stream to it, and statements that it is asked to sign.

use crate::api::sse::{SseEvent, SseParser};
use crate::wallet::TypedData;

fn events(stream: &[u8], size: usize) -> Option<Vec<SseEvent>> {
    let mut parser = SseParser::default();
    let mut events = Vec::new();
    for chunk in stream.chunks(size) {
        events.extend(parser.push(chunk).ok()?);
    }
    Some(events)
}

/// `sse`: events are the same however the stream is cut.
///
/// # Panics
/// If a defect was found.
pub fn sse(bytes: &[u8]) {
    let Some((step, stream)) = bytes.split_first() else { return };
    let whole = events(stream, stream.len().max(1));
    assert_eq!(events(stream, 1 + usize::from(*step)), whole);
    assert!(whole.iter().flatten().all(|event| event.id.as_ref().is_none_or(|id| !id.contains('\0'))));
}

/// `typed_data`: what can be hashed has the same digest after it was written and read again.
///
/// # Panics
/// If a defect was found.
pub fn typed_data(bytes: &[u8]) {
    let Ok(data) = serde_json::from_slice::<TypedData>(bytes) else { return };
    let text = serde_json::to_vec(&data).expect("what was read can be written");
    let again: TypedData = serde_json::from_slice(&text).expect("what was written can be read");
    if let Ok(digest) = data.digest() {
        assert_eq!(again.digest().ok(), Some(digest));
        assert!(data.fields().is_ok(), "all that is signed can be shown");
    }
}

#[cfg(test)]
mod tests {
    use lode_testkit::fuzz::short_run;

    #[test]
    fn events_of_any_stream_are_the_same_however_it_is_cut() {
        short_run("sse", 3_000, super::sse);
    }

    #[test]
    fn statements_that_can_be_signed_can_be_shown_and_mean_the_same_when_they_are_read_again() {
        short_run("typed_data", 3_000, super::typed_data);
    }
}
