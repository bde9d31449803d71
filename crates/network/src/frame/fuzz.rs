//! The fuzz target `frames`: what a peer sends, in pieces of any size.

use std::io;

use tokio_util::io::StreamReader;

use super::*;

/// Largest frame that is taken.
const LIMIT: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct NoCarrier(CancellationToken);

impl Carrier for NoCarrier {
    fn ending(&self) -> &CancellationToken {
        &self.0
    }

    fn cause(&self) -> Option<NetworkError> {
        None
    }
}

/// The first byte says how large pieces are; the rest is what arrives. Frames that are taken are what was sent, byte for
/// byte, however it was cut.
///
/// # Panics
/// If a defect was found.
#[cfg_attr(test, expect(unreachable_pub, reason = "it is public where it is fuzzed"))]
pub fn frames(bytes: &[u8]) {
    let Some((step, sent)) = bytes.split_first() else { return };
    let pieces: Vec<io::Result<io::Cursor<Vec<u8>>>> =
        sent.chunks(1 + usize::from(*step)).map(|piece| Ok(io::Cursor::new(piece.to_vec()))).collect();
    let raw = StreamReader::new(futures::stream::iter(pieces));
    let intake = Intake::trusting(LIMIT, crate::endpoint::FramePace::default());
    let mut reader = FrameReader::new(raw, intake, Arc::new(NoCarrier::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without threads").block_on(async {
        let mut at = 0;
        while let Ok(Some(frame)) = reader.receive(DEADLINE).await {
            assert!(!frame.is_empty() && frame.len() <= LIMIT);
            assert_eq!(sent.get(at + HEADER..at + HEADER + frame.len()), Some(&frame[..]));
            at += HEADER + frame.len();
        }
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_bytes_of_a_peer_break_the_reader_of_frames_and_what_it_takes_is_what_was_sent() {
        lode_testkit::fuzz::short_run("frames", 3_000, super::frames);
    }
}
