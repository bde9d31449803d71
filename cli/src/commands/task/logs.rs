//! `lode task logs`: to a pipe or a file the bytes that the task wrote, in blocks; to a terminal what cannot steer it. The
//! task's standard error goes to ours. What is not the task's own (gaps, restarts) is said on standard error.

use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lode_protocol::text::escape_controls;
use serde_json::{Value, json};

use crate::api::{LogEvent, LogGap, LogLine, LogSink};
use crate::output::{Format, ReaderGone, Tamer};
use crate::platform::is_one_file;

/// Written at a time where nobody looks on.
const BLOCK: usize = 256 << 10;

/// Prints output.
pub(crate) struct LogPrinter {
    format: Format,
    timestamps: bool,
    /// Whether the user has said which replica is meant.
    replica_is_chosen: bool,
    stdout: Target,
    stderr: Target,
    /// Whether both go to one place, so that their order counts.
    is_one: bool,
}

/// Where one of the task's streams goes.
struct Target {
    out: BufWriter<Box<dyn Write + Send>>,
    tamer: Option<Tamer>,
    is_at_start: bool,
}

impl Target {
    fn new(stream: impl Write + Send + IsTerminal + 'static) -> Self {
        let tamer = stream.is_terminal().then(Tamer::default);
        Target { out: BufWriter::with_capacity(BLOCK, Box::new(stream)), tamer, is_at_start: true }
    }

    fn line(&mut self, at: Option<&str>, bytes: &[u8], end: Option<&str>) -> io::Result<()> {
        if let Some(at) = at.filter(|_| self.is_at_start) {
            self.out.write_all(at.as_bytes())?;
            self.out.write_all(b" ")?;
        }
        match &mut self.tamer {
            None => self.out.write_all(bytes)?,
            Some(tamer) => {
                self.out.write_all(tamer.take(bytes).as_bytes())?;
                if end != Some("cut") {
                    self.out.write_all(tamer.end_of_line().as_bytes())?;
                }
            }
        }
        self.is_at_start = end != Some("cut");
        if end.is_none() { self.out.write_all(b"\n") } else { Ok(()) }
    }

    /// Ends what is unfinished, so that something of our own can be said.
    fn pause(&mut self) -> io::Result<()> {
        if let Some(tamer) = &mut self.tamer {
            self.out.write_all(tamer.reset().as_bytes())?;
        }
        self.out.flush()
    }
}

impl LogPrinter {
    /// For our own standard output and error.
    pub(crate) fn new(format: Format, timestamps: bool, replica_is_chosen: bool) -> Self {
        LogPrinter {
            format,
            timestamps,
            replica_is_chosen,
            stdout: Target::new(io::stdout()),
            stderr: Target::new(io::stderr()),
            is_one: is_one_file(&io::stdout(), &io::stderr()),
        }
    }

    fn line(&mut self, line: &LogLine<'_>) -> anyhow::Result<()> {
        let decoded;
        let bytes = match (&line.text, &line.bytes) {
            (Some(text), _) => text.as_bytes(),
            (None, Some(bytes)) => {
                decoded = BASE64_STANDARD.decode(bytes.as_bytes()).context("a line is no base64")?;
                &decoded
            }
            (None, None) => b"",
        };
        let is_stderr = line.source == "stderr";
        let (target, other) = match is_stderr {
            true => (&mut self.stderr, &mut self.stdout),
            false => (&mut self.stdout, &mut self.stderr),
        };
        if self.is_one && !other.out.buffer().is_empty() {
            checked(other.out.flush())?;
        }
        let at = self.timestamps.then(|| escape_controls(&line.at));
        checked(target.line(at.as_deref(), bytes, line.end.as_deref()))
    }

    /// One object a line.
    fn json(&mut self, value: &Value) -> anyhow::Result<()> {
        let text = value.to_string();
        let text = crate::output::escape_in_json(&text);
        checked(self.stdout.out.write_all(text.as_bytes()).and_then(|()| self.stdout.out.write_all(b"\n")))
    }

    fn say(&mut self, words: &str) -> anyhow::Result<()> {
        checked(self.stdout.pause())?;
        checked(self.stderr.pause())?;
        let said = writeln!(self.stderr.out, "lode: {}", escape_controls(words));
        checked(said.and_then(|()| self.stderr.out.flush()))
    }
}

impl LogSink for LogPrinter {
    fn show(&mut self, event: &LogEvent<'_>, data: &str) -> anyhow::Result<()> {
        let is_json = self.format == Format::Json;
        match event {
            LogEvent::Line(_) if is_json => self.json(&serde_json::from_str(data)?),
            LogEvent::Line(line) => self.line(line),
            LogEvent::Begin(begin) if begin.replicas > 1 && !self.replica_is_chosen => self.say(&format!(
                "this is replica {} of {}, numbered from 0; --replica chooses another",
                begin.replica, begin.replicas
            )),
            LogEvent::Begin(_) => Ok(()),
            LogEvent::Gap(_) if is_json => self.json(&json!({ "gap": serde_json::from_str::<Value>(data)? })),
            LogEvent::Gap(gap) => self.say(&words_of(gap)),
            LogEvent::Restart(restart) => {
                if is_json {
                    return self.json(&json!({ "restart": serde_json::from_str::<Value>(data)? }));
                }
                let node = restart.node.as_deref().map(|node| format!(" on node {node}")).unwrap_or_default();
                self.say(&format!(
                    "restarted; what follows is of the next start ({}{node})",
                    restart.assignment
                ))
            }
        }
    }

