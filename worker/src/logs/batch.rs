//! Records in numbered batches.

use lode_protocol::ids::Nonce;
use lode_protocol::logs::{LogBatch, LogEnd, LogRecord};

/// A batch is full when it has so many bytes of output.
pub(super) const BATCH_BYTES: usize = 128 << 10;
/// … or so many records.
pub(super) const BATCH_RECORDS: usize = 1_000;

/// Numbers the batches of one stream.
pub(super) struct Batches {
    stream: Nonce,
    index: u64,
}

impl Batches {
    pub(super) fn new(stream: Nonce) -> Self {
        Self { stream, index: 0 }
    }

    /// The next batch; `becomes_live`: with it everything has been sent that had been written before the stream.
    pub(super) fn next(&mut self, records: Vec<LogRecord>, becomes_live: bool) -> LogBatch {
        let index = self.index;
        self.index += 1;
        LogBatch { stream: self.stream, index, end: None, live: becomes_live.then_some(true), records }
    }

    /// The last one.
    pub(super) fn end(&mut self, end: LogEnd) -> LogBatch {
        LogBatch { end: Some(end), ..self.next(Vec::new(), false) }
    }
}

#[cfg(test)]
mod tests {
    use lode_protocol::envelope::{Signable, encode};
    use lode_protocol::logs::{EngineTime, LineEnd, LogLine, LogPosition, LogSource};

    use super::*;

    #[test]
    fn the_largest_batch_fits_its_envelope() {
        let line = |length| {
            let position = LogPosition { ordinal: u64::MAX, at: EngineTime(u64::MAX) };
            let (source, end) = (LogSource::Stderr, LineEnd::Newline);
            LogRecord::Line(LogLine { position, source, bytes: vec![b'x'; length], end })
        };
        let mut batches = Batches { stream: Nonce::default(), index: u64::MAX - 2 };
        let long = vec![line(BATCH_BYTES - 1), line(LogLine::MAX_BYTES)];
        assert!(encode(&batches.next(long, true)).len() < LogBatch::MAX_BYTES);
        let many: Vec<_> = (0..BATCH_RECORDS).map(|_| line(BATCH_BYTES / BATCH_RECORDS)).collect();
        assert!(encode(&batches.next(many, true)).len() < LogBatch::MAX_BYTES);
    }
}
