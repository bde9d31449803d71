//! Where reading the engine goes on: in which run of which container, and behind which pieces of it.
//!
//! It is kept in the files of output themselves, at the head of each and wherever a run begins, so that it is known
//! whichever of the older files had to go. Invariant: what the records before it and it say together is all that was
//! read; nothing is read twice, and nothing is left out.

use lode_protocol::logs::{EngineTime, LogRecord, LogSource};
use minicbor::{Decode, Encode};

use crate::engine::{Mark, Marks};

/// Behind a piece of a source.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(super) struct Behind {
    #[n(0)]
    at: EngineTime,
    #[n(1)]
    repeat: u32,
    /// Bytes of the piece that are in no record yet: the beginning of a character.
    #[cbor(n(2), with = "minicbor::bytes", default)]
    pub(super) rest: Vec<u8>,
}

impl Behind {
    pub(super) fn new(mark: Mark, rest: Vec<u8>) -> Self {
        Self { at: mark.at, repeat: mark.repeat, rest }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { at: self.at, repeat: self.repeat }
    }
}

/// Where reading stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub(super) struct Standing {
    /// Whose output it is; `None`: nothing was read.
    #[n(0)]
    pub(super) container: Option<String>,
    /// Restarts before the run that is read.
    #[n(1)]
    pub(super) restarts: u32,
    /// Whether the run is still to be told apart from what is before it.
    #[n(2)]
    pub(super) restart_due: bool,
    #[n(3)]
    pub(super) stdout: Option<Behind>,
    #[n(4)]
    pub(super) stderr: Option<Behind>,
}

impl Standing {
    pub(super) fn of(&mut self, source: LogSource) -> &mut Option<Behind> {
        match source {
            LogSource::Stdout => &mut self.stdout,
            LogSource::Stderr => &mut self.stderr,
        }
    }

    pub(super) fn marks(&self) -> Marks {
        let mark = |behind: &Option<Behind>| behind.as_ref().map(Behind::mark);
        Marks { stdout: mark(&self.stdout), stderr: mark(&self.stderr) }
    }

    /// A record has been written.
    pub(super) fn note(&mut self, record: &LogRecord, behind: Option<&Behind>) {
        match record {
            LogRecord::Line(line) => {
                if let Some(behind) = behind {
                    *self.of(line.source) = Some(behind.clone());
                }
            }
            LogRecord::Restart(_) => self.restart_due = false,
            LogRecord::Gap(_) => {}
        }
    }

    /// At the beginning of a run; `None` if it stands there or further. What a run wrote stays read when its container
    /// is started again.
    pub(super) fn at_run(&self, container: &str, restarts: u32, has_records: bool) -> Option<Self> {
        let is_same = self.container.as_deref() == Some(container);
        if is_same && restarts <= self.restarts {
            return None;
        }
        let restart_due = is_same || self.restart_due || has_records;
        let begun = if is_same { self.clone() } else { Self::default() };
        Some(Self { container: Some(container.to_owned()), restarts, restart_due, ..begun })
    }
}
