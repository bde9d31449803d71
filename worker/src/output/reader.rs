//! Reading what is kept, at the reader's own pace, beside the one who writes. What had to go before it was read is said.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use lode_protocol::logs::{GapReason, LogGap, LogPosition, LogRecord};
use lode_protocol::units::Timestamp;
use tokio::sync::watch;

use super::segment::{Segment, SegmentReader, output_bytes};

/// How far the writing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Whether it is known: what was kept before has been looked through.
    pub is_known: bool,
    /// Ordinal behind the last record.
    pub next: u64,
    /// Whether nothing more can come.
    pub ended: bool,
    /// Whether everything has been read that the engine had when reading it began.
    pub has_caught_up: bool,
}

/// Which output is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutputQuery {
    /// Only the last so many records.
    pub tail: Option<u32>,
    /// Only lines of this time or later, by the engine's clock.
    pub since: Option<Timestamp>,
    /// Only records behind this ordinal.
    pub after: Option<u64>,
    /// Only records before this ordinal; `tail` counts the last of them.
    pub before: Option<u64>,
}

/// Reads the output of one assignment.
#[derive(Debug)]
pub struct OutputReader {
    folder: PathBuf,
    progress: watch::Receiver<Progress>,
    is_written: bool,
    /// Nothing from this ordinal on is wanted.
    before: u64,
    cursor: Option<Cursor>,
}

impl OutputReader {
    pub(super) fn new(
        folder: PathBuf,
        progress: watch::Receiver<Progress>,
        is_written: bool,
        query: OutputQuery,
    ) -> Self {
        let before = query.before.unwrap_or(u64::MAX);
        let head = progress.borrow().next.min(before);
        let tail = query.tail.map_or(0, |tail| head.saturating_sub(u64::from(tail)));
        let next = query.after.map_or(0, |after| after.saturating_add(1)).max(tail);
        let since = query.since.unwrap_or_default();
        let output = (next == 0).then_some(0);
        let cursor = Cursor { folder: folder.clone(), next, output, since, file: None, looked_again: None };
        Self { folder, progress, is_written, before, cursor: Some(cursor) }
    }

    /// How far the writing is now; changes after this call wake [`OutputReader::changed`]. Of what is wanted only before
    /// an ordinal, all is written when that is reached.
    pub fn progress(&mut self) -> Progress {
        let progress = *self.progress.borrow_and_update();
        if progress.next < self.before {
            return progress;
        }
        Progress { next: self.before, ended: true, has_caught_up: true, ..progress }
    }

    /// Whether somebody writes, or all was written.
    pub fn is_complete_or_written(&self) -> bool {
        self.is_written || self.progress.borrow().ended
    }

    /// Ordinal behind the last record there is.
    pub fn next(&self) -> u64 {
        self.progress.borrow().next
    }

    /// Waits for more, or for the end of the writing; false when nobody writes any more.
    pub async fn changed(&mut self) -> bool {
        self.progress.changed().await.is_ok()
    }

    /// Ordinal of the next record.
    pub fn position(&self) -> u64 {
        self.cursor.as_ref().map_or(u64::MAX, |cursor| cursor.next)
    }

    /// The next records up to an ordinal, at most about `bytes` of them.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn read(&mut self, until: u64, (records, bytes): (usize, usize)) -> io::Result<Vec<LogRecord>> {
        let Some(mut cursor) = self.cursor.take() else {
            return Err(io::Error::other("an earlier read was not awaited to its end"));
        };
        let read = tokio::task::spawn_blocking(move || {
            let read = cursor.read(until, (records, bytes));
            (cursor, read)
        });
        let (cursor, read) = read.await.map_err(io::Error::other)?;
        self.cursor = Some(cursor);
        read
    }

    /// Everything up to now.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn read_all(&mut self) -> io::Result<Vec<LogRecord>> {
        let until = self.progress().next;
        self.read(until, (usize::MAX, usize::MAX)).await
    }

    /// Where it is kept.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }
}

