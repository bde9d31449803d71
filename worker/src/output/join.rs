//! The engine's pieces joined to lines.

use lode_protocol::logs::{LineEnd, LogLine, LogSource};

use super::spool::{Body, Entry};
use super::standing::{Behind, Standing};
use crate::engine::{Mark, Piece};

/// Lines that are not complete yet. The sources are kept apart: their pieces may come in any mixture.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    stdout: Pending,
    stderr: Pending,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Of its first piece.
    began: Mark,
    /// Of its last piece.
    mark: Option<Mark>,
}

impl Joiner {
    /// Goes on where reading stands: with the beginnings of characters that are in no record yet.
    pub(super) fn resume(standing: &Standing) -> Self {
        Self { stdout: Pending::resume(&standing.stdout), stderr: Pending::resume(&standing.stderr) }
    }

    /// Takes a piece and gives what it completes.
    pub(super) fn push(&mut self, piece: &Piece) -> Vec<Entry> {
        let mut entries = Vec::new();
        let source = piece.source;
        let pending = self.of(source);
        if pending.bytes.len() + piece.bytes.len() > LogLine::MAX_BYTES {
            entries.extend(pending.cut(source));
        }
        if pending.mark.is_none() {
            pending.began = piece.mark;
        }
        pending.bytes.extend_from_slice(&piece.bytes);
        while pending.bytes.len() > LogLine::MAX_BYTES {
            // Its mark stays behind: an engine with such pieces gives this one again after a crash in the middle of it.
            let head = whole_characters(pending.bytes.get(..LogLine::MAX_BYTES).unwrap_or_default());
            let rest = pending.bytes.split_off(head);
            let bytes = std::mem::replace(&mut pending.bytes, rest);
            entries.push(line(source, piece.mark, bytes, LineEnd::Cut, None));
        }
        pending.mark = Some(piece.mark);
        if piece.ends_line {
            entries.extend(pending.end(source, LineEnd::Newline));
        }
        entries
    }

    /// Whether part of a line waits for its rest.
    pub(super) fn is_waiting(&self) -> bool {
        self.stdout.mark.is_some() || self.stderr.mark.is_some()
    }

    /// Gives what there is of lines whose rest does not come soon.
    pub(super) fn cut(&mut self) -> Vec<Entry> {
        let stdout = self.stdout.cut(LogSource::Stdout);
        stdout.into_iter().chain(self.stderr.cut(LogSource::Stderr)).collect()
    }

    /// Gives what there is of lines whose rest does not come at all.
    pub(super) fn end(&mut self) -> Vec<Entry> {
        let stdout = self.stdout.end(LogSource::Stdout, LineEnd::Open);
        stdout.into_iter().chain(self.stderr.end(LogSource::Stderr, LineEnd::Open)).collect()
    }

    fn of(&mut self, source: LogSource) -> &mut Pending {
        match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        }
    }
}

impl Pending {
    fn resume(behind: &Option<Behind>) -> Self {
        let Some(behind) = behind.as_ref().filter(|behind| !behind.rest.is_empty()) else {
            return Self::default();
        };
        Self { bytes: behind.rest.clone(), began: behind.mark(), mark: Some(behind.mark()) }
    }

    /// Up to the last whole character; the rest of a character stays.
    fn cut(&mut self, source: LogSource) -> Option<Entry> {
        let head = whole_characters(&self.bytes);
        if head == 0 {
            return None;
        }
        let rest = self.bytes.split_off(head);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let behind = self.mark.map(|mark| Behind::new(mark, self.bytes.clone()));
        if self.bytes.is_empty() {
            self.mark = None;
        }
        Some(line(source, self.began, bytes, LineEnd::Cut, behind))
    }

    fn end(&mut self, source: LogSource, end: LineEnd) -> Option<Entry> {
        let mark = self.mark.take()?;
        let behind = Behind::new(mark, Vec::new());
        Some(line(source, self.began, std::mem::take(&mut self.bytes), end, Some(behind)))
    }
}

fn line(source: LogSource, began: Mark, bytes: Vec<u8>, end: LineEnd, behind: Option<Behind>) -> Entry {
    Entry { at: began.at, body: Body::Line { source, bytes, end }, behind }
}

