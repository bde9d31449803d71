//! A target's short run on the stable toolchain: its corpus, and what a fixed seed makes of it. The same every time.

use std::path::PathBuf;

/// Longest input that is made.
const LONGEST: usize = 8 << 10;
/// Changes to one input, at most.
const CHANGES: usize = 4;
/// Values that lengths, numbers and texts trip over.
const NASTY: &[&[u8]] = &[
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff; 4],
    &[0x80, 0, 0, 0],
    &[0xff; 8],
    &[0x9f],
    &[0xbf],
    &[0xc3],
    b"\r\n",
    b"\"",
    b"..",
    b"//",
    b"%2e",
    b"\xf0\x9f",
    b"-1",
    b"18446744073709551616",
];

/// Xorshift: the inputs have to be the same on every machine, not to be random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (sides.max(1) as u64)).unwrap_or_default()
    }
}

/// The committed inputs of a target, in the order of their names.
///
/// # Panics
/// If there are none.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("fuzz/corpus has a folder for every target")
        .map(|entry| entry.expect("a folder that can be read").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus of {name} is empty");
    paths.iter().map(|path| std::fs::read(path).expect("a file that can be read")).collect()
}

/// Runs a target on its corpus, and on so many inputs that are made of it.
///
/// # Panics
/// If the target found a defect, or has no corpus.
pub fn short_run(name: &str, cases: usize, run: impl Fn(&[u8])) {
    let corpus = corpus(name);
    corpus.iter().for_each(|input| run(input));
    let mut dice = Dice(name.bytes().fold(0x9e37_79b9_7f4a_7c15, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).max(1)
    }));
    for _ in 0..cases {
        let input = made(&corpus, &mut dice);
        run(&input);
    }
}

fn made(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let pick = |dice: &mut Dice| corpus.get(dice.roll(corpus.len())).cloned().unwrap_or_default();
    let mut input = pick(dice);
    for _ in 0..=dice.roll(CHANGES) {
        let at = dice.roll(input.len() + 1);
        let to = at + dice.roll(input.len() + 1 - at);
        match dice.roll(7) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << dice.roll(8);
                }
            }
            1 => input.insert(at, u8::try_from(dice.roll(256)).unwrap_or_default()),
            2 => drop(input.drain(at..to)),
            3 => {
                let copy = input.get(at..to).unwrap_or_default().to_vec();
                input.splice(at..at, copy);
            }
            4 => input.truncate(at),
            5 => {
                let nasty = NASTY.get(dice.roll(NASTY.len())).copied().unwrap_or_default();
                let over = (at + nasty.len()).min(input.len());
                // Over what is there, or between.
                let end = if dice.roll(2) == 0 { over } else { at };
                input.splice(at..end, nasty.iter().copied());
            }
            _ => {
                let other = pick(dice);
                let from = dice.roll(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(other.get(from..).unwrap_or_default());
            }
        }
        input.truncate(LONGEST);
    }
    input
}