#[derive(Debug)]
struct Cursor {
    folder: PathBuf,
    next: u64,
    /// Bytes of output before it, if that is known.
    output: Option<u64>,
    since: Timestamp,
    file: Option<(Segment, SegmentReader)>,
    /// Ordinal for which a file was opened a second time.
    looked_again: Option<u64>,
}

impl Cursor {
    fn read(&mut self, until: u64, (most, most_bytes): (usize, usize)) -> io::Result<Vec<LogRecord>> {
        let mut records = VecDeque::new();
        let mut bytes = 0;
        while self.next < until && records.len() < most && bytes < most_bytes {
            let Some((_, reader)) = &mut self.file else {
                match self.open(until)? {
                    Opened::Here => {}
                    Opened::Gap(gap) => records.push_back(LogRecord::Gap(gap)),
                    // Whatever there was had to go.
                    Opened::Nothing => records.extend(self.skip_to(until, None).map(LogRecord::Gap)),
                }
                continue;
            };
            let Some(kept) = reader.next_record()? else {
                records.extend(self.leave_file(until)?.map(LogRecord::Gap));
                continue;
            };
            let (ordinal, at) = (kept.record.position().ordinal, kept.record.position().at);
            self.output = self.output.map(|output| output + output_bytes(&kept.record));
            if ordinal < self.next {
                continue;
            }
            self.next = ordinal + 1;
            if at.to_timestamp() < self.since {
                // What was lost before a line that is not wanted is not missed.
                while matches!(records.back(), Some(LogRecord::Gap(gap)) if gap.reason == GapReason::Retention)
                {
                    records.pop_back();
                }
                continue;
            }
            bytes += kept.record.len();
            records.push_back(kept.record);
        }
        Ok(records.into())
    }

    /// At the end of a file, as far as it can be read: the record is in the next one, or is missing.
    fn leave_file(&mut self, until: u64) -> io::Result<Option<LogGap>> {
        let Some((segment, _)) = self.file.take() else { return Ok(None) };
        let segments = Segment::list(&self.folder)?;
        let behind = segments.iter().find(|behind| behind.first > segment.first);
        let is_torn = match behind {
            Some(behind) => behind.first > self.next,
            None => segments.last() == Some(&segment),
        };
        // Looked at once more: what a write that failed had left there may have been seen instead.
        if !is_torn || self.looked_again.replace(self.next) != Some(self.next) {
            return Ok(None);
        }
        let end = behind.map_or(until, |behind| behind.first.min(until));
        let output = behind.filter(|behind| behind.first == end).map(|behind| behind.output);
        Ok(self.skip_to(end, output))
    }

    /// Says what is missing up to here; `output`: the bytes of output before it, if that is known.
    fn skip_to(&mut self, end: u64, output: Option<u64>) -> Option<LogGap> {
        let missing = end.checked_sub(self.next).filter(|missing| *missing > 0)?;
        let before = std::mem::replace(&mut self.output, output);
        self.next = end;
        Some(LogGap {
            position: LogPosition { ordinal: end - 1, at: Default::default() },
            records: Some(missing),
            bytes: before.zip(output).map(|(before, output)| output.saturating_sub(before)),
            reason: GapReason::Retention,
        })
    }

    /// Opens the file that goes on here, or says what is missing before the oldest one, or before `until`.
    fn open(&mut self, until: u64) -> io::Result<Opened> {
        loop {
            let segments = Segment::list(&self.folder)?;
            let holds = segments.iter().rev().find(|segment| segment.first <= self.next);
            let Some(segment) = holds.or(segments.first()).copied() else { return Ok(Opened::Nothing) };
            match SegmentReader::open(&segment.path(&self.folder)) {
                Ok(reader) => self.file = Some((segment, reader)),
                // It had to go since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            let end = segment.first.min(until);
            // Where it ends before the file begins, nobody knows how much of it that is.
            let gap = self.skip_to(end, Some(segment.output).filter(|_| end == segment.first));
            if self.next < segment.first {
                self.file = None;
            } else {
                self.output = Some(segment.output);
            }
            return Ok(gap.map_or(Opened::Here, Opened::Gap));
        }
    }
}

enum Opened {
    Here,
    Gap(LogGap),
    Nothing,
}
