//! The fuzz targets of output: what a hostile task writes, and what a damaged disk gives back.

use lode_protocol::logs::{LineEnd, LogLine, LogSource};

use super::join::Joiner;
use super::segment::{Item, SegmentReader};
use super::spool::{Body, Entry};
use crate::engine::Piece;

fn written(entries: &[Entry], wanted: LogSource) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in entries {
        let Body::Line { source, bytes, end } = &entry.body else { continue };
        assert!(bytes.len() <= LogLine::MAX_BYTES);
        if *source == wanted {
            all.extend_from_slice(bytes);
            all.extend((*end == LineEnd::Newline).then_some(b'\n'));
        }
    }
    all
}

/// `output_lines`: of what a task writes not a byte is lost, added, or moved to the other stream.
///
/// # Panics
/// If a defect was found.
pub fn output_lines(bytes: &[u8]) {
    let pieces: Vec<Piece> = crate::docker::pieces(bytes);
    let mut joiner = Joiner::default();
    let mut entries = Vec::new();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for (number, piece) in pieces.iter().enumerate() {
        let expected = if piece.source == LogSource::Stderr { &mut stderr } else { &mut stdout };
        expected.extend_from_slice(&piece.bytes);
        expected.extend(piece.ends_line.then_some(b'\n'));
        entries.extend(joiner.push(piece));
        if number % 3 == 2 {
            entries.extend(joiner.cut());
        }
    }
    entries.extend(joiner.end());
    assert_eq!(written(&entries, LogSource::Stdout), stdout);
    assert_eq!(written(&entries, LogSource::Stderr), stderr);
}

/// `output_file`: whatever a file holds, what is read of it is whole records from its beginning, and written again they are
/// the same bytes or fewer.
///
/// # Panics
/// If a defect was found.
pub fn output_file(bytes: &[u8]) {
    let mut reader = SegmentReader::of(bytes);
    let (mut again, mut items) = (Vec::new(), Vec::new());
    while let Ok(Some(item)) = reader.next() {
        match &item {
            Item::Record(kept) => kept.append_to(&mut again),
            Item::Standing(standing) => standing.append_to(&mut again),
        }
        items.push(item);
    }
    assert!(reader.read <= bytes.len() as u64);
    let mut reader = SegmentReader::of(&again[..]);
    for item in items {
        assert_eq!(reader.next().ok().flatten(), Some(item));
    }
    assert_eq!(reader.read, again.len() as u64);
}

#[cfg(test)]
mod tests {
    use lode_testkit::fuzz::short_run;

    #[test]
    fn of_what_a_hostile_task_writes_not_a_byte_is_lost_or_given_to_the_other_stream() {
        short_run("output_lines", 4_000, super::output_lines);
    }

    #[test]
    fn a_file_of_output_with_any_bytes_in_it_is_read_as_far_as_it_is_one() {
        short_run("output_file", 4_000, super::output_file);
    }
}
