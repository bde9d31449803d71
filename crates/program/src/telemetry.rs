//! Logs: one line per event on standard error, JSON for machines or plain for people, times in UTC (RFC 3339).
//!
//! Every line carries the program's base fields (its name, then node and pool once known) and the fields of the
//! spans around it, flattened to the top level. Text from others is escaped before it reaches a terminal. What libraries
//! say is capped in level and number: some of it strangers make them say.

mod foreign;
mod format;

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use foreign::{Foreign, Quota};
use format::Lines;

const DEFAULT_FILTER: &str = "info";
const FILE_FILTER: &str =
    "debug,hyper=info,h2=info,libp2p=info,multistream_select=info,rustls=info,yamux=info";
/// Lines of libraries in a minute.
const LIBRARY_LINES: u32 = 60;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Pretty,
}

/// The logging flags of every program.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LogArgs {
    /// How log lines look.
    #[arg(long, global = true, env = "LODE_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged, for example `info,lode_worker=debug`.
    #[arg(long = "log", global = true, env = "LODE_LOG", value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// Also write everything from level DEBUG as JSON lines to this file.
    #[arg(long, global = true, env = "LODE_LOG_FILE", value_name = "PATH")]
    pub log_file: Option<PathBuf>,
    /// Most lines that libraries write in a minute (60); the next one says how many were left out.
    #[arg(long, global = true, env = "LODE_LOG_LIBRARY_LINES", value_name = "NUMBER")]
    pub log_library_lines: Option<u32>,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("the log filter `{filter}` is not valid: {source}; write for example `info,lode_worker=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The debug file cannot be opened.
    #[error("cannot open the log file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Logging was started before.
    #[error("logging is started already")]
    Started,
}

/// Fields on every line.
#[derive(Debug, Clone, Default)]
pub(crate) struct BaseFields(Arc<RwLock<Vec<(String, String)>>>);

impl BaseFields {
    fn set(&self, name: &str, value: String) {
        let mut fields = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = value,
            None => fields.push((name.to_owned(), value)),
        }
    }

    fn read<R>(&self, read: impl FnOnce(&[(String, String)]) -> R) -> R {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The running log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry {
    base: BaseFields,
}

impl Telemetry {
    /// Puts a field on every line from now on, for example the node id once the key is read.
    pub fn set_field(&self, name: &str, value: impl ToString) {
        self.base.set(name, value.to_string());
    }
}

/// Starts logging for this process. Call once, as soon as the flags are read.
pub fn init(program: &str, args: &LogArgs) -> Result<Telemetry, TelemetryError> {
    let base = BaseFields::default();
    base.set("program", program.to_owned());
    let filter_text = args.log_filter.as_deref().filter(|text| !text.is_empty()).unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter_text)
        .map_err(|source| TelemetryError::Filter { filter: filter_text.to_owned(), source })?;
    let quota = || Arc::new(Quota::new(args.log_library_lines.unwrap_or(LIBRARY_LINES)));
    let foreign = quota();
    let console = fmt::layer()
        .with_writer(io::stderr)
        .event_format(Lines { format: args.log_format, base: base.clone(), foreign: Arc::clone(&foreign) })
        .fmt_fields(fmt::format::JsonFields::new())
        .with_filter(filter.and(Foreign(foreign)));
    let file = match &args.log_file {
        None => None,
        Some(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|source| TelemetryError::File { path: path.clone(), source })?;
            let foreign = quota();
            let lines = Lines { format: LogFormat::Json, base: base.clone(), foreign: Arc::clone(&foreign) };
            let layer = fmt::layer()
                .with_writer(Arc::new(file))
                .event_format(lines)
                .fmt_fields(fmt::format::JsonFields::new())
                .with_filter(EnvFilter::new(FILE_FILTER).and(Foreign(foreign)));
            Some(layer)
        }
    };
    tracing_subscriber::registry()
        .with(console)
        .with(file)
        .try_init()
        .map_err(|_| TelemetryError::Started)?;
    Ok(Telemetry { base })
}