    fn idle(&mut self) -> anyhow::Result<()> {
        checked(self.stdout.out.flush())?;
        checked(self.stderr.out.flush())
    }
}

impl Drop for LogPrinter {
    fn drop(&mut self) {
        // Whoever cannot be written to any more has been told of.
        let _ = self.stdout.pause();
        let _ = self.stderr.pause();
    }
}

fn words_of(gap: &LogGap) -> String {
    let count = |number: Option<u64>, what: &str| number.map(|number| format!("{number} {what}"));
    let counts: Vec<String> =
        [count(gap.records, "lines"), count(gap.bytes, "bytes")].into_iter().flatten().collect();
    let what = if counts.is_empty() { "lines".to_owned() } else { counts.join(", ") };
    let why = match gap.reason.as_str() {
        "retention" => "the node keeps only the newest output",
        "engine" => "the engine wrote over its log before it was read",
        "node-gone" => "the node that has them cannot be asked",
        other => other,
    };
    format!("{what} are missing here: {why}")
}

fn checked(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(crate::failure::Kind::Failed.because(format!("cannot write the output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(format: Format, is_terminal: bool, data: &[(&str, &str)]) -> (Vec<u8>, String) {
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let target = |shared: &Shared| Target {
            out: BufWriter::new(Box::new(shared.clone())),
            tamer: is_terminal.then(Tamer::default),
            is_at_start: true,
        };
        let mut printer = LogPrinter {
            format,
            timestamps: false,
            replica_is_chosen: false,
            stdout: target(&stdout),
            stderr: target(&stderr),
            is_one: false,
        };
        for (kind, data) in data {
            let event = match *kind {
                "line" => LogEvent::Line(serde_json::from_str(data).unwrap()),
                "gap" => LogEvent::Gap(serde_json::from_str(data).unwrap()),
                _ => LogEvent::Restart(serde_json::from_str(data).unwrap()),
            };
            printer.show(&event, data).unwrap();
        }
        drop(printer);
        let (stdout, stderr) = (stdout.0.lock().unwrap().clone(), stderr.0.lock().unwrap().clone());
        (stdout, String::from_utf8(stderr).unwrap())
    }

    const LINES: [(&str, &str); 4] = [
        ("line", r#"{"position":"1.1","at":"T","source":"stdout","text":"\u001b[32mg\u001b[2Jx"}"#),
        ("line", r#"{"position":"1.2","at":"T","source":"stderr","text":"err"}"#),
        ("line", r#"{"position":"1.3","at":"T","source":"stdout","bytes":"/w==","end":"cut"}"#),
        ("line", r#"{"position":"1.4","at":"T","source":"stdout","text":"no end","end":"open"}"#),
    ];

    #[test]
    fn a_pipe_gets_the_bytes_that_the_task_wrote_and_nothing_else() {
        let (stdout, stderr) = printed(Format::Table, false, &LINES);
        assert_eq!(stdout, b"\x1b[32mg\x1b[2Jx\n\xffno end");
        assert_eq!(stderr, "err\n");
    }

    #[test]
    fn a_terminal_gets_colours_that_are_put_back_and_nothing_that_steers_it() {
        let (stdout, _) = printed(Format::Table, true, &LINES);
        assert_eq!(String::from_utf8(stdout).unwrap(), "\u{1b}[32mg\\u{1b}[2Jx\n\\xffno end\u{1b}[0m");
    }

    #[test]
    fn json_has_the_same_fields_however_it_is_asked_for() {
        let (stdout, stderr) = printed(Format::Json, false, &LINES);
        let text = String::from_utf8(stdout).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["position"], "1.1");
        assert_eq!((&first["source"], &first["at"]), (&json!("stdout"), &json!("T")));
        assert_eq!((text.lines().count(), stderr.as_str()), (4, ""));
        assert!(text.contains(r#""bytes":"/w==""#));
    }

    #[test]
    fn gaps_and_restarts_are_said_on_standard_error() {
        let (stdout, stderr) = printed(
            Format::Table,
            false,
            &[
                ("gap", r#"{"position":"1.9","records":9,"bytes":100,"reason":"retention"}"#),
                ("gap", r#"{"reason":"engine"}"#),
                ("restart", r#"{"position":"2.0","assignment":"t.0.2","node":"0x1"}"#),
            ],
        );
        assert!(stdout.is_empty());
        assert_eq!(
            stderr,
            "lode: 9 lines, 100 bytes are missing here: the node keeps only the newest output\n\
             lode: lines are missing here: the engine wrote over its log before it was read\n\
             lode: restarted; what follows is of the next start (t.0.2 on node 0x1)\n"
        );
    }
}
