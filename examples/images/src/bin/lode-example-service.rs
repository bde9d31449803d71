//! A service that a browser can look at: it says where it runs, which GPUs it has, and how many requests it served.
//!
//! ```text
//! --port N             listen here (LODE_PORT_HTTP, else PORT, else 8080)
//! --ready-after S      answer /healthz with 503 for this long after the start (EXAMPLE_READY_AFTER; 0)
//! --log-every S        print a line this often (EXAMPLE_LOG_EVERY; 1, 0 = never)
//! --exit-after S       end by itself after this long (EXAMPLE_EXIT_AFTER)
//! --fail CODE          the exit code of that end (EXAMPLE_FAIL; 0)
//! --ignore-term        disregard SIGTERM
//! ```
//!
//! `/` answers with JSON, `/healthz` with 200 or 503. SIGTERM ends it with 0 after the answers under way.

use lode_example_images::{arguments::Arguments, gpus::Gpus, stop::Stop};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const USAGE_ERROR: u8 = 64;
/// How long one client may take to send its request or to take its answer.
const CLIENT_DEADLINE: Duration = Duration::from_secs(5);
/// How long answers under way may delay the end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
/// A request line and headers longer than this are refused.
const REQUEST_BYTES: u64 = 16 * 1024;
/// More clients at a time than this are turned away: each holds a thread.
const CLIENTS: usize = 64;

struct Service {
    started: Instant,
    ready_after: Duration,
    hostname: String,
    gpus: Gpus,
    requests: AtomicU64,
    clients: AtomicUsize,
}

fn main() -> ExitCode {
    run().unwrap_or_else(|reason| {
        eprintln!("lode-example-service: {reason}");
        ExitCode::from(USAGE_ERROR)
    })
}

fn run() -> Result<ExitCode, String> {
    let mut arguments = Arguments::of_process()?;
    let fallback = match env::var("PORT") {
        Ok(text) => text.parse().map_err(|_| format!("PORT: {text:?} is not a port"))?,
        Err(_) => 8080_u16,
    };
    let port = arguments.value("port", "LODE_PORT_HTTP", fallback)?;
    let ready_after = Duration::from_secs(arguments.value("ready-after", "EXAMPLE_READY_AFTER", 0)?);
    let log_every = Duration::from_secs(arguments.value("log-every", "EXAMPLE_LOG_EVERY", 1)?);
    let exit_after: Option<u64> = arguments.optional("exit-after", "EXAMPLE_EXIT_AFTER")?;
    let fail = arguments.value("fail", "EXAMPLE_FAIL", 0_u8)?;
    let ignore_term = arguments.flag("ignore-term")?;
    arguments.finish()?;

    let stop = Stop::on_signals(ignore_term).map_err(|error| format!("listening for signals: {error}"))?;
    let listener = bind(port).map_err(|error| format!("listening on port {port}: {error}"))?;
    let service = Arc::new(Service {
        started: Instant::now(),
        ready_after,
        hostname: hostname(),
        gpus: Gpus::detect().map_err(|error| format!("looking for GPUs in /dev: {error}"))?,
        requests: AtomicU64::new(0),
        clients: AtomicUsize::new(0),
    });
    println!("lode-example-service: {} listens on port {port}", service.hostname);
    println!("{}", service.gpus.describe());

    let accepting = Arc::clone(&service);
    thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || accepting.accept(&listener))
        .map_err(|error| format!("starting the accepting thread: {error}"))?;
    let told = service.live(&stop, log_every, exit_after.map(Duration::from_secs));
    service.drain();
    println!("lode-example-service: ended after {} requests", service.requests.load(Ordering::Relaxed));
    Ok(if told { ExitCode::SUCCESS } else { ExitCode::from(fail) })
}

impl Service {
    fn is_ready(&self) -> bool {
        self.started.elapsed() >= self.ready_after
    }

