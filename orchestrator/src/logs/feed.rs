//! One stream of a node, shared by all who follow its assignment.
//!
//! A task reads the stream and keeps the newest lines in a window; every reader has a position in it. The fastest reader
//! sets the pace, as if it were alone: who falls behind it by a window has lost its place and is told so. The task ends
//! with the last reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lode_program::TaskGroup;
use lode_protocol::logs::LogLine;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::stream::LogStream;
use super::{LogFailure, LogQuery, Piece, SHARED_TAIL};

/// Bytes that the window holds, each line with a little for itself.
const WINDOW: usize = 1 << 20;
const LINE: usize = 64;
/// Lines given to a reader at a time.
const HANDFUL: usize = 1_000;
/// Lines by which two readers of the same output recognise that they are at the same place.
const ANCHOR: usize = 8;

/// The newest lines.
#[derive(Debug, Default)]
struct Window {
    lines: VecDeque<Arc<LogLine>>,
    bytes: usize,
    /// Number of the first line in `lines`, counted from the first line of the stream.
    first: u64,
    history: History,
    /// The furthest position that somebody has read to, and the bytes behind it.
    furthest: u64,
    unread: usize,
    /// Readers with a place.
    seats: usize,
    end: Option<Result<(), LogFailure>>,
}

/// What had been written before the stream was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum History {
    /// It is still coming.
    #[default]
    Coming,
    /// All of it has come: the stream begins with the first line that there is.
    Whole,
    /// The newest part of it has come.
    Part,
}

/// What is at a position.
#[derive(Debug)]
pub(super) enum Read {
    /// Lines, and the position behind them.
    Lines(Vec<Arc<LogLine>>, u64),
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

/// A shared stream.
#[derive(Debug)]
pub(super) struct Feed {
    window: Mutex<Window>,
    changed: watch::Sender<()>,
    /// Somebody has read on, or has left.
    read: Notify,
    /// The task ends when this is dropped, which is when nobody reads any more.
    _readers: DropGuard,
}

impl Feed {
    /// Reads a stream that begins with the newest [`SHARED_TAIL`] lines, from now on.
    pub(super) fn start(mut stream: LogStream, tasks: &TaskGroup) -> Arc<Self> {
        let unread = CancellationToken::new();
        let feed = Arc::new(Self {
            window: Mutex::default(),
            changed: watch::channel(()).0,
            read: Notify::new(),
            _readers: unread.clone().drop_guard(),
        });
        let (shared, shutdown) = (Arc::downgrade(&feed), tasks.shutdown().token());
        tasks.once("log-feed", async move {
            let copy = async {
                while let Some(piece) = stream.next().await {
                    let Some(feed) = shared.upgrade() else { break };
                    feed.window().take(piece, stream.is_live());
                    feed.changed.send_replace(());
                    feed.keep_pace().await;
                }
            };
            tokio::select! {
                () = unread.cancelled() => {}
                () = shutdown.cancelled() => {}
                () = copy => {}
            }
            Ok::<(), anyhow::Error>(())
        });
        feed
    }

    /// Waits until the fastest reader has read most of what there is.
    async fn keep_pace(&self) {
        loop {
            // Listens before it looks: what is read in between is not missed.
            let read = self.read.notified();
            if !self.window().is_ahead() {
                return;
            }
            read.await;
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.window().end.is_some()
    }

    /// Told of every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Where a reader with this query may begin. Known once history has come.
    pub(super) fn place_for(&self, query: &LogQuery) -> Begin {
        self.window().place_for(query)
    }

    /// What is at this position. Whoever asks has a [`Seat`].
    pub(super) fn read(&self, position: u64) -> Read {
        let (read, on) = self.window().read_on(position);
        if on {
            self.read.notify_waiters();
        }
        read
    }

    /// The position behind `recent`, the newest lines of somebody who reads the same output, if it can be told for sure.
    pub(super) fn position_behind(&self, recent: &VecDeque<Arc<LogLine>>) -> Option<u64> {
        self.window().position_behind(recent)
    }
}

/// A reader's place. While somebody has one, the stream is not read faster than the fastest of them reads.
#[derive(Debug)]
pub(super) struct Seat(Arc<Feed>);

impl Seat {
    pub(super) fn take(feed: &Arc<Feed>) -> Self {
        feed.window().seats += 1;
        Seat(Arc::clone(feed))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut window = self.0.window();
        window.seats = window.seats.saturating_sub(1);
        drop(window);
        self.0.read.notify_waiters();
    }
}

fn size(line: &LogLine) -> usize {
    line.text.len() + LINE
}

impl Window {
    /// Whether nobody has read a good part of what there is, and somebody may yet.
    fn is_ahead(&self) -> bool {
        self.seats > 0 && self.end.is_none() && self.unread > WINDOW / 2
    }

