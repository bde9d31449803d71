//! What an engine may give of a container's output: the first half of the fuzz target `output_lines`.

use super::*;

/// Chunks as an engine frames them: for each a byte that says of which stream, with which stamp and of which engine, one that
/// says how long it is, and what is in it.
pub(crate) fn pieces(bytes: &[u8]) -> Vec<Piece> {
    let Some((first, mut rest)) = bytes.split_first() else { return Vec::new() };
    let mut stamps = Stamps { marks: Marks::default(), tells_line_feeds: first & 1 == 0 };
    let mut pieces = Vec::new();
    while let Some(([kind, length], behind)) = rest.split_first_chunk::<2>() {
        // Now and then a long one: those are where lines are cut.
        let length = usize::from(*length) << if kind & 0x40 == 0 { 0 } else { 6 };
        let (text, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        let mut message = match kind >> 2 & 3 {
            0 => Vec::new(),
            stamp => format!("2026-01-31T12:00:00.00000000{stamp}Z ").into_bytes(),
        };
        message.extend_from_slice(text);
        let message = Bytes::from(message);
        pieces.push(stamps.mark(match kind & 3 {
            0 => LogOutput::StdOut { message },
            1 => LogOutput::StdErr { message },
            2 => LogOutput::Console { message },
            _ => LogOutput::StdIn { message },
        }));
    }
    pieces
}