/// The length without a UTF-8 character at the end that has only begun. What is no UTF-8 is left as it is.
fn whole_characters(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return bytes.len(),
        };
        return if length > back + 1 { bytes.len() - back - 1 } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use lode_protocol::logs::EngineTime;
    use proptest::prelude::*;

    use super::*;

    /// Characters of every length.
    const TEXT: &str = "a\u{e9}\u{20ac}\u{1f600}";

    fn piece(source: LogSource, number: usize, bytes: &[u8], ends_line: bool) -> Piece {
        let mark = Mark { at: EngineTime(number as u64), repeat: 1 };
        Piece { source, mark, bytes: bytes.to_vec().into(), ends_line }
    }

    /// What a pipe would get of one source.
    fn written(entries: &[Entry], wanted: LogSource) -> Vec<u8> {
        let mut all = Vec::new();
        for entry in entries {
            let Body::Line { source, bytes, end } = &entry.body else { panic!("{entry:?}") };
            assert!(bytes.len() <= LogLine::MAX_BYTES);
            if *source == wanted {
                all.extend_from_slice(bytes);
                all.extend((*end == LineEnd::Newline).then_some(b'\n'));
            }
        }
        all
    }

    #[test]
    fn pieces_of_both_sources_that_come_mixed_are_joined_each_with_its_own() {
        let mut joiner = Joiner::default();
        let (out, err) = (LogSource::Stdout, LogSource::Stderr);
        assert!(joiner.push(&piece(out, 1, "a\u{e9}".as_bytes(), false)).is_empty());
        assert!(joiner.push(&piece(err, 2, b"x", false)).is_empty());
        let line = joiner.push(&piece(out, 1, b"b", true));
        assert_eq!(written(&line, out), "a\u{e9}b\n".as_bytes());
        assert_eq!((line.len(), line[0].at), (1, EngineTime(1)));
        let line = joiner.push(&piece(err, 2, b"y", true));
        assert_eq!(written(&line, err), b"xy\n");
        assert!(!joiner.is_waiting() && joiner.end().is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_not_lost_and_is_said_to_have_none() {
        let mut joiner = Joiner::default();
        joiner.push(&piece(LogSource::Stdout, 1, b"no end", false));
        let end = joiner.end();
        assert!(matches!(&end[0].body, Body::Line { end: LineEnd::Open, .. }), "{end:?}");
        joiner.push(&piece(LogSource::Stdout, 1, b"half of \xc3", false));
        let cut = joiner.cut();
        assert!(matches!(&cut[0].body, Body::Line { bytes, end: LineEnd::Cut, .. } if bytes == b"half of "));
        assert!(joiner.cut().is_empty(), "half of a character waits");
        let rest = joiner.push(&piece(LogSource::Stdout, 1, b"\xa9", true));
        assert_eq!(written(&rest, LogSource::Stdout), "\u{e9}\n".as_bytes());
    }

    #[test]
    fn a_line_over_the_cap_is_cut_where_no_character_is_parted() {
        let text = "\u{20ac}".repeat(LogLine::MAX_BYTES / 2);
        let mut joiner = Joiner::default();
        let mut entries = Vec::new();
        for chunk in text.as_bytes().chunks(16 << 10) {
            entries.extend(joiner.push(&piece(LogSource::Stdout, 1, chunk, false)));
        }
        entries.extend(joiner.push(&piece(LogSource::Stdout, 1, b"", true)));
        assert!(entries.len() >= 2);
        for entry in &entries {
            let Body::Line { bytes, .. } = &entry.body else { panic!("{entry:?}") };
            assert!(std::str::from_utf8(bytes).is_ok());
        }
        assert_eq!(written(&entries, LogSource::Stdout), format!("{text}\n").as_bytes());
    }

    proptest! {
        #[test]
        fn not_a_byte_is_lost_or_added_or_moved_to_the_other_source(
            pieces in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), any::<bool>(), any::<bool>()), 0..60)
        ) {
            let mut joiner = Joiner::default();
            let mut entries = Vec::new();
            let mut expected = [Vec::new(), Vec::new()];
            for (number, (err, bytes, ends, idle)) in pieces.iter().enumerate() {
                let source = if *err { LogSource::Stderr } else { LogSource::Stdout };
                let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\n').collect();
                expected[usize::from(*err)].extend_from_slice(&bytes);
                expected[usize::from(*err)].extend(ends.then_some(b'\n'));
                entries.extend(joiner.push(&piece(source, number, &bytes, *ends)));
                if *idle {
                    entries.extend(joiner.cut());
                }
            }
            entries.extend(joiner.end());
            prop_assert_eq!(written(&entries, LogSource::Stdout), &expected[0][..]);
            prop_assert_eq!(written(&entries, LogSource::Stderr), &expected[1][..]);
        }

        #[test]
        fn not_a_byte_is_lost_or_given_twice_by_a_worker_that_begins_again_anywhere(
            pieces in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(prop::sample::select(TEXT.as_bytes()), 0..12), any::<bool>(),
                    any::<bool>()), 1..40),
            stops in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 0..6),
        ) {
            let mut expected = [Vec::new(), Vec::new()];
            for (err, bytes, ends, _) in &pieces {
                expected[usize::from(*err)].extend_from_slice(bytes);
                expected[usize::from(*err)].extend(ends.then_some(b'\n'));
            }
            let (mut kept, mut standing) = (Vec::new(), Standing::default());
            let mut keep = |entries: Vec<Entry>, standing: &mut Standing| {
                for entry in entries {
                    let Body::Line { source, .. } = entry.body else { panic!("{entry:?}") };
                    if let Some(behind) = &entry.behind {
                        *standing.of(source) = Some(behind.clone());
                    }
                    kept.push(entry);
                }
            };
            let stops = stops.iter().map(|(stop, written)| (stop.index(pieces.len()), Some(*written)));
            for (stop, written) in stops.chain([(pieces.len(), None)]) {
                let mut joiner = Joiner::resume(&standing);
                let read = standing.clone().marks();
                for (number, (err, bytes, ends, idle)) in pieces.iter().enumerate() {
                    let source = if *err { LogSource::Stderr } else { LogSource::Stdout };
                    let piece = piece(source, number, bytes, *ends);
                    let mut marks = read;
                    if marks.of(source).is_some_and(|mark| piece.mark.at <= mark.at) {
                        continue;
                    }
                    let mut entries = joiner.push(&piece);
                    if *idle {
                        entries.extend(joiner.cut());
                    }
                    if number == stop {
                        entries.truncate(written.unwrap_or(usize::MAX));
                        keep(entries, &mut standing);
                        break;
                    }
                    keep(entries, &mut standing);
                }
                if written.is_none() {
                    keep(joiner.end(), &mut standing);
                }
            }
            prop_assert_eq!(written(&kept, LogSource::Stdout), &expected[0][..]);
            prop_assert_eq!(written(&kept, LogSource::Stderr), &expected[1][..]);
        }
    }
}