    /// Lives until told to stop (true) or until its time is up (false).
    fn live(&self, stop: &Stop, log_every: Duration, exit_after: Option<Duration>) -> bool {
        let mut next_line = log_every;
        loop {
            let age = self.started.elapsed();
            if exit_after.is_some_and(|limit| age >= limit) {
                return false;
            }
            if !log_every.is_zero() && age >= next_line {
                next_line += log_every;
                println!(
                    "alive {} s, ready={}, {} requests",
                    age.as_secs(),
                    self.is_ready(),
                    self.requests.load(Ordering::Relaxed)
                );
            }
            // Until the next thing that is due; an hour when nothing is.
            let due = [(!log_every.is_zero()).then_some(next_line), exit_after].into_iter().flatten().min();
            let pause =
                due.map_or(Duration::from_secs(3600), |due| due.saturating_sub(self.started.elapsed()));
            if stop.sleep(pause) {
                return true;
            }
        }
    }

    /// Gives the answers under way a moment. Ends when none is left or the deadline passes.
    fn drain(&self) {
        let deadline = Instant::now() + DRAIN_DEADLINE;
        while self.clients.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            let stream = match connection {
                Ok(stream) => stream,
                Err(error) => {
                    println!("accepting a connection failed: {error}");
                    thread::sleep(Duration::from_millis(100)); // out of descriptors: let some be closed
                    continue;
                }
            };
            if self.clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS {
                self.clients.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let service = Arc::clone(&self);
            let spawned = thread::Builder::new().stack_size(64 * 1024).spawn(move || {
                if let Err(error) = service.answer(&stream) {
                    println!("a client went away: {error}");
                }
                service.clients.fetch_sub(1, Ordering::AcqRel);
            });
            if let Err(error) = spawned {
                self.clients.fetch_sub(1, Ordering::AcqRel);
                println!("no thread for a client: {error}");
            }
        }
    }

    fn answer(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(CLIENT_DEADLINE))?;
        stream.set_write_timeout(Some(CLIENT_DEADLINE))?;
        let mut reader = BufReader::new(stream.take(REQUEST_BYTES));
        let mut request = String::new();
        reader.read_line(&mut request)?;
        // The headers say nothing we need, but an answer before their end would reset the connection.
        let mut header = String::new();
        while reader.read_line(&mut header)? > 0 && !header.trim_end().is_empty() {
            header.clear();
        }
        let mut words = request.split_whitespace();
        let (status, body) = match (words.next(), words.next().and_then(|target| target.split('?').next())) {
            (Some("GET" | "HEAD"), Some("/healthz")) if self.is_ready() => {
                ("200 OK", "{\"ready\":true}\n".to_owned())
            }
            (Some("GET" | "HEAD"), Some("/healthz")) => {
                ("503 Service Unavailable", "{\"ready\":false}\n".to_owned())
            }
            (Some("GET" | "HEAD"), Some("/")) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
                ("200 OK", self.describe())
            }
            (Some("GET" | "HEAD"), Some(_)) => ("404 Not Found", "{\"error\":\"not found\"}\n".to_owned()),
            (Some(_), Some(_)) => ("405 Method Not Allowed", "{\"error\":\"GET only\"}\n".to_owned()),
            (None, _) | (_, None) => ("400 Bad Request", "{\"error\":\"not HTTP\"}\n".to_owned()),
        };
        let length = body.len();
        let body = if request.starts_with("HEAD ") { "" } else { body.as_str() };
        let mut writer = stream;
        write!(
            writer,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        writer.flush()
    }

    fn describe(&self) -> String {
        let list = |items: &[&str]| items.iter().map(|item| json_string(item)).collect::<Vec<_>>().join(",");
        let devices: Vec<&str> = self.gpus.devices.iter().map(String::as_str).collect();
        format!(
            "{{\"hostname\":{},\"gpus\":{{\"uuids\":[{}],\"devices\":[{}]}},\"requests\":{},\"uptime_seconds\":{},\"ready\":{}}}\n",
            json_string(&self.hostname),
            list(&self.gpus.uuids()),
            list(&devices),
            self.requests.load(Ordering::Relaxed),
            self.started.elapsed().as_secs(),
            self.is_ready(),
        )
    }
}

/// Both address families where there is IPv6, IPv4 alone where there is none.
fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))))
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
