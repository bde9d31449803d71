//! One log event as one line.

use std::fmt;
use std::sync::Arc;

use lode_protocol::text::escape_controls;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::foreign::{self, Quota};
use super::{BaseFields, LogFormat};

/// Names that a line uses itself; a field of such a name is written with `field_` before it.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

#[derive(Debug)]
pub(super) struct Lines {
    pub(super) format: LogFormat,
    pub(super) base: BaseFields,
    /// Counts the lines of libraries that were left out.
    pub(super) foreign: Arc<Quota>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> tracing_subscriber::fmt::FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            // Spans' fields are kept as JSON by the layer (`JsonFields`); inner spans win over outer ones.
            if let Some(formatted) = span.extensions().get::<FormattedFields<N>>()
                && let Ok(Value::Object(row)) = serde_json::from_str(&formatted.fields)
            {
                row.into_iter().for_each(|(name, value)| fields.insert(&name, value));
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        if foreign::is_foreign(metadata.target())
            && let left_out @ 1.. = self.foreign.take_left_out()
        {
            fields.insert("left_out", left_out.into());
        }
        let line = Line {
            timestamp: timestamp(),
            level: foreign::shown_level(metadata).as_str(),
            target: metadata.target(),
            fields,
        };
        self.base.read(|base| match self.format {
            LogFormat::Json => line.write_json(&mut writer, base),
            LogFormat::Pretty => line.write_pretty(&mut writer, base),
        })
    }
}

/// RFC 3339, UTC, always milliseconds, so that lines sort as text.
fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

struct Line<'a> {
    timestamp: String,
    level: &'a str,
    target: &'a str,
    fields: Fields,
}

impl Line<'_> {
    fn write_json(self, writer: &mut Writer<'_>, base: &[(String, String)]) -> fmt::Result {
        let mut row = Map::new();
        row.insert("timestamp".into(), self.timestamp.into());
        row.insert("level".into(), self.level.into());
        row.insert("target".into(), self.target.into());
        row.insert("message".into(), self.fields.message.into());
        for (name, value) in base {
            row.insert(name.clone(), value.clone().into());
        }
        row.extend(self.fields.others);
        writeln!(writer, "{}", Value::Object(row))
    }

    fn write_pretty(self, writer: &mut Writer<'_>, base: &[(String, String)]) -> fmt::Result {
        write!(writer, "{} {:<5} {}", self.timestamp, self.level, escape_controls(&self.fields.message))?;
        let base = base.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str())));
        let others = self.fields.others.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in others.chain(base) {
            match value {
                // Quotes where a value would otherwise run into the next one.
                Value::String(text) if !text.is_empty() && !text.contains([' ', '"', '=']) => {
                    write!(writer, " {name}={}", escape_controls(&text))?;
                }
                // JSON text has its control characters escaped already, except for the bidirectional ones.
                other => write!(writer, " {name}={}", escape_controls(&other.to_string()))?,
            }
        }
        writeln!(writer)
    }
}

#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn insert(&mut self, name: &str, value: Value) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let name = if RESERVED.contains(&name) { format!("field_{name}") } else { name.to_owned() };
        self.others.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.insert(field.name(), format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.insert(field.name(), value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn capture(format: LogFormat, work: impl FnOnce()) -> String {
        let (sink, base) = (Sink::default(), BaseFields::default());
        base.set("program", "lode-test".into());
        base.set("node_id", "0xabc".into());
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(Lines { format, base, foreign: Arc::new(Quota::new(0)) })
            .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = sink.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    fn log_something() {
        let outer = tracing::info_span!("task", task = "driver", shared = "outer");
        let _outer = outer.enter();
        let inner = tracing::info_span!("step", shared = "inner", number = 7);
        let _inner = inner.enter();
        tracing::warn!(peer = "evil\x1b[2J\nname", level = 3, "beat {}", "late");
    }

    #[test]
    fn a_json_line_carries_base_span_and_event_fields_at_its_top() {
        let text = capture(LogFormat::Json, log_something);
        let line: Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(line["message"], "beat late");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["field_level"], 3);
        assert_eq!(line["program"], "lode-test");
        assert_eq!(line["node_id"], "0xabc");
        assert_eq!(
            (&line["task"], &line["shared"], &line["number"]),
            (&"driver".into(), &"inner".into(), &7.into())
        );
        let stamp = line["timestamp"].as_str().expect("text");
        assert!(stamp.len() == 24 && stamp.ends_with('Z'), "{stamp}");
        stamp.parse::<jiff::Timestamp>().expect("RFC 3339");
    }

    #[test]
    fn a_pretty_line_is_one_line_and_obeys_no_escape_of_a_peer() {
        let text = capture(LogFormat::Pretty, log_something);
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.contains("WARN  beat late") && text.contains("task=driver"), "{text}");
    }
}
