//! The newest records of a stream, and who has read how much of them.

use std::collections::VecDeque;
use std::sync::Arc;

use lode_protocol::logs::LogRecord;

use super::{LogFailure, LogQuery, Piece};

/// Bytes that the window holds, each line with a little for itself.
const WINDOW: usize = 1 << 20;
const LINE: usize = 64;
/// Lines given to a reader at a time, and bytes of them: what each reader holds beside its place.
const HANDFUL: usize = 1_000;
const HANDFUL_BYTES: usize = 128 << 10;

/// The newest records.
#[derive(Debug, Default)]
pub(super) struct Window {
    lines: VecDeque<Arc<LogRecord>>,
    bytes: usize,
    /// Number of the first line in `lines`, counted from the first line of the stream.
    first: u64,
    /// Whether everything that had been written before the stream was opened has come.
    live: bool,
    /// The furthest position that somebody has read to, and the bytes behind it.
    furthest: u64,
    unread: usize,
    /// Readers with a place.
    seats: usize,
    end: Option<Result<(), LogFailure>>,
}

/// What is at a position.
#[derive(Debug)]
pub(super) enum Read {
    /// Lines, and the position behind them.
    Lines(Vec<Arc<LogRecord>>, u64),
    /// Nothing yet.
    Nothing,
    /// The stream has ended, and everything of it was read.
    End(Result<(), LogFailure>),
    /// The position has left the window.
    Lost,
}

/// Where a reader may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// Not known yet.
    Unknown,
    /// Here.
    At(u64),
    /// Nowhere: the window does not hold what is asked for.
    Nowhere,
}

fn size(record: &LogRecord) -> usize {
    record.len() + LINE
}

/// Ordinal of the first record that it stands for.
fn start(record: &LogRecord) -> u64 {
    let missing = match record {
        LogRecord::Gap(gap) => gap.records.unwrap_or(1),
        LogRecord::Line(_) | LogRecord::Restart(_) => 1,
    };
    record.position().ordinal.saturating_add(1).saturating_sub(missing)
}

impl Window {
    pub(super) fn take_seat(&mut self) {
        self.seats += 1;
    }

