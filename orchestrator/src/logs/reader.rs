//! What one reader has: its own stream, a place in a shared one, or the former on its way to the latter.

use std::sync::Arc;
use std::time::Duration;

use lode_protocol::logs::LogRecord;
use lode_protocol::units::Timestamp;
use tokio::sync::watch;

use super::feed::{LogBuffer, ReaderGuard};
use super::stream::LogStream;
use super::window::{Begin, Read};
use super::{LogFailure, Piece, Question, SharedStream, failure};

/// How long it may take to learn where to begin.
const JOINING: Duration = Duration::from_secs(5);

/// One reader's output. Dropping it ends it.
#[derive(Debug)]
pub struct LogReader {
    source: Source,
    ended: bool,
}

#[derive(Debug)]
enum Source {
    Alone(Box<LogStream>),
    Joining(Box<Question>, Shared),
    CatchingUp { stream: Box<LogStream>, shared: Shared },
    Shared(Shared, #[expect(dead_code, reason = "held while it reads")] ReaderGuard),
}

/// A place in a shared stream.
#[derive(Clone, Debug)]
struct Shared {
    feed: Arc<LogBuffer>,
    position: u64,
    /// Lines of earlier times are left out.
    since: Timestamp,
    /// Records up to this ordinal are left out: the reader has them.
    after: Option<u64>,
    changes: watch::Receiver<()>,
    // Others find the feed as long as somebody reads it.
    _meeting: Arc<SharedStream>,
}

impl Shared {
    fn seated(self) -> Source {
        let seat = ReaderGuard::take(&self.feed);
        Source::Shared(self, seat)
    }

    async fn next(&mut self) -> Piece {
        loop {
            // Noted before it is read: what comes in between wakes us.
            self.changes.mark_unchanged();
            match self.feed.read(self.position) {
                Read::Lines(mut lines, next) => {
                    self.position = next;
                    let (since, after) = (self.since, self.after);
                    self.after = after.max(lines.last().map(|last| last.position().ordinal));
                    lines.retain(|record| is_wanted(record, since, after));
                    if !lines.is_empty() {
                        return Piece::Lines(lines);
                    }
                }
                Read::End(end) => return Piece::End(end),
                Read::Lost => return Piece::End(Err(self.too_slow())),
                Read::Nothing => {
                    if self.changes.changed().await.is_err() {
                        return Piece::End(Err(failure("logs/broke-off", "the stream was closed")));
                    }
                }
            }
        }
    }

    /// Waits until it is known where to begin.
    async fn begin(&mut self, question: &Question) -> Begin {
        let known = async {
            loop {
                self.changes.mark_unchanged();
                match self.feed.place_for(&question.query) {
                    Begin::Unknown => {}
                    known => return known,
                }
                if self.changes.changed().await.is_err() {
                    return Begin::Nowhere;
                }
            }
        };
        tokio::time::timeout(JOINING, known).await.unwrap_or(Begin::Nowhere)
    }

    fn too_slow(&self) -> LogFailure {
        let after = self.after.map_or_else(String::new, |after| format!(" behind record {after}"));
        failure(
            "logs/slow-reader",
            format!("the output comes faster than it is read; ask again for what comes{after}"),
        )
    }
}

fn is_wanted(record: &LogRecord, since: Timestamp, after: Option<u64>) -> bool {
    let is_in_time = match record {
        LogRecord::Line(line) => line.position.at.to_timestamp() >= since,
        LogRecord::Gap(_) | LogRecord::Restart(_) => true,
    };
    is_in_time && after.is_none_or(|after| record.position().ordinal > after)
}

impl LogReader {
    /// A reader with a stream of its own.
    pub(super) fn alone(stream: LogStream) -> Self {
        Self { source: Source::Alone(Box::new(stream)), ended: false }
    }

    /// A follower, who shares a stream with others as far as that holds what it asks for.
    pub(super) fn joining(question: Question, meeting: Arc<SharedStream>, feed: Arc<LogBuffer>) -> Self {
        let (changes, since) = (feed.changes(), question.query.since.unwrap_or_default());
        let after = question.query.after;
        let shared = Shared { feed, position: 0, since, after, changes, _meeting: meeting };
        Self { source: Source::Joining(Box::new(question), shared), ended: false }
    }

    /// The next lines, or the end; `None` after the end.
    pub async fn next(&mut self) -> Option<Piece> {
        while !self.ended {
            let piece = match &mut self.source {
                Source::Joining(question, shared) => {
                    let begin = shared.begin(question).await;
                    match join(question, shared, begin).await {
                        Ok(source) => {
                            self.source = source;
                            continue;
                        }
                        Err(failure) => Piece::End(Err(failure)),
                    }
                }
                Source::Alone(stream) | Source::CatchingUp { stream, .. } => stream.next().await?,
                Source::Shared(shared, _) => shared.next().await,
            };
            self.ended = matches!(piece, Piece::End(_));
            if let Piece::Lines(lines) = &piece {
                self.meet_the_others(lines);
                if lines.is_empty() {
                    continue;
                }
            }
            return Some(piece);
        }
        None
    }

    /// Leaves its own stream for the shared one, as soon as that goes on where it stands.
    fn meet_the_others(&mut self, lines: &[Arc<LogRecord>]) {
        let Source::CatchingUp { shared, .. } = &mut self.source else { return };
        let Some(last) = lines.last().map(|last| last.position().ordinal) else { return };
        if let Some(position) = shared.feed.position_behind(last) {
            self.source = Shared { position, after: Some(last), ..shared.clone() }.seated();
        }
    }
}

async fn join(question: &Question, shared: &Shared, begin: Begin) -> Result<Source, LogFailure> {
    match begin {
        Begin::At(position) => Ok(Shared { position, ..shared.clone() }.seated()),
        Begin::Unknown | Begin::Nowhere => {
            Ok(Source::CatchingUp { stream: Box::new(question.ask().await?), shared: shared.clone() })
        }
    }
}
