//! Many seeds, and what is left of a failing one when everything that does not matter is taken away.

use std::collections::VecDeque;

use crate::invariants::Broken;
use crate::panics::watch;
use crate::plan::{Plan, Scale};
use crate::world::World;

/// What a run ended with.
#[derive(Debug)]
pub struct Run {
    /// What did not hold, if anything.
    pub broken: Option<Broken>,
    /// Events that cores took.
    pub steps: u64,
    /// The trace, if it was wanted.
    pub trace: VecDeque<String>,
}

/// Switches for runs that are meant to fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// The orchestrator's shell lets answers out before their commit.
    pub answers_before_commit: bool,
}

/// Time in which a run of so many steps fits.
pub fn scale(steps: u64) -> Scale {
    Scale { steps, chaos: steps.saturating_mul(60).max(20_000), calm: 110_000 }
}

/// Runs a plan.
pub fn run(plan: &Plan, scale: Scale, planted: Planted, tracing: bool) -> Run {
    let mut world = World::new(plan.clone(), scale, tracing);
    world.orchestrator.careless = planted.answers_before_commit;
    let broken = watch(|| world.run()).err();
    Run { broken, steps: world.steps + world.public_steps, trace: world.trace }
}

/// Leaves deeds out of a failing plan as long as the same invariant still breaks.
pub fn shrink(plan: &Plan, scale: Scale, planted: Planted, broken: &Broken) -> Plan {
    let fails = |plan: &Plan| {
        run(plan, scale, planted, false).broken.is_some_and(|seen| seen.invariant == broken.invariant)
    };
    let mut least = plan.clone();
    let mut piece = least.deeds.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        while from < least.deeds.len() {
            let mut fewer = least.clone();
            let until = (from + piece).min(fewer.deeds.len());
            fewer.deeds.drain(from..until);
            if fails(&fewer) {
                least = fewer;
            } else {
                from = until;
            }
        }
        piece /= 2;
    }
    least
}
