//! What libraries say: never more than a warning, and so many lines a minute.
//!
//! An error is for the operator to act on, which a library does not know. And libraries of the network say something about
//! every rule that a peer breaks: without a bound a stranger would write as much into our log as he likes. Our own lines
//! are not counted here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

const WINDOW: Duration = Duration::from_secs(60);

/// Whether somebody else's code says it. Records of the `log` crate have the target `log`: none of ours are among them.
pub(super) fn is_foreign(target: &str) -> bool {
    !target.starts_with("lode")
}

/// The level under which it is written.
pub(super) fn shown_level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        Level::ERROR if is_foreign(metadata.target()) => Level::WARN,
        level => level,
    }
}

/// How many lines of libraries are written.
#[derive(Debug)]
pub(super) struct Quota {
    lines: u32,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Quota {
    pub(super) fn new(lines: u32) -> Self {
        Self { lines, spent: Mutex::default() }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more is written now; counts it either way.
    fn admits(&self, now: Instant) -> bool {
        let mut spent = self.spent();
        if spent.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            spent.since = Some(now);
            spent.lines = 0;
        }
        let admits = spent.lines < self.lines;
        if admits {
            spent.lines += 1;
        } else {
            spent.left_out += 1;
        }
        admits
    }

    /// Lines that were left out since this was asked last.
    pub(super) fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.spent().left_out)
    }
}

/// Lets libraries have their quota, and everybody else everything.
#[derive(Clone, Debug)]
pub(super) struct Foreign(pub(super) Arc<Quota>);

impl<S> Filter<S> for Foreign {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        // What is counted are events, not places in the code.
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        !is_foreign(event.metadata().target()) || self.0.admits(Instant::now())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // "No hint" would count as less than any other filter's.
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::filter::FilterExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{EnvFilter, Layer as _, fmt};

    use super::super::format::Lines;
    use super::super::{BaseFields, LogFormat};
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

    fn capture(quota: &Arc<Quota>, work: impl FnOnce()) -> Vec<serde_json::Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines =
            Lines { format: LogFormat::Json, base: BaseFields::default(), foreign: Arc::clone(quota) };
        let layer = fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(lines)
            .fmt_fields(fmt::format::JsonFields::new())
            .with_filter(EnvFilter::new("info").and(Foreign(Arc::clone(quota))));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let text = String::from_utf8(sink.0.lock().expect("not poisoned").clone()).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("one JSON object")).collect()
    }

    fn violation() {
        tracing::error!(target: "yamux::connection", "frame body larger than window");
    }

    #[test]
    fn protocol_violations_of_strangers_do_not_fill_our_log() {
        let quota = Arc::new(Quota::new(3));
        let lines = capture(&quota, || {
            for _ in 0..1_000 {
                violation();
                tracing::debug!(target: "yamux::connection", "what the filter drops takes nothing of the quota");
            }
            for _ in 0..10 {
                tracing::error!(target: "lode_worker", "ours");
            }
        });
        let of = |target: &str| lines.iter().filter(|line| line["target"] == target).count();
        assert_eq!((of("yamux::connection"), of("lode_worker")), (3, 10));
        for line in &lines {
            let level = if line["target"] == "lode_worker" { "ERROR" } else { "WARN" };
            assert_eq!(line["level"], level, "{line}");
        }
    }

    #[test]
    fn a_new_minute_has_a_new_quota() {
        let (quota, start) = (Quota::new(2), Instant::now());
        let admitted = |now| (0..10).filter(|_| quota.admits(now)).count();
        assert_eq!(admitted(start), 2);
        assert_eq!(admitted(start + WINDOW / 2), 0);
        assert_eq!(admitted(start + WINDOW), 2);
        assert_eq!((quota.take_left_out(), quota.take_left_out()), (26, 0));
    }

    #[test]
    fn the_line_after_a_flood_says_how_many_were_left_out() {
        let quota = Arc::new(Quota::new(9));
        quota.spent().left_out = 41;
        let lines = capture(&quota, || {
            violation();
            violation();
        });
        assert_eq!((&lines[0]["left_out"], &lines[1]["left_out"]), (&41.into(), &serde_json::Value::Null));
    }
}
