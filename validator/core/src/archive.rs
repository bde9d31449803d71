//! Files that this validator shows to whoever asks: evidence, and why it vetoed.

use lode_protocol::hash::{Digest, keccak256};

use super::effect::{Change, Effect};

/// Files that are kept; the oldest go first, but for those that somebody may still ask for.
const MOST_FILES: usize = 64;

/// Names of the files, oldest first, each with its running number.
#[derive(Debug)]
pub(super) struct Archive {
    files: Vec<(u64, Digest)>,
}

impl Archive {
    pub(super) fn load(files: Vec<(u64, Digest)>) -> Self {
        Self { files }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Keeps a file; it is named by its hash.
    pub(super) fn keep(&mut self, bytes: Vec<u8>, needed: &[Digest], effects: &mut Vec<Effect>) -> Digest {
        let hash = keccak256(&bytes);
        if self.files.iter().any(|(_, file)| *file == hash) {
            return hash;
        }
        let number = self.files.last().map_or(0, |(number, _)| number.saturating_add(1));
        effects.push(Effect::Save(Change::PutFile { number, hash, bytes }));
        self.files.push((number, hash));
        while self.files.len() > MOST_FILES {
            let free = |(_, file): &(u64, Digest)| *file != hash && !needed.contains(file);
            let Some(place) = self.files.iter().position(free) else { break };
            let (number, hash) = self.files.remove(place);
            effects.push(Effect::Save(Change::DeleteFile { number, hash }));
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_file_goes_first_unless_somebody_may_ask_for_it() {
        let mut archive = Archive::load(Vec::new());
        let mut effects = Vec::new();
        let needed = [archive.keep(vec![0], &[], &mut effects)];
        for byte in 1..=64_u8 {
            archive.keep(vec![byte], &needed, &mut effects);
        }
        let deleted: Vec<Digest> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Save(Change::DeleteFile { hash, .. }) => Some(*hash),
                _ => None,
            })
            .collect();
        assert_eq!(deleted, [keccak256(&[1])]);
        assert_eq!(archive.len(), 64);
        assert_eq!(archive.keep(vec![0], &needed, &mut effects), needed[0], "a file is kept once");
    }
}
