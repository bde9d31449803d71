//! The form of kept output: a folder per assignment with files of records, each named by the ordinal and the byte of
//! output that it begins with.
//!
//! A record is its length (4 bytes, big endian) and its CBOR; with the highest bit of the length set it is no record but
//! where reading the engine stands ([`Standing`]), with which every file begins. Files are not synchronised: what a crash tears off the end
//! is cut away when the folder is opened again, and read from the engine once more.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use lode_protocol::envelope::{decode, encode};
use lode_protocol::logs::{LineEnd, LogLine, LogRecord};
use minicbor::{Decode, Encode};

use super::standing::{Behind, Standing};

const EXTENSION: &str = "seg";
/// No record is longer.
const MAX_RECORD: usize = LogLine::MAX_BYTES + 1_024;
const STANDING: u32 = 1 << 31;

/// A record as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(super) struct Kept {
    #[n(0)]
    pub(super) record: LogRecord,
    /// Where reading the engine goes on behind it.
    #[n(1)]
    pub(super) behind: Option<Behind>,
}

/// What a file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Item {
    Record(Kept),
    Standing(Standing),
}

impl Kept {
    pub(super) fn append_to(&self, buffer: &mut Vec<u8>) {
        append(self, 0, buffer);
    }
}

impl Standing {
    pub(super) fn append_to(&self, buffer: &mut Vec<u8>) {
        append(self, STANDING, buffer);
    }
}

fn append(body: &impl Encode<()>, kind: u32, buffer: &mut Vec<u8>) {
    let body = encode(body);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&(length | kind).to_be_bytes());
    buffer.extend_from_slice(&body);
}

/// Bytes of output in a record.
pub(super) fn output_bytes(record: &LogRecord) -> u64 {
    let feed = matches!(record, LogRecord::Line(line) if line.end == LineEnd::Newline);
    record.len() as u64 + u64::from(feed)
}

/// One file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Segment {
    /// Ordinal of its first record.
    pub(super) first: u64,
    /// Bytes of output before it.
    pub(super) output: u64,
}

impl Segment {
    pub(super) fn path(self, folder: &Path) -> PathBuf {
        folder.join(format!("{:020}-{:020}.{EXTENSION}", self.first, self.output))
    }

    fn of(path: &Path) -> Option<Self> {
        if path.extension()? != EXTENSION {
            return None;
        }
        let (first, output) = path.file_stem()?.to_str()?.split_once('-')?;
        Some(Self { first: first.parse().ok()?, output: output.parse().ok()? })
    }

    /// All files of a folder, in order.
    pub(super) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            segments.extend(Self::of(&entry?.path()));
        }
        segments.sort_unstable();
        Ok(segments)
    }
}

/// Reads the records of one file.
#[derive(Debug)]
pub(super) struct SegmentReader<R = File> {
    file: BufReader<R>,
    /// Bytes of the file that are whole records.
    pub(super) read: u64,
}

impl SegmentReader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::of(File::open(path)?))
    }
}

impl<R: io::Read> SegmentReader<R> {
    pub(super) fn of(file: R) -> Self {
        Self { file: BufReader::with_capacity(64 << 10, file), read: 0 }
    }

    /// The next record; `None` at the end, or where what follows is none.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Kept>> {
        loop {
            match self.next()? {
                Some(Item::Record(kept)) => return Ok(Some(kept)),
                Some(Item::Standing(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// What comes next; `None` at the end, or where what follows is nothing that could be there.
    pub(super) fn next(&mut self) -> io::Result<Option<Item>> {
        let mut length = [0; 4];
        if !self.fill(&mut length)? {
            return Ok(None);
        }
        let head = u32::from_be_bytes(length);
        let length = usize::try_from(head & !STANDING).unwrap_or(usize::MAX);
        if length == 0 || length > MAX_RECORD {
            return Ok(None);
        }
        let mut body = vec![0; length];
        if !self.fill(&mut body)? {
            return Ok(None);
        }
        let item = if head & STANDING == 0 {
            decode::<Kept>(&body).ok().map(Item::Record)
        } else {
            decode::<Standing>(&body).ok().map(Item::Standing)
        };
        if item.is_some() {
            self.read += 4 + length as u64;
        }
        Ok(item)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}
