//! The form of kept output: a line of text per line of output, `2026-01-31T12:00:00.500Z stdout text`.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use lode_protocol::logs::{LogLine, LogSource};
use tokio::sync::mpsc;

use crate::core::event::EngineFailure;
use crate::engine::LogQuery;

/// Lines handed over at a time.
const LINES: usize = 256;
/// Handfuls that wait for a slow reader.
const WAITING: usize = 2;

/// A line as it is kept.
pub(super) fn text_of(line: &LogLine) -> String {
    let source = match line.source {
        LogSource::Stdout => "stdout",
        LogSource::Stderr => "stderr",
    };
    format!("{} {source} {}\n", line.at, line.text)
}

/// A line as it was; `None` if it is none of ours.
fn line_of(bytes: &[u8]) -> Option<LogLine> {
    let text = String::from_utf8_lossy(bytes);
    let (at, rest) = text.split_once(' ')?;
    let (source, text) = rest.split_once(' ')?;
    let source = match source {
        "stdout" => LogSource::Stdout,
        "stderr" => LogSource::Stderr,
        _ => return None,
    };
    Some(LogLine { source, at: at.parse().ok()?, text: text.to_owned() })
}

/// The lines of a file, as an engine would give them.
pub(super) fn lines(file: File, query: LogQuery) -> BoxStream<'static, Result<LogLine, EngineFailure>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let outcome = feed(file, query, &sender);
        if let Err(error) = outcome {
            let failure = EngineFailure::Other(format!("kept output cannot be read: {error}"));
            // Nobody listens any more, or is told.
            let _ = sender.blocking_send(vec![Err(failure)]);
        }
    });
    stream::unfold(receiver, |mut receiver| async move {
        let lines: Vec<Result<LogLine, EngineFailure>> = receiver.recv().await?;
        Some((stream::iter(lines), receiver))
    })
    .flatten()
    .boxed()
}

/// Blocking. Ends early when nobody listens any more.
fn feed(
    mut file: File,
    query: LogQuery,
    sender: &mpsc::Sender<Vec<Result<LogLine, EngineFailure>>>,
) -> io::Result<()> {
    let skip = match query.tail {
        Some(tail) => count(&mut file)?.saturating_sub(u64::from(tail)),
        None => 0,
    };
    let since = query.since.unwrap_or_default();
    let mut handful = Vec::with_capacity(LINES);
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    for bytes in BufReader::new(file).split(b'\n').skip(skip) {
        // A line that somebody has edited is left out; the others count.
        let Some(line) = line_of(&bytes?).filter(|line| line.at >= since) else { continue };
        handful.push(Ok(line));
        if handful.len() >= LINES && sender.blocking_send(std::mem::take(&mut handful)).is_err() {
            return Ok(());
        }
    }
    if !handful.is_empty() {
        // Nobody listens any more, or has it all.
        let _ = sender.blocking_send(handful);
    }
    Ok(())
}

/// How many lines there are; the file is then at its beginning again.
fn count(file: &mut File) -> io::Result<u64> {
    let mut lines = 0;
    let mut part = vec![0; 64 << 10];
    loop {
        match file.read(&mut part)? {
            0 => break,
            read => lines += part.iter().take(read).filter(|byte| **byte == b'\n').count() as u64,
        }
    }
    file.rewind()?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lode_protocol::units::Timestamp;

    use super::*;

    fn line(at: u64, source: LogSource, text: &str) -> LogLine {
        LogLine { source, at: Timestamp(at), text: text.to_owned() }
    }

    async fn read(written: &[LogLine], query: LogQuery) -> Vec<LogLine> {
        let mut file = tempfile::tempfile().unwrap();
        for line in written {
            file.write_all(text_of(line).as_bytes()).unwrap();
        }
        file.rewind().unwrap();
        lines(file, query).map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn what_was_kept_comes_back_line_by_line_with_source_and_time() {
        let written = [
            line(1_000, LogSource::Stdout, "one two  three"),
            line(1_001, LogSource::Stderr, ""),
            line(2_500, LogSource::Stdout, "stdout \u{1b}[1m\r mark"),
        ];
        assert_eq!(read(&written, LogQuery::default()).await, written);
        let tail = LogQuery { tail: Some(2), ..LogQuery::default() };
        assert_eq!(read(&written, tail).await, written[1..]);
        let since = LogQuery { since: Some(Timestamp(1_001)), ..LogQuery::default() };
        assert_eq!(read(&written, since).await, written[1..]);
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_read_does_not_take_the_others_with_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"what is this\n1970-01-01T00:00:01.000Z stdout good\n").unwrap();
        file.rewind().unwrap();
        let all: Vec<LogLine> = lines(file, LogQuery::default()).map(Result::unwrap).collect().await;
        assert_eq!(all, [line(1_000, LogSource::Stdout, "good")]);
    }
}
