//! WALK: dependent random reads through the dataset.
//!
//! One step of a walker with state `(a, b)`, where `φ = 0x9e3779b97f4a7c15`:
//! 1. `a += (walker ≪ 32 | global step) · φ`: binds the step to its walker and place;
//! 2. read line `mulhi64(a, lines)`;
//! 3. for each of its eight 64-bit words w: `a = rotl((a ^ w)·φ, 29)`, `b = (b + a) ^ rotl(w, 17)`;
//! 4. `a ^= rotl(b, 32)`.
//!
//! Without 1 a prover could compute one honest chain and commit it for every walker: all but the first interval
//! would replay correctly. The state at the end of each interval is recorded; the start follows from the session
//! and the walker, so it is not sent.

use crate::digest::derive;
use crate::lines::{LANES, Line, LineKey, transpose};
use crate::params::Params;
use crate::seed::SessionSeed;

const PHI: u64 = 0x9e37_79b9_7f4a_7c15;

/// The state of a walker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkState {
    pub a: u64,
    pub b: u64,
}

impl WalkState {
    /// Bytes of an encoded state.
    pub const BYTES: usize = 16;

    /// Where a walker starts.
    #[must_use]
    pub fn start(seed: &SessionSeed, walker: u64) -> Self {
        let digest = derive("gpu-proof v1 walk", &[seed.0.as_bytes(), &walker.to_le_bytes()]);
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&digest.0[..Self::BYTES]);
        Self::from_bytes(bytes)
    }

    /// `a` then `b`, little endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let (a, b) = out.split_at_mut(8);
        a.copy_from_slice(&self.a.to_le_bytes());
        b.copy_from_slice(&self.b.to_le_bytes());
        out
    }

    /// The inverse of [`Self::to_bytes`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let value = u128::from_le_bytes(bytes);
        Self { a: value as u64, b: (value >> 64) as u64 }
    }

    /// Parts 1 and 2 of a step: bind it, and say which line it reads.
    #[inline(always)]
    fn enter(&mut self, binding: u64, lines: u64) -> u64 {
        self.a = self.a.wrapping_add(binding.wrapping_mul(PHI));
        ((u128::from(self.a) * u128::from(lines)) >> 64) as u64
    }

    /// Parts 3 and 4.
    #[inline(always)]
    fn absorb(&mut self, line: &Line) {
        let (mut a, mut b) = (self.a, self.b);
        for pair in line.chunks_exact(2) {
            let word = u64::from(pair[0]) | u64::from(pair[1]) << 32;
            a = (a ^ word).wrapping_mul(PHI).rotate_left(29);
            b = b.wrapping_add(a) ^ word.rotate_left(17);
        }
        *self = Self { a: a ^ b.rotate_left(32), b };
    }
}

/// The number that binds a step. `walker < 2^24` and `global_step < 2^32` by [`Params::check`].
#[inline(always)]
const fn binding(walker: u64, global_step: u64) -> u64 {
    walker << 32 | global_step
}

/// Walks one walker through all its intervals, reading lines with `read`; the end state of each interval.
pub fn walk(
    params: &Params,
    seed: &SessionSeed,
    walker: u64,
    mut read: impl FnMut(u64) -> Line,
) -> Vec<WalkState> {
    let lines = params.lines();
    let mut state = WalkState::start(seed, walker);
    let mut global_step = 0;
    (0..params.intervals)
        .map(|_| {
            for _ in 0..params.steps {
                let address = state.enter(binding(walker, global_step), lines);
                state.absorb(&read(address));
                global_step += 1;
            }
            state
        })
        .collect()
}

/// One interval to be replayed from a known state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    pub walker: u64,
    pub interval: u32,
    /// The state before the interval.
    pub before: WalkState,
}

/// The states after each of `intervals`, with recomputed lines, [`LANES`] walkers side by side.
#[must_use]
#[inline(always)]
pub fn replay(params: &Params, key: &LineKey, intervals: &[Interval]) -> Vec<WalkState> {
    replay_bound(params, key, intervals, binding)
}

