//! A container's output as the engine's pieces, without a gap that nobody is told of.
//!
//! The engine frames every piece that it kept (at most 16 KiB of one line) and puts its stamp before it. Nothing numbers
//! the pieces, and the engine's own follower jumps over log files that were rotated away while it was behind, without a
//! word, and (in 20.10) ends with its container without having read to the end, and at once where the container has not
//! started yet. So the reader (1) finds the place where it was by stamps, source by source, (2) where the follower may
//! have jumped, looks whether the engine still has what comes next, and says so if it has not, and (3) reads what is left
//! when the follower has ended, and says that nothing follows only if the container had ended before.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerStateStatusEnum;
use bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lode_protocol::logs::{EngineTime, LogSource};

use super::call::{CALL, within};
use super::failure::{During, classify};
use crate::core::event::EngineFailure;
use crate::engine::{Captured, Mark, Marks, Piece};

type Chunks = BoxStream<'static, Result<LogOutput, Error>>;

/// Size of the engine's pieces: only the last one of a line is smaller.
const PIECE: usize = 16 << 10;
/// Engines of an older API (20.10) forget the line feed behind a line of several pieces.
const TELLS_LINE_FEEDS: usize = 42;
/// Nanoseconds that a byte of log takes to be written, at the least: half a gigabyte a second is more than the engine can.
const NANOS_PER_BYTE: u64 = 2;

/// Reads one container's output.
pub(super) struct OutputReader {
    docker: Docker,
    container: String,
    /// Time in which a log file can be filled: a jump skips a whole one.
    file_time: u64,
    /// The last pieces that were given.
    marks: Marks,
    /// Whether the container had ended before what is read now was begun.
    is_final: bool,
    stage: Stage,
}

enum Stage {
    /// … and whether to follow, or to read only what there is.
    Opening {
        follow: bool,
    },
    Reading(Box<Follow>),
    Over,
}

/// A stream from the beginning of what the engine has.
struct Follow {
    chunks: Chunks,
    is_following: bool,
    stamps: Stamps,
    stdout: Skip,
    stderr: Skip,
    /// Pieces to come that the engine reads from all of its files at once: they have no gaps.
    history: u64,
    previous: Option<Seen>,
    ready: VecDeque<Captured>,
}

/// What is to be passed over before the first piece is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Skip {
    until: Option<Mark>,
    /// Pieces before it, at most.
    left: u64,
}

/// When a piece was stamped, and how late it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    at: u64,
    late: u64,
}

/// Gives pieces their marks.
struct Stamps {
    marks: Marks,
    /// Whether a line feed is there wherever the task wrote one.
    tells_line_feeds: bool,
}

/// What the engine has of a source.
#[derive(Clone, Copy, Default)]
struct Found {
    pieces: u64,
    /// Pieces before the mark.
    mark: Option<u64>,
}

impl OutputReader {
    pub(super) fn new(
        docker: Docker,
        container: String,
        log_size: lode_protocol::units::Bytes,
        marks: Marks,
    ) -> Self {
        let file_time = log_size.0.saturating_mul(NANOS_PER_BYTE);
        Self { docker, container, file_time, marks, is_final: false, stage: Stage::Opening { follow: true } }
    }

