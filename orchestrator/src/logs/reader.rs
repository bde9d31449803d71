//! What one reader has: its own stream, a place in a shared one, or the former on its way to the latter.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lode_protocol::logs::LogLine;
use lode_protocol::units::Timestamp;
use tokio::sync::watch;

use super::feed::{Begin, Feed, Read, Seat};
use super::stream::LogStream;
use super::{LogFailure, Meeting, Piece, Question, failure};

/// Lines remembered by one who catches up.
const REMEMBERED: usize = 64;
/// How long it may take to learn where to begin; an older worker never says that history is over.
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
    CatchingUp { stream: Box<LogStream>, recent: VecDeque<Arc<LogLine>>, shared: Shared },
    Shared(Shared, #[expect(dead_code, reason = "held while it reads")] Seat),
}

/// A place in a shared stream.
#[derive(Clone, Debug)]
struct Shared {
    feed: Arc<Feed>,
    position: u64,
    /// Lines of earlier times are left out.
    since: Timestamp,
    last: Option<Timestamp>,
    changes: watch::Receiver<()>,
    // Others find the feed as long as somebody reads it.
    _meeting: Arc<Meeting>,
}

impl Shared {
    fn seated(self) -> Source {
        let seat = Seat::take(&self.feed);
        Source::Shared(self, seat)
    }

    async fn next(&mut self) -> Piece {
        loop {
            // Noted before it is read: what comes in between wakes us.
            self.changes.mark_unchanged();
            match self.feed.read(self.position) {
                Read::Lines(mut lines, next) => {
                    self.position = next;
                    self.last = lines.last().map(|line| line.at).or(self.last);
                    lines.retain(|line| line.at >= self.since);
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
        let since = self.last.map_or_else(String::new, |last| format!(" with since={last}"));
        failure("logs/slow-reader", format!("the output comes faster than it is read; ask again{since}"))
    }
}

impl LogReader {
    /// A reader with a stream of its own.
    pub(super) fn alone(stream: LogStream) -> Self {
        Self { source: Source::Alone(Box::new(stream)), ended: false }
    }

    /// A follower, who shares a stream with others as far as that holds what it asks for.
    pub(super) fn joining(question: Question, meeting: Arc<Meeting>, feed: Arc<Feed>) -> Self {
        let (changes, since) = (feed.changes(), question.query.since.unwrap_or_default());
        let shared = Shared { feed, position: 0, since, last: None, changes, _meeting: meeting };
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

    /// Leaves its own stream for the shared one, once it is known where in that it stands.
    fn meet_the_others(&mut self, lines: &[Arc<LogLine>]) {
        let Source::CatchingUp { recent, shared, .. } = &mut self.source else { return };
        let surplus = (recent.len() + lines.len()).saturating_sub(REMEMBERED);
        recent.drain(..surplus.min(recent.len()));
        recent.extend(lines.iter().skip(lines.len().saturating_sub(REMEMBERED)).cloned());
        if let Some(position) = shared.feed.position_behind(recent) {
            let last = recent.back().map(|line| line.at);
            self.source = Shared { position, last, ..shared.clone() }.seated();
        }
    }
}

async fn join(question: &Question, shared: &Shared, begin: Begin) -> Result<Source, LogFailure> {
    match begin {
        Begin::At(position) => Ok(Shared { position, ..shared.clone() }.seated()),
        Begin::Unknown | Begin::Nowhere => Ok(Source::CatchingUp {
            stream: Box::new(question.ask().await?),
            recent: VecDeque::with_capacity(REMEMBERED),
            shared: shared.clone(),
        }),
    }
}
