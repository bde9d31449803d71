//! Addresses from which peers with standing have come before: when there is no room, they give way last.
//!
//! Kept in memory and bounded: of more addresses the one that was not seen for longest is forgotten, and a program that
//! starts anew knows nobody yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use lode_protocol::origin::Origin;

/// The addresses that are remembered.
#[derive(Debug)]
pub(crate) struct Regulars {
    most: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    visits: u64,
    last: HashMap<Origin, u64>,
    by_age: BTreeMap<u64, Origin>,
}

impl Regulars {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// Somebody with standing is there.
    pub(crate) fn remember(&self, place: Origin) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.visits += 1;
        let visit = known.visits;
        if let Some(before) = known.last.insert(place, visit) {
            known.by_age.remove(&before);
        }
        known.by_age.insert(visit, place);
        while known.last.len() > self.most {
            let Some((_, oldest)) = known.by_age.pop_first() else { break };
            known.last.remove(&oldest);
        }
    }

    pub(crate) fn knows(&self, place: Origin) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).last.contains_key(&place)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn place(number: u8) -> Origin {
        Origin::from(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
    }

    #[test]
    fn the_address_not_seen_for_longest_is_forgotten() {
        let regulars = Regulars::new(2);
        for number in [1, 2, 1, 3] {
            regulars.remember(place(number));
        }
        let known: Vec<u8> = (0..5).filter(|number| regulars.knows(place(*number))).collect();
        assert_eq!(known, [1, 3]);
        let known = regulars.known.lock().unwrap();
        assert_eq!((known.last.len(), known.by_age.len()), (2, 2));
    }

    #[test]
    fn without_memory_nobody_is_known() {
        let regulars = Regulars::new(0);
        regulars.remember(place(1));
        assert!(!regulars.knows(place(1)));
    }
}