    pub(super) fn stream(self) -> BoxStream<'static, Result<Captured, EngineFailure>> {
        futures::stream::unfold(self, |mut reader| async move {
            let next = reader.next().await?;
            if next.is_err() {
                reader.stage = Stage::Over;
            }
            Some((next, reader))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Captured, EngineFailure>> {
        loop {
            match &mut self.stage {
                Stage::Over => return None,
                Stage::Opening { follow } => {
                    let follow = *follow;
                    match self.open(follow).await {
                        Ok(follow) => self.stage = Stage::Reading(Box::new(follow)),
                        Err(error) => return Some(Err(classify(&error, During::Other))),
                    }
                }
                Stage::Reading(follow) => {
                    if let Some(captured) = follow.ready.pop_front() {
                        if let Captured::Piece(piece) = &captured {
                            *self.marks.of(piece.source) = Some(piece.mark);
                        }
                        return Some(Ok(captured));
                    }
                    let piece = match follow.chunks.next().await {
                        Some(Ok(chunk)) => follow.stamps.mark(chunk),
                        Some(Err(error)) => return Some(Err(classify(&error, During::Other))),
                        // A follower of 20.10 ends with its container, however far behind it is.
                        None if follow.is_following => {
                            self.stage = Stage::Opening { follow: false };
                            continue;
                        }
                        None => {
                            self.stage = Stage::Over;
                            return self.is_final.then_some(Ok(Captured::End));
                        }
                    };
                    if follow.may_have_jumped(&piece, now(), self.file_time) {
                        self.stage = Stage::Opening { follow: true };
                    } else {
                        follow.take(piece);
                    }
                }
            }
        }
    }

    /// Looks for the marks in what the engine has, and begins to follow.
    async fn open(&mut self, follow: bool) -> Result<Follow, Error> {
        // Asked first: what the container wrote before it ended is there by then.
        self.is_final = !follow && has_ended(&self.docker, &self.container).await?;
        let mut stamps = self.stamps();
        let (mut stdout, mut stderr) = (Found::default(), Found::default());
        let mut chunks = self.chunks(false);
        while let Some(chunk) = within(CALL, async { chunks.next().await.transpose() }).await? {
            let piece = stamps.mark(chunk);
            let found = match piece.source {
                LogSource::Stdout => &mut stdout,
                LogSource::Stderr => &mut stderr,
            };
            if Some(piece.mark) == *self.marks.of(piece.source) {
                found.mark = Some(found.pieces);
            }
            found.pieces += 1;
        }
        let mut ready = VecDeque::new();
        let mut skip = |source, found: Found| {
            let until = *self.marks.of(source);
            match (until, found.mark) {
                (Some(_), None) => {
                    ready.push_back(Captured::Missed);
                    *self.marks.of(source) = None;
                    Skip::default()
                }
                (_, left) => Skip { until, left: left.unwrap_or_default() },
            }
        };
        let (stdout_skip, stderr_skip) = (skip(LogSource::Stdout, stdout), skip(LogSource::Stderr, stderr));
        ready.truncate(1);
        Ok(Follow {
            chunks: self.chunks(follow),
            is_following: follow,
            stamps: self.stamps(),
            stdout: stdout_skip,
            stderr: stderr_skip,
            // What is not followed is history.
            history: if follow { stdout.pieces + stderr.pieces } else { u64::MAX },
            previous: None,
            ready,
        })
    }

    fn stamps(&self) -> Stamps {
        let version = self.docker.client_version();
        let tells_line_feeds = (version.major_version, version.minor_version) >= (1, TELLS_LINE_FEEDS);
        Stamps { marks: Marks::default(), tells_line_feeds }
    }

    fn chunks(&self, follow: bool) -> Chunks {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true);
        let options = options.follow(follow).tail("all").build();
        self.docker.logs(&self.container, Some(options)).boxed()
    }
}

impl Follow {
    /// Whether a log file may have been skipped before this piece: the last one was read so late, and this one was
    /// stamped so much later or earlier, that a file can have been filled and rotated away in between.
    fn may_have_jumped(&mut self, piece: &Piece, now: u64, file_time: u64) -> bool {
        let seen = Seen { at: piece.mark.at.0, late: now.saturating_sub(piece.mark.at.0) };
        let previous = self.previous.replace(seen);
        if self.history > 0 {
            self.history -= 1;
            return false;
        }
        previous
            .is_some_and(|previous| previous.late >= file_time && seen.at.abs_diff(previous.at) >= file_time)
    }

    /// Takes a piece that comes next, unless it was given before.
    fn take(&mut self, piece: Piece) {
        let skip = match piece.source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        };
        match skip.until {
            Some(mark) if mark == piece.mark => skip.until = None,
            Some(_) if skip.left > 0 => skip.left -= 1,
            Some(_) => {
                // It was rotated away since it was looked for.
                skip.until = None;
                self.ready.extend([Captured::Missed, Captured::Piece(piece)]);
            }
            None => self.ready.push_back(Captured::Piece(piece)),
        }
    }
}

impl Stamps {
    /// `2026-01-31T12:00:00.123456789Z text`, with a line feed where the line ends.
    fn mark(&mut self, chunk: LogOutput) -> Piece {
        let (source, message) = match chunk {
            LogOutput::StdErr { message } => (LogSource::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                (LogSource::Stdout, message)
            }
        };
        let previous = self.marks.of(source);
        let space = message.iter().take(64).position(|byte| *byte == b' ');
        let stamped = space.and_then(|space| {
            let at = std::str::from_utf8(message.get(..space)?).ok()?.parse::<EngineTime>().ok()?;
            Some((at, message.slice(space + 1..)))
        });
        // Without a stamp of its own it belongs to what came before it.
        let (at, text) =
            stamped.unwrap_or_else(|| (previous.map(|mark| mark.at).unwrap_or_default(), message));
        let mark = Mark::next(*previous, at);
        *previous = Some(mark);
        let (bytes, mut ends_line) = without_line_feed(text);
        if !self.tells_line_feeds && mark.repeat > 1 && bytes.len() < PIECE {
            ends_line = true;
        }
        Piece { source, mark, bytes, ends_line }
    }
}