    pub(super) fn leave_seat(&mut self) {
        self.seats = self.seats.saturating_sub(1);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether nobody has read a good part of what there is, and somebody may yet.
    pub(super) fn is_ahead(&self) -> bool {
        self.seats > 0 && self.end.is_none() && self.unread > WINDOW / 2
    }

    /// What is at a position, and whether that is further than anybody has read.
    pub(super) fn read_on(&mut self, position: u64) -> (Read, bool) {
        let read = self.read(position);
        let Read::Lines(_, next) = &read else { return (read, false) };
        if *next <= self.furthest {
            return (read, false);
        }
        let index =
            |position: u64| usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let passed = self.lines.iter().take(index(*next)).skip(index(self.furthest));
        let passed: usize = passed.map(|line| size(line)).sum();
        self.unread = self.unread.saturating_sub(passed);
        self.furthest = *next;
        (read, true)
    }

    pub(super) fn take(&mut self, piece: Piece, live: bool) {
        match piece {
            Piece::Lines(lines) => {
                for line in lines {
                    self.bytes += size(&line);
                    self.unread += size(&line);
                    self.lines.push_back(line);
                }
                self.live |= live;
                while self.bytes > WINDOW {
                    let Some(line) = self.lines.pop_front() else { break };
                    self.bytes = self.bytes.saturating_sub(size(&line));
                    if self.first >= self.furthest {
                        self.unread = self.unread.saturating_sub(size(&line));
                    }
                    self.first += 1;
                }
            }
            Piece::End(end) => self.end = Some(end),
        }
    }

    fn behind(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    pub(super) fn place_for(&self, query: &LogQuery) -> Begin {
        match (&self.end, self.live) {
            // Whoever asks for more is told the same by a stream of its own.
            (Some(_), false) => return Begin::Nowhere,
            (None, false) => return Begin::Unknown,
            (_, true) => {}
        }
        let has_all = self.first == 0 && self.lines.front().is_none_or(|first| start(first) == 0);
        let there = self.lines.len() as u64;
        let place = match (query.tail, query.since, query.after) {
            // What is not wanted of it is left out.
            (None, _, _) if has_all => Some(self.first),
            (None, None, Some(after)) => self.position_behind(after),
            (Some(tail), None, None) if has_all || there >= u64::from(tail) => {
                Some(self.behind() - there.min(u64::from(tail)))
            }
            (Some(_) | None, _, _) => None,
        };
        place.map_or(Begin::Nowhere, Begin::At)
    }

    fn read(&self, position: u64) -> Read {
        let Some(offset) = position.checked_sub(self.first) else { return Read::Lost };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let lines = self.lines.iter().skip(offset).take(HANDFUL).take_while(|line| {
            // At least one, however long it is.
            let is_room = bytes < HANDFUL_BYTES;
            bytes += size(line);
            is_room
        });
        let lines: Vec<Arc<LogRecord>> = lines.cloned().collect();
        match (lines.is_empty(), &self.end) {
            (false, _) => {
                let next = position + lines.len() as u64;
                Read::Lines(lines, next)
            }
            (true, Some(end)) => Read::End(end.clone()),
            (true, None) => Read::Nothing,
        }
    }

    pub(super) fn position_behind(&self, ordinal: u64) -> Option<u64> {
        self.lines.front().filter(|first| start(first) <= ordinal.saturating_add(1))?;
        let before = self.lines.partition_point(|record| record.position().ordinal <= ordinal);
        Some(self.first + before as u64)
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::{AssignmentId, Incarnation, ReplicaId, TaskId};
    use lode_protocol::logs::{EngineTime, GapReason, LineEnd, LogGap, LogLine, LogPosition, LogSource};
    use lode_protocol::units::Timestamp;

    use super::*;

    fn record(number: u64, bytes: Vec<u8>) -> Arc<LogRecord> {
        let position = LogPosition { ordinal: number, at: EngineTime(number * 1_000_000) };
        let (source, end) = (LogSource::Stdout, LineEnd::Newline);
        Arc::new(LogRecord::Line(LogLine { position, source, bytes, end }))
    }

    fn line(number: u64) -> Arc<LogRecord> {
        record(number, format!("line {number}").into_bytes())
    }

    fn window(lines: impl IntoIterator<Item = u64>) -> Window {
        let mut window = Window::default();
        window.take(Piece::Lines(lines.into_iter().map(line).collect()), true);
        window
    }

    fn query(tail: Option<u32>, since: Option<u64>) -> LogQuery {
        let replica = ReplicaId { task: TaskId(uuid::Uuid::nil()), replica: 0 };
        let assignment = AssignmentId { replica, incarnation: Incarnation(1) };
        LogQuery { assignment, follow: true, tail, since: since.map(Timestamp), after: None, before: None }
    }

    fn behind(after: u64) -> LogQuery {
        LogQuery { after: Some(after), ..query(None, None) }
    }

    /// More than a window of long lines.
    fn overflown() -> Window {
        let mut window = Window::default();
        for number in 0..200u64 {
            let text = format!("{number} {}", "x".repeat(10_000));
            window.take(Piece::Lines(vec![record(number, text.into_bytes())]), true);
        }
        window
    }

    #[test]
    fn a_reader_joins_where_the_window_holds_what_it_asks_for_and_nowhere_else() {
        let small = window(0..10);
        assert_eq!(small.place_for(&query(None, None)), Begin::At(0));
        assert_eq!(small.place_for(&query(Some(3), None)), Begin::At(7));
        assert_eq!(small.place_for(&query(Some(30), None)), Begin::At(0));
        assert_eq!(small.place_for(&query(None, Some(5))), Begin::At(0));
        let part = window(1_000..1_500);
        assert_eq!(part.place_for(&query(None, None)), Begin::Nowhere, "there was more before it");
        assert_eq!(part.place_for(&query(Some(501), None)), Begin::Nowhere);
        assert_eq!(part.place_for(&query(Some(500), None)), Begin::At(0));
        assert_eq!(part.place_for(&query(None, Some(1_200))), Begin::Nowhere, "times need not grow");
        assert_eq!(part.place_for(&behind(1_200)), Begin::At(201));
        assert_eq!(part.place_for(&behind(999)), Begin::At(0));
        assert_eq!(part.place_for(&behind(998)), Begin::Nowhere, "999 is missing");
        let large = overflown();
        assert!(large.first > 90 && large.bytes <= WINDOW);
        assert_eq!(large.place_for(&query(None, None)), Begin::Nowhere);
        assert_eq!(large.place_for(&query(Some(5), None)), Begin::At(195));
        assert_eq!(large.place_for(&behind(150)), Begin::At(151));
        assert_eq!(large.place_for(&behind(1)), Begin::Nowhere);
    }

    #[test]
    fn where_a_reader_begins_is_not_known_before_history_has_come() {
        let mut early = Window::default();
        early.take(Piece::Lines((0..3).map(line).collect()), false);
        assert_eq!(early.place_for(&query(Some(2), None)), Begin::Unknown);
        early.take(Piece::Lines(Vec::new()), true);
        assert_eq!(early.place_for(&query(Some(2), None)), Begin::At(1));
        let mut broken = Window::default();
        broken.take(Piece::End(Ok(())), false);
        assert_eq!(broken.place_for(&query(None, None)), Begin::Nowhere);
    }

    #[test]
    fn a_position_that_left_the_window_is_lost_and_the_end_comes_last() {
        let mut large = overflown();
        assert!(matches!(large.read(0), Read::Lost));
        let Read::Lines(lines, next) = large.read(198) else { panic!("lines") };
        assert_eq!((lines.len(), next), (2, 200));
        assert!(matches!(large.read(next), Read::Nothing));
        large.take(Piece::End(Ok(())), true);
        assert!(matches!(large.read(198), Read::Lines(..)));
        assert!(matches!(large.read(next), Read::End(Ok(()))));
    }

    #[test]
    fn the_fastest_reader_sets_the_pace_and_without_readers_nothing_is_waited_for() {
        let mut window = overflown();
        assert!(!window.is_ahead(), "nobody has a seat");
        window.seats = 1;
        assert!(window.is_ahead());
        let mut place = window.first;
        while let (Read::Lines(lines, next), true) = window.read_on(place) {
            let bytes: usize = lines.iter().map(|line| size(line)).sum();
            assert!(bytes < HANDFUL_BYTES + size(&lines[0]), "{bytes} bytes at a time");
            place = next;
        }
        assert_eq!((place, window.unread, window.is_ahead()), (200, 0, false));
        let (_, further) = window.read_on(window.first);
        assert!(!further, "a slower one changes nothing");
    }

    #[test]
    fn somebody_who_has_caught_up_finds_the_exact_place_or_none() {
        let shared = window(100..200);
        assert_eq!(shared.position_behind(149), Some(50));
        assert_eq!(shared.position_behind(219), Some(100), "it is ahead of the shared stream");
        assert_eq!(shared.position_behind(98), None, "99 is not there");
        assert_eq!(Window::default().position_behind(0), None);
        let mut gap = Window::default();
        let position = LogPosition { ordinal: 99, at: EngineTime(0) };
        let missing = LogGap { position, records: Some(50), bytes: None, reason: GapReason::Retention };
        gap.take(Piece::Lines(vec![Arc::new(LogRecord::Gap(missing)), line(100)]), true);
        assert_eq!(gap.position_behind(49), Some(0), "a gap that is said is nothing missing");
        assert_eq!(gap.position_behind(48), None);
    }
}