#[inline(always)]
fn replay_bound(
    params: &Params,
    key: &LineKey,
    intervals: &[Interval],
    bind: impl Fn(u64, u64) -> u64,
) -> Vec<WalkState> {
    let lines = params.lines();
    let mut ends = Vec::with_capacity(intervals.len());
    for group in intervals.chunks(LANES) {
        // lanes beyond the group repeat a default interval; their results are dropped
        let mut lanes = [Interval::default(); LANES];
        for (lane, interval) in lanes.iter_mut().zip(group) {
            *lane = *interval;
        }
        let mut states = lanes.map(|lane| lane.before);
        for step in 0..u64::from(params.steps) {
            let mut addresses = [0; LANES];
            for ((address, state), lane) in addresses.iter_mut().zip(&mut states).zip(&lanes) {
                let global_step = u64::from(lane.interval) * u64::from(params.steps) + step;
                *address = state.enter(bind(lane.walker, global_step), lines);
            }
            let read: [Line; LANES] = transpose(&key.lanes(addresses, params.line_rounds));
            for (state, line) in states.iter_mut().zip(&read) {
                state.absorb(line);
            }
        }
        ends.extend(states.iter().take(group.len()));
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::tests::inputs;

    /// How many of walker 5's intervals replay correctly if its leaf holds walker 0's chain.
    fn copied_intervals_that_replay(bind: impl Fn(u64, u64) -> u64 + Copy) -> usize {
        let params = Params { walkers: 8, walk_openings: 8, ..Params::TINY };
        let seed = inputs().seed(&params);
        let key = seed.line_key();
        let mut chain = vec![WalkState::start(&seed, 0)];
        for interval in 0..params.intervals {
            let before = chain[interval as usize];
            chain.extend(replay_bound(&params, &key, &[Interval { walker: 0, interval, before }], bind));
        }
        (0..params.intervals)
            .filter(|&interval| {
                let before = match interval {
                    0 => WalkState::start(&seed, 5),
                    later => chain[later as usize],
                };
                let replayed = replay_bound(&params, &key, &[Interval { walker: 5, interval, before }], bind);
                replayed[0] == chain[interval as usize + 1]
            })
            .count()
    }

    #[test]
    fn one_honest_chain_copied_into_every_leaf_replays_nowhere() {
        assert_eq!(copied_intervals_that_replay(binding), 0);
    }

    #[test]
    fn without_the_binding_a_copied_chain_would_replay_in_all_but_the_first_interval() {
        // shows that the test above can fail, and what the binding is for
        assert_eq!(copied_intervals_that_replay(|_, _| 0), Params::TINY.intervals as usize - 1);
    }

    #[test]
    fn replaying_in_lanes_gives_the_states_of_the_walk() {
        let params = Params::TINY;
        let seed = inputs().seed(&params);
        let key = seed.line_key();
        let walks: Vec<_> =
            (0..11).map(|walker| walk(&params, &seed, walker, |i| key.line(i, params.line_rounds))).collect();
        let intervals: Vec<_> = (0..11)
            .map(|walker| Interval {
                walker,
                interval: 1 + walker as u32 % 7,
                before: walks[walker as usize][walker as usize % 7],
            })
            .collect();
        let ends = replay(&params, &key, &intervals);
        assert_eq!(ends.len(), 11);
        for (end, interval) in ends.iter().zip(&intervals) {
            assert_eq!(*end, walks[interval.walker as usize][interval.interval as usize]);
        }
    }

    #[test]
    fn states_survive_their_encoding() {
        let state = WalkState { a: 0x0102_0304_0506_0708, b: u64::MAX - 3 };
        assert_eq!(WalkState::from_bytes(state.to_bytes()), state);
        assert_eq!(state.to_bytes()[..8], state.a.to_le_bytes());
    }
}
