//! FILL: the lines of the dataset.
//!
//! A line is the ChaCha8 block function (permutation and feed-forward) applied `h` times to
//! `(constants, key, index)`, so recomputing one costs `h` block functions while reading it costs one access to
//! memory. The code is generic over the number of lanes: one lane for a single line, [`LANES`] at a time for
//! fills and replays, in a form that compilers turn into vector instructions.

use crate::digest::Digest;

/// Lines computed side by side.
pub const LANES: usize = 8;

/// Runs `work` compiled for the widest vector instructions of this CPU. What it calls takes part in that only if
/// it is inlined, hence the attributes below, and on the closures that are passed in.
pub(crate) fn vectorized<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// One 64-byte line as sixteen little-endian words.
pub type Line = [u32; 16];

/// `lane[word][l]` is a word of line `l`.
pub type LineLanes<const N: usize> = [[u32; N]; 16];

const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The key of a session's dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineKey([u32; 8]);

impl LineKey {
    pub(crate) fn new(digest: &Digest) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(digest.0.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(words)
    }

    /// The line with this index.
    #[must_use]
    pub fn line(&self, index: u64, rounds: u32) -> Line {
        let [line] = transpose(&self.lanes([index], rounds));
        line
    }

    /// `N` lines, computed together.
    #[must_use]
    #[inline(always)]
    pub fn lanes<const N: usize>(&self, indexes: [u64; N], rounds: u32) -> LineLanes<N> {
        let mut state = [[0; N]; 16];
        for (word, constant) in state.iter_mut().zip(CONSTANTS.iter().chain(&self.0)) {
            *word = [*constant; N];
        }
        for ((low, high), index) in lane_pair(&mut state).zip(indexes) {
            *low = index as u32;
            *high = (index >> 32) as u32;
        }
        for _ in 0..rounds {
            block(&mut state);
        }
        state
    }

    /// Calls `sink` with `count` consecutive lines in order.
    #[inline(always)]
    pub fn for_each(&self, first: u64, count: u64, rounds: u32, mut sink: impl FnMut(&Line)) {
        let mut done = 0;
        while done < count {
            let indexes = std::array::from_fn(|lane| first.wrapping_add(done).wrapping_add(lane as u64));
            let lines: [Line; LANES] = transpose(&self.lanes(indexes, rounds));
            let left = usize::try_from(count - done).unwrap_or(LANES).min(LANES);
            lines.iter().take(left).for_each(&mut sink);
            done += left as u64;
        }
    }
}

/// The words 12 and 13 (index, low and high half) of every lane.
#[inline(always)]
fn lane_pair<const N: usize>(state: &mut LineLanes<N>) -> impl Iterator<Item = (&mut u32, &mut u32)> {
    let [.., low, high, _, _] = state;
    low.iter_mut().zip(high.iter_mut())
}

/// From words of lanes to lines.
#[must_use]
#[inline(always)]
pub fn transpose<const N: usize>(lanes: &LineLanes<N>) -> [Line; N] {
    std::array::from_fn(|lane| std::array::from_fn(|word| lanes[word][lane]))
}

/// The bytes of a line.
#[must_use]
#[inline(always)]
pub fn line_bytes(line: &Line) -> [u8; 64] {
    let mut out = [0; 64];
    for (bytes, word) in out.chunks_exact_mut(4).zip(line) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// The quarter round of RFC 8439 §2.1 on the four named words. One loop over the lanes with all operations in its
/// body: compilers turn it into vector code, which they fail to do with one small loop per operation.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "four arrays are read and written at the same lane")]
fn quarter<const N: usize>(x: &mut LineLanes<N>, ia: usize, ib: usize, ic: usize, id: usize) {
    for lane in 0..N {
        let (mut a, mut b, mut c, mut d) = (x[ia][lane], x[ib][lane], x[ic][lane], x[id][lane]);
        a = a.wrapping_add(b);
        d = (d ^ a).rotate_left(16);
        c = c.wrapping_add(d);
        b = (b ^ c).rotate_left(12);
        a = a.wrapping_add(b);
        d = (d ^ a).rotate_left(8);
        c = c.wrapping_add(d);
        b = (b ^ c).rotate_left(7);
        (x[ia][lane], x[ib][lane], x[ic][lane], x[id][lane]) = (a, b, c, d);
    }
}

/// Eight rounds and the feed-forward.
#[inline(always)]
fn block<const N: usize>(x: &mut LineLanes<N>) {
    let before = *x;
    for _ in 0..4 {
        quarter(x, 0, 4, 8, 12);
        quarter(x, 1, 5, 9, 13);
        quarter(x, 2, 6, 10, 14);
        quarter(x, 3, 7, 11, 15);
        quarter(x, 0, 5, 10, 15);
        quarter(x, 1, 6, 11, 12);
        quarter(x, 2, 7, 8, 13);
        quarter(x, 3, 4, 9, 14);
    }
    for (words, earlier) in x.iter_mut().zip(&before) {
        for (word, earlier) in words.iter_mut().zip(earlier) {
            *word = word.wrapping_add(*earlier);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    #[test]
    fn one_round_is_the_chacha8_block_function_of_another_implementation() {
        let seed = Digest(std::array::from_fn(|i| i as u8 * 7));
        let key = LineKey::new(&seed);
        for index in [0, 1, 77, (1 << 33) + 5] {
            let mut reference = ChaCha8Rng::from_seed(seed.0);
            reference.set_word_pos(u128::from(index) * 16);
            let mut bytes = [0; 64];
            reference.fill_bytes(&mut bytes);
            assert_eq!(line_bytes(&key.line(index, 1)), bytes, "line {index}");
        }
    }

    #[test]
    fn eight_lanes_give_the_same_lines_as_one() {
        let key = LineKey::new(&Digest([3; 32]));
        let indexes = [0, 5, u64::MAX, 1 << 40, 6, 7, 8, 1];
        let together: [Line; LANES] = transpose(&key.lanes(indexes, 4));
        for (line, index) in together.iter().zip(indexes) {
            assert_eq!(*line, key.line(index, 4));
        }
        let mut seen = Vec::new();
        key.for_each(3, 11, 2, |line| seen.push(*line));
        assert_eq!(seen, (3..14).map(|index| key.line(index, 2)).collect::<Vec<_>>());
    }
}
