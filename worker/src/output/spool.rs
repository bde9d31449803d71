//! Writing: records get their ordinals here, once, and go to files of which the oldest make room for the newest.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use lode_protocol::logs::{
    EngineTime, GapReason, LineEnd, LogGap, LogLine, LogPosition, LogRecord, LogSource,
};

use super::segment::{Item, Kept, Segment, SegmentReader, output_bytes};
use super::standing::{Behind, Standing};
use crate::core::event::ContainerId;

/// Files that one assignment's output is divided into: the oldest goes as a whole.
const FILES: u64 = 8;
const SMALLEST_FILE: u64 = 512;
/// There when nothing more can come.
const ENDED: &str = "ended";

/// What is to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) at: EngineTime,
    pub(super) body: Body,
    /// Where reading the engine goes on behind it.
    pub(super) behind: Option<Behind>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Body {
    Line {
        source: LogSource,
        bytes: Vec<u8>,
        end: LineEnd,
    },
    /// The engine lost something.
    Missed,
    Restart,
}

impl Entry {
    fn at_ordinal(self, ordinal: u64) -> Kept {
        let position = LogPosition { ordinal, at: self.at };
        let record = match self.body {
            Body::Line { source, bytes, end } => LogRecord::Line(LogLine { position, source, bytes, end }),
            Body::Missed => {
                LogRecord::Gap(LogGap { position, records: None, bytes: None, reason: GapReason::Engine })
            }
            Body::Restart => LogRecord::Restart(position),
        };
        Kept { record, behind: self.behind }
    }
}

/// The output of one assignment, open for writing. Blocking.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    limit: u64,
    /// With their sizes; the last one is written.
    segments: VecDeque<(Segment, u64)>,
    file: File,
    /// Ordinal of the next record.
    next: u64,
    /// Bytes of output so far.
    output: u64,
    standing: Standing,
    last: EngineTime,
}

impl Spool {
    /// Opens a folder, and cuts off what a crash left half-written.
    pub(super) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let mut segments = VecDeque::new();
        let mut standing = Standing::default();
        let (mut next, mut output, mut last) = (0, 0, EngineTime::default());
        for segment in Segment::list(folder)? {
            let path = segment.path(folder);
            let mut reader = SegmentReader::open(&path)?;
            (next, output) = (segment.first, segment.output);
            while let Some(item) = reader.next()? {
                match item {
                    Item::Standing(known) => standing = known,
                    Item::Record(Kept { record, behind }) => {
                        next = record.position().ordinal + 1;
                        output += output_bytes(&record);
                        last = record.position().at;
                        standing.note(&record, behind.as_ref());
                    }
                }
            }
            OpenOptions::new().write(true).open(&path)?.set_len(reader.read)?;
            segments.push_back((segment, reader.read));
        }
        if segments.is_empty() {
            segments.push_back((Segment::default(), 0));
        }
        let current = segments.back().map(|(segment, _)| *segment).unwrap_or_default();
        let file = OpenOptions::new().append(true).create(true).open(current.path(folder))?;
        Ok(Self { folder: folder.to_owned(), limit, segments, file, next, output, standing, last })
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// When the last record was written.
    pub(super) fn last(&self) -> EngineTime {
        self.last
    }

    /// Where reading the engine goes on.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// From now on it is this run of this container that is read, or what is left of it.
    pub(super) fn begin(&mut self, container: &ContainerId, restarts: u32) -> io::Result<()> {
        let Some(standing) = self.standing.at_run(&container.0, restarts, self.next > 0) else {
            return Ok(());
        };
        let mut buffer = Vec::new();
        standing.append_to(&mut buffer);
        self.write(&buffer)?;
        self.standing = standing;
        Ok(())
    }

    /// Adds records. What could not be written is not there at all: `standing` says from where to try again.
    pub(super) fn append(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        let file_limit = (self.limit / FILES).max(SMALLEST_FILE);
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let size = self.segments.back().map_or(0, |(_, size)| *size);
            if size >= file_limit {
                self.roll()?;
                continue;
            }
            let (mut next, mut output, mut last) = (self.next, self.output, self.last);
            let mut standing = self.standing.clone();
            let mut buffer = Vec::new();
            if size == 0 {
                standing.append_to(&mut buffer);
            }
            while let Some(entry) = entries.next_if(|_| size + (buffer.len() as u64) < file_limit) {
                let kept = entry.at_ordinal(next);
                next += 1;
                output += output_bytes(&kept.record);
                last = kept.record.position().at;
                standing.note(&kept.record, kept.behind.as_ref());
                kept.append_to(&mut buffer);
            }
            self.write(&buffer)?;
            (self.next, self.output, self.standing, self.last) = (next, output, standing, last);
            self.make_room()?;
        }
        Ok(())
    }

    /// All of it, or nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = self.segments.back().map_or(0, |(_, size)| *size);
        if let Err(error) = self.file.write_all(bytes) {
            self.file.set_len(size)?;
            return Err(error);
        }
        if let Some((_, size)) = self.segments.back_mut() {
            *size += bytes.len() as u64;
        }
        Ok(())
    }

    /// Begins a file. The older ones stay until it says where reading stands.
    fn roll(&mut self) -> io::Result<()> {
        let segment = Segment { first: self.next, output: self.output };
        self.file = OpenOptions::new().append(true).create(true).open(segment.path(&self.folder))?;
        self.segments.push_back((segment, 0));
        Ok(())
    }

    fn make_room(&mut self) -> io::Result<()> {
        while self.segments.len() > 1
            && self.segments.iter().map(|(_, size)| size).sum::<u64>() > self.limit
            && let Some((oldest, _)) = self.segments.front().copied()
        {
            std::fs::remove_file(oldest.path(&self.folder))?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        File::create(self.folder.join(ENDED))?.sync_all()
    }
}

/// Whether nothing more can come.
pub(super) fn has_ended(folder: &Path) -> bool {
    folder.join(ENDED).exists()
}

/// Ordinal behind the last whole record.
pub(super) fn next_of(folder: &Path) -> io::Result<u64> {
    let Some(last) = Segment::list(folder)?.pop() else { return Ok(0) };
    let mut reader = SegmentReader::open(&last.path(folder))?;
    let mut next = last.first;
    while let Some(kept) = reader.next_record()? {
        next = kept.record.position().ordinal + 1;
    }
    Ok(next)
}
