//! A container's output as lines with their times.

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lode_protocol::logs::{LogLine, LogSource};
use lode_protocol::units::Timestamp;

use super::failure::{During, classify};
use crate::core::event::EngineFailure;

/// Cuts the engine's chunks into lines. Docker gives every line a time of its own when asked for timestamps; a chunk
/// may hold part of a line.
#[derive(Debug, Default)]
struct LineCutter {
    stdout: Partial,
    stderr: Partial,
}

#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
}

impl LineCutter {
    /// Takes a chunk and gives the lines that it completes.
    fn take(&mut self, output: LogOutput) -> Vec<LogLine> {
        let (partial, source, message) = match output {
            LogOutput::StdErr { message } => (&mut self.stderr, LogSource::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                (&mut self.stdout, LogSource::Stdout, message)
            }
        };
        partial.bytes.extend_from_slice(&message);
        let mut lines = Vec::new();
        while let Some(end) = partial.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = partial.bytes.drain(..=end).collect();
            lines.extend(parse(&line, source));
        }
        if partial.bytes.len() > LogLine::MAX_BYTES {
            lines.extend(parse(&std::mem::take(&mut partial.bytes), source));
        }
        lines
    }

    /// What is left when the stream ends.
    fn finish(mut self) -> Vec<LogLine> {
        let stdout = parse(&std::mem::take(&mut self.stdout.bytes), LogSource::Stdout);
        stdout.into_iter().chain(parse(&std::mem::take(&mut self.stderr.bytes), LogSource::Stderr)).collect()
    }
}

/// Chunks to lines, with what is left at the end.
pub(super) fn lines_of(
    chunks: BoxStream<'static, Result<LogOutput, Error>>,
) -> BoxStream<'static, Result<LogLine, EngineFailure>> {
    let state = (chunks, Some(LineCutter::default()));
    futures::stream::unfold(state, |(mut chunks, cutter)| async move {
        let mut cutter = cutter?;
        let (lines, rest) = match chunks.next().await {
            Some(Ok(chunk)) => {
                let lines: Vec<Result<LogLine, EngineFailure>> =
                    cutter.take(chunk).into_iter().map(Ok).collect();
                (lines, Some(cutter))
            }
            Some(Err(error)) => (vec![Err(classify(&error, During::Other))], None),
            None => (cutter.finish().into_iter().map(Ok).collect(), None),
        };
        Some((futures::stream::iter(lines), (chunks, rest)))
    })
    .flatten()
    .boxed()
}

/// `2026-01-31T12:00:00.123456789Z text` as lines of at most [`LogLine::MAX_BYTES`].
fn parse(bytes: &[u8], source: LogSource) -> Vec<LogLine> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    let (time, text) = match text.split_once(' ') {
        Some((time, rest)) => (time.parse::<Timestamp>().ok(), rest),
        None => (text.parse::<Timestamp>().ok(), ""),
    };
    if bytes.is_empty() {
        return Vec::new();
    }
    let at = time.unwrap_or_default();
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let cut =
            (0..=rest.len().min(LogLine::MAX_BYTES)).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
        let (head, tail) = rest.split_at(cut);
        lines.push(LogLine { source, at, text: head.to_owned() });
        if tail.is_empty() {
            return lines;
        }
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(text: &str) -> LogOutput {
        LogOutput::StdOut { message: text.to_owned().into() }
    }

    #[test]
    fn lines_are_joined_across_chunks_and_carry_their_time() {
        let mut cutter = LineCutter::default();
        assert!(cutter.take(stdout("2026-01-31T12:00:00.5Z hel")).is_empty());
        let lines = cutter.take(stdout("lo\n2026-01-31T12:00:01Z \n"));
        assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["hello", ""]);
        assert_eq!(lines[0].at.to_string(), "2026-01-31T12:00:00.500Z");
        assert!(cutter.finish().is_empty());
    }

    #[test]
    fn a_last_line_without_an_end_is_not_lost_and_long_lines_are_cut() {
        let mut cutter = LineCutter::default();
        let long = "x".repeat(LogLine::MAX_BYTES + 10);
        let lines = cutter.take(stdout(&format!("2026-01-31T12:00:00Z {long}\n2026-01-31T12:00:00Z end")));
        assert_eq!(lines.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [LogLine::MAX_BYTES, 10]);
        assert_eq!(cutter.finish()[0].text, "end");
    }
}