    /// What is at a position, and whether that is further than anybody has read.
    fn read_on(&mut self, position: u64) -> (Read, bool) {
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

    fn take(&mut self, piece: Piece, live: bool) {
        match piece {
            Piece::Lines(lines) => {
                for line in lines {
                    self.bytes += size(&line);
                    self.unread += size(&line);
                    self.lines.push_back(line);
                }
                if live && self.history == History::Coming {
                    let whole = self.behind() < u64::from(SHARED_TAIL);
                    self.history = if whole { History::Whole } else { History::Part };
                }
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

    fn place_for(&self, query: &LogQuery) -> Begin {
        match (&self.end, self.history) {
            // Whoever asks for more is told the same by a stream of its own.
            (Some(_), History::Coming) => return Begin::Nowhere,
            (None, History::Coming) => return Begin::Unknown,
            (_, History::Whole | History::Part) => {}
        }
        let has_all = self.history == History::Whole && self.first == 0;
        let there = self.lines.len() as u64;
        let place = match (query.tail, query.since) {
            _ if has_all && query.tail.is_none() => Some(0),
            (Some(tail), None) if has_all || there >= u64::from(tail) => {
                Some(self.behind() - there.min(u64::from(tail)))
            }
            // Later lines are not older than this one.
            (None, Some(since)) if self.lines.front().is_some_and(|line| line.at < since) => Some(self.first),
            (Some(_) | None, _) => None,
        };
        place.map_or(Begin::Nowhere, Begin::At)
    }

    fn read(&self, position: u64) -> Read {
        let Some(offset) = position.checked_sub(self.first) else { return Read::Lost };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let lines: Vec<Arc<LogLine>> = self.lines.iter().skip(offset).take(HANDFUL).cloned().collect();
        match (lines.is_empty(), &self.end) {
            (false, _) => {
                let next = position + lines.len() as u64;
                Read::Lines(lines, next)
            }
            (true, Some(end)) => Read::End(end.clone()),
            (true, None) => Read::Nothing,
        }
    }

    fn position_behind(&self, recent: &VecDeque<Arc<LogLine>>) -> Option<u64> {
        // Both read the same lines in the same order: where the oldest of ours lie, there is only the distance to count.
        let anchor: Vec<&LogLine> = recent.iter().take(ANCHOR).map(AsRef::as_ref).collect();
        let last = self.lines.len().checked_sub(anchor.len()).filter(|_| !anchor.is_empty())?;
        let is_there = |start: usize| {
            let there = self.lines.iter().skip(start).map(AsRef::as_ref);
            there.zip(&anchor).all(|(theirs, ours)| theirs == *ours)
        };
        let mut places = (0..=last).filter(|start| is_there(*start));
        let start = places.next()?;
        // Lines that repeat themselves within a millisecond do not say where they are.
        if places.next().is_some() {
            return None;
        }
        let rest = self.lines.iter().skip(start).zip(recent);
        rest.into_iter()
            .all(|(theirs, ours)| theirs == ours)
            .then(|| self.first + start as u64 + recent.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::ids::{AssignmentId, Incarnation, ReplicaId, TaskId};
    use lode_protocol::logs::LogSource;
    use lode_protocol::units::Timestamp;

    use super::*;

    fn line(number: u64) -> Arc<LogLine> {
        Arc::new(LogLine { source: LogSource::Stdout, at: Timestamp(number), text: format!("line {number}") })
    }

    fn window(lines: impl IntoIterator<Item = u64>) -> Window {
        let mut window = Window::default();
        window.take(Piece::Lines(lines.into_iter().map(line).collect()), true);
        window
    }

    fn query(tail: Option<u32>, since: Option<u64>) -> LogQuery {
        let replica = ReplicaId { task: TaskId(uuid::Uuid::nil()), replica: 0 };
        let assignment = AssignmentId { replica, incarnation: Incarnation(1) };
        LogQuery { assignment, follow: true, tail, since: since.map(Timestamp) }
    }

    /// More than a window of long lines.
    fn overflown() -> Window {
        let mut window = Window::default();
        for number in 0..200u64 {
            let text = format!("{number} {}", "x".repeat(10_000));
            let long = LogLine { source: LogSource::Stdout, at: Timestamp(number), text };
            window.take(Piece::Lines(vec![Arc::new(long)]), true);
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
        assert_eq!(part.place_for(&query(None, Some(1_200))), Begin::At(0));
        assert_eq!(part.place_for(&query(None, Some(1_000))), Begin::Nowhere);
        let large = overflown();
        assert!(large.first > 90 && large.bytes <= WINDOW);
        assert_eq!(large.place_for(&query(None, None)), Begin::Nowhere);
        assert_eq!(large.place_for(&query(Some(5), None)), Begin::At(195));
        assert_eq!(large.place_for(&query(None, Some(150))), Begin::At(large.first));
        assert_eq!(large.place_for(&query(None, Some(1))), Begin::Nowhere);
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
        let (Read::Lines(_, next), true) = window.read_on(window.first) else { panic!("lines") };
        assert_eq!((next, window.unread, window.is_ahead()), (200, 0, false));
        let (_, further) = window.read_on(window.first);
        assert!(!further, "a slower one changes nothing");
    }

    #[test]
    fn somebody_who_has_caught_up_finds_the_exact_place_or_none() {
        let shared = window(100..200);
        let recent = |numbers: std::ops::Range<u64>| numbers.map(line).collect::<VecDeque<_>>();
        assert_eq!(shared.position_behind(&recent(110..150)), Some(50));
        assert_eq!(shared.position_behind(&recent(190..220)), Some(120), "it is ahead of the shared stream");
        assert_eq!(shared.position_behind(&recent(90..120)), None, "its oldest lines are not there");
        assert_eq!(shared.position_behind(&recent(300..320)), None);
        assert_eq!(shared.position_behind(&VecDeque::new()), None);
        let mut same = Window::default();
        same.take(Piece::Lines(vec![line(1); 50]), true);
        assert_eq!(
            same.position_behind(&vec![line(1); 10].into()),
            None,
            "lines without a place of their own"
        );
    }
}
