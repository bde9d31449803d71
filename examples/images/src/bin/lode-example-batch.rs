//! A task that computes something real and says so: the primes below a limit, counted and summed.
//!
//! ```text
//! --limit N          count the primes below N (EXAMPLE_LIMIT; 200000000, at most 10^12)
//! --threads N        sieve with N threads (EXAMPLE_THREADS; as many as the CPUs granted)
//! --sleep SECONDS    before the result wait this long, with a line every second (EXAMPLE_SLEEP)
//! --allocate-mib N   hold N MiB of memory, every page touched (EXAMPLE_ALLOCATE_MIB)
//! --fail CODE        end with this exit code after the result (EXAMPLE_FAIL)
//! --ignore-term      disregard SIGTERM
//! --print-env        print the environment, sorted
//! ```
//!
//! Ends with `RESULT primes_below=N count=… sum=… gpus=…` and exit code 0. Told to stop, it prints `PARTIAL …` and ends
//! with 143, as a program that SIGTERM ends does. Wrong arguments end it with 64.

use lode_example_images::{
    arguments::{Arguments, environment},
    gpus::Gpus,
    primes::{self, Outcome},
    stop::Stop,
};
use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

const USAGE_ERROR: u8 = 64;
/// 128 + SIGTERM.
const STOPPED: u8 = 143;
const REPORT_EVERY: Duration = Duration::from_secs(1);
const LARGEST_LIMIT: u64 = 1_000_000_000_000;

#[derive(Debug)]
struct Options {
    limit: u64,
    threads: usize,
    sleep: Duration,
    allocate_mib: usize,
    fail: u8,
    ignore_term: bool,
    print_env: bool,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut arguments = Arguments::of_process()?;
        let granted = thread::available_parallelism().map_or(1, usize::from);
        let options = Self {
            limit: arguments.value("limit", "EXAMPLE_LIMIT", 200_000_000)?,
            threads: arguments.value("threads", "EXAMPLE_THREADS", granted)?,
            sleep: Duration::from_secs(arguments.value("sleep", "EXAMPLE_SLEEP", 0)?),
            allocate_mib: arguments.value("allocate-mib", "EXAMPLE_ALLOCATE_MIB", 0)?,
            fail: arguments.value("fail", "EXAMPLE_FAIL", 0)?,
            ignore_term: arguments.flag("ignore-term")?,
            print_env: arguments.flag("print-env")?,
        };
        arguments.finish()?;
        if options.limit > LARGEST_LIMIT {
            return Err(format!("--limit: {} is more than {LARGEST_LIMIT}", options.limit));
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let outcome = Options::read().and_then(|options| {
        let stop = Stop::on_signals(options.ignore_term)
            .map_err(|error| format!("listening for signals: {error}"))?;
        run(&options, &stop)
    });
    outcome.unwrap_or_else(|reason| {
        eprintln!("lode-example-batch: {reason}");
        ExitCode::from(USAGE_ERROR)
    })
}

fn run(options: &Options, stop: &Stop) -> Result<ExitCode, String> {
    let started = Instant::now();
    let gpus = Gpus::detect().map_err(|error| format!("looking for GPUs in /dev: {error}"))?;
    println!("lode-example-batch: primes below {} on {} threads", options.limit, options.threads);
    println!("{}", gpus.describe());
    if options.print_env {
        for (name, value) in environment() {
            println!("env {name}={value}");
        }
    }
    let held = allocate(options.allocate_mib);

    let outcome = primes::count(options.limit, options.threads, stop, REPORT_EVERY, |examined| {
        let percent = examined.saturating_mul(100) / options.limit.max(1);
        println!("progress {percent:3} % ({examined} of {} numbers)", options.limit);
    });
    let tally = match outcome {
        Outcome::Complete(tally) => tally,
        Outcome::Stopped { tally, examined } => {
            println!(
                "PARTIAL examined={examined} of={} count={} sum={}",
                options.limit, tally.count, tally.sum
            );
            return Ok(ExitCode::from(STOPPED));
        }
    };
    let result = format!(
        "primes_below={} count={} sum={} gpus={}",
        options.limit,
        tally.count,
        tally.sum,
        gpus.uuids().join(",")
    );
    if wait(options.sleep, stop) {
        println!("PARTIAL {result} (computed, then told to stop while waiting)");
        return Ok(ExitCode::from(STOPPED));
    }
    drop(held);
    println!("RESULT {result} seconds={:.1}", started.elapsed().as_secs_f64());
    Ok(ExitCode::from(options.fail))
}

/// Takes memory and writes to every page: memory that is never written is never given.
fn allocate(mib: usize) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for block in 1..=mib {
        blocks.push(std::hint::black_box(vec![0xa5_u8; 1 << 20]));
        if block % 64 == 0 || block == mib {
            println!("holding {block} MiB of memory");
        }
    }
    blocks
}

/// Waits with a line every second; says whether to stop.
fn wait(duration: Duration, stop: &Stop) -> bool {
    let deadline = Instant::now() + duration;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return stop.is_set();
        }
        println!("waiting {} s more", left.as_secs_f64().ceil());
        if stop.sleep(left.min(REPORT_EVERY)) {
            return true;
        }
    }
}