async fn has_ended(docker: &Docker, container: &str) -> Result<bool, Error> {
    let asked = docker.inspect_container(container, None::<InspectContainerOptions>);
    let status = within(CALL, asked).await?.state.and_then(|state| state.status);
    Ok(matches!(status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)))
}

fn without_line_feed(mut text: Bytes) -> (Bytes, bool) {
    let ends = text.last() == Some(&b'\n');
    if ends {
        text.truncate(text.len() - 1);
    }
    (text, ends)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(text: &str) -> LogOutput {
        LogOutput::StdOut { message: text.to_owned().into() }
    }

    fn piece(at: u64) -> Piece {
        let mark = Mark { at: EngineTime(at), repeat: 1 };
        Piece { source: LogSource::Stdout, mark, bytes: Bytes::new(), ends_line: true }
    }

    fn stamps(tells_line_feeds: bool) -> Stamps {
        Stamps { marks: Marks::default(), tells_line_feeds }
    }

    fn follow(history: u64, until: Option<Mark>, left: u64) -> Follow {
        Follow {
            chunks: futures::stream::empty().boxed(),
            is_following: true,
            stamps: stamps(true),
            stdout: Skip { until, left },
            stderr: Skip::default(),
            history,
            previous: None,
            ready: VecDeque::new(),
        }
    }

    #[test]
    fn every_piece_loses_its_stamp_and_the_parts_of_a_line_are_told_apart() {
        let mut stamps = stamps(true);
        let first = stamps.mark(stdout("2026-01-31T12:00:00.000000005Z a b"));
        let second = stamps.mark(stdout("2026-01-31T12:00:00.000000005Z \u{e9}\n"));
        assert_eq!((&first.bytes[..], first.ends_line), (&b"a b"[..], false));
        assert_eq!((&second.bytes[..], second.ends_line), ("\u{e9}".as_bytes(), true));
        assert_eq!(first.mark.at, second.mark.at);
        assert_eq!((first.mark.repeat, second.mark.repeat), (1, 2));
        let empty = stamps.mark(stdout("2026-01-31T12:00:01.000000000Z \n"));
        assert_eq!((empty.bytes.len(), empty.ends_line, empty.mark.repeat), (0, true, 1));
    }

    #[test]
    fn an_old_engine_s_last_piece_of_a_long_line_ends_it_and_no_other_piece_does() {
        let stamp = "2026-01-31T12:00:00.000000005Z ";
        let long = format!("{stamp}{}", "x".repeat(PIECE));
        let ends = |tells_line_feeds: bool| {
            let mut stamps = stamps(tells_line_feeds);
            let pieces = [long.as_str(), &long, &format!("{stamp}rest")];
            pieces.map(|piece| stamps.mark(stdout(piece)).ends_line)
        };
        assert_eq!(ends(false), [false, false, true]);
        assert_eq!(ends(true), [false, false, false], "the output ended without a line feed");
        assert!(!stamps(false).mark(stdout(&format!("{stamp}no end"))).ends_line);
    }

    #[test]
    fn a_jump_is_suspected_only_behind_history_and_only_where_a_file_can_have_been_filled() {
        let jumps = |history, late: u64, apart: u64| {
            let mut follow = follow(history, None, 0);
            let first = 1_000_000;
            assert!(!follow.may_have_jumped(&piece(first), first + late, 1_000));
            follow.may_have_jumped(&piece(first + apart), first + apart + late, 1_000)
        };
        assert!(jumps(0, 5_000, 5_000));
        assert!(!jumps(2, 5_000, 5_000), "history has no gaps");
        assert!(!jumps(0, 10, 5_000), "it was read as it was written");
        assert!(!jumps(0, 5_000, 10), "no file is filled so fast");
    }

    #[test]
    fn what_was_given_is_passed_over_and_a_mark_that_went_is_said() {
        let mut known = follow(0, Some(piece(2).mark), 1);
        (1..=3).for_each(|at| known.take(piece(at)));
        assert_eq!(known.ready, [Captured::Piece(piece(3))]);
        let mut gone = follow(0, Some(piece(2).mark), 1);
        (5..=7).for_each(|at| gone.take(piece(at)));
        assert_eq!(gone.ready, [Captured::Missed, Captured::Piece(piece(6)), Captured::Piece(piece(7))]);
    }
}
