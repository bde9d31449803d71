//! `lode-sim`: the cores of all programs in a simulated world, seed by seed. Exit 1 if an invariant breaks.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use lode_sim::plan::Plan;
use lode_sim::search::{Planted, run, scale, shrink};

/// Runs the real cores of orchestrator, workers, directory and validators in a simulated world, once for each seed.
#[derive(Debug, Parser)]
#[command(name = "lode-sim", version)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// How many events orchestrator and workers take in each, about; directory and validators take some of their own
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// How many seeds at a time
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Print everything that happens (with one seed)
    #[arg(long)]
    trace: bool,
    /// Lines of the trace that a failure prints
    #[arg(long, default_value_t = 60)]
    tail: usize,
    /// Let answers out before their commit, to see that it is found
    #[arg(long, hide = true)]
    plant_answers_before_commit: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let planted = Planted { answers_before_commit: arguments.plant_answers_before_commit };
    let scale = scale(arguments.steps);
    let (next, steps) = (AtomicU64::new(arguments.first_seed), AtomicU64::new(0));
    let (end, failed) = (arguments.first_seed.saturating_add(arguments.seeds), AtomicBool::new(false));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    let plan = Plan::of(seed, scale);
                    let ended = run(&plan, scale, planted, arguments.trace);
                    steps.fetch_add(ended.steps, Ordering::Relaxed);
                    if arguments.trace {
                        print_all(&ended.trace);
                    }
                    let Some(broken) = ended.broken else { continue };
                    if failed.swap(true, Ordering::Relaxed) {
                        return;
                    }
                    eprintln!("seed {seed}: {}: {}", broken.invariant, broken.seen);
                    let least = shrink(&plan, scale, planted, &broken);
                    eprintln!("{} of {} deeds are enough:", least.deeds.len(), plan.deeds.len());
                    for (at, deed) in &least.deeds {
                        eprintln!("  {at:>8} ms  {deed}");
                    }
                    let again = run(&least, scale, planted, true);
                    eprintln!("the end of what happened:");
                    for line in again.trace.iter().rev().take(arguments.tail).rev() {
                        eprintln!("  {line}");
                    }
                    if let Some(broken) = again.broken {
                        eprintln!("  {}: {}", broken.invariant, broken.seen);
                    }
                    eprintln!("again: lode-sim --seeds 1 --first-seed {seed} --steps {}", arguments.steps);
                }
            });
        }
    });
    let took = begun.elapsed().as_secs_f64();
    let steps = steps.load(Ordering::Relaxed);
    let done = next.load(Ordering::Relaxed).min(end).saturating_sub(arguments.first_seed);
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let rate = steps as f64 / took;
    println!("{done} seeds, {steps} events in {took:.1} s: {rate:.0} events per second");
    if failed.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn print_all(trace: &std::collections::VecDeque<String>) {
    for line in trace {
        println!("{line}");
    }
}
