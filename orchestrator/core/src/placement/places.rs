//! An ordered set of places: where nodes stand by their free capacity. Blocks of neighbours know the most memory and
//! disk that is free in them, so that what has too little is passed without being looked at.

use super::effort::Effort;
use super::kinds::KindId;

/// Most places of a block.
const BLOCK: usize = 128;

/// Names a listed node; smaller than its id, and free again when it is listed no more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Handle(pub(super) u32);

/// Where a node stands. The order is that of the fields; the node makes it unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) kind: KindId,
    pub(super) free_gpus: u32,
    pub(super) free_cpus: u32,
    pub(super) node: Handle,
    pub(super) room: Room,
}

impl Place {
    /// The first place of a kind with so much free.
    pub(super) fn first(kind: KindId, free_gpus: u32, free_cpus: u32) -> Self {
        Place { kind, free_gpus, free_cpus, node: Handle(0), room: Room { memory: 0, disk: 0 } }
    }
}

/// Free memory and disk in MiB, rounded down: whoever needs more for sure is turned away, the rest is decided on the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Room {
    memory: u32,
    disk: u32,
}

impl Room {
    pub(super) fn of(memory: u64, disk: u64) -> Self {
        let mebibytes = |bytes: u64| u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        Room { memory: mebibytes(memory), disk: mebibytes(disk) }
    }

    fn may_hold(self, needs: Room) -> bool {
        self.memory >= needs.memory && self.disk >= needs.disk
    }

    fn most(self, other: Room) -> Room {
        Room { memory: self.memory.max(other.memory), disk: self.disk.max(other.disk) }
    }
}

/// Whether whoever looks has seen enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    Continue,
    Enough,
}

/// How a scan ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scan {
    /// Everything in the range was looked at.
    Done,
    /// Whoever looks has seen enough.
    Enough,
    /// No more effort: this place and those behind it were not looked at.
    Interrupted(Place),
}

/// Neighbours in the order; never empty.
#[derive(Clone, Debug)]
struct Block {
    last: Place,
    most: Room,
    places: Vec<Place>,
}

impl Block {
    fn of(places: Vec<Place>) -> Option<Block> {
        let last = *places.last()?;
        let most = places.iter().fold(last.room, |most, place| most.most(place.room));
        Some(Block { last, most, places })
    }
}

/// The set.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    blocks: Vec<Block>,
    len: usize,
}

impl Places {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn block_of(&self, place: &Place) -> usize {
        self.blocks.partition_point(|block| block.last < *place)
    }

    pub(super) fn insert(&mut self, place: Place) {
        let index = self.block_of(&place).min(self.blocks.len().saturating_sub(1));
        let Some(block) = self.blocks.get_mut(index) else {
            self.blocks.extend(Block::of(vec![place]));
            self.len = 1;
            return;
        };
        let Err(position) = block.places.binary_search(&place) else { return };
        block.places.insert(position, place);
        block.last = block.last.max(place);
        block.most = block.most.most(place.room);
        self.len += 1;
        if block.places.len() > BLOCK {
            let upper = Block::of(block.places.split_off(BLOCK / 2));
            let lower = Block::of(std::mem::take(&mut block.places));
            self.blocks.splice(index..=index, lower.into_iter().chain(upper));
        }
    }

    pub(super) fn remove(&mut self, place: &Place) {
        let index = self.block_of(place);
        let Some(block) = self.blocks.get_mut(index) else { return };
        let Ok(position) = block.places.binary_search(place) else { return };
        block.places.remove(position);
        self.len -= 1;
        let few = block.places.len() < BLOCK / 4;
        let kept = Block::of(std::mem::take(&mut block.places));
        self.blocks.splice(index..=index, kept);
        if few {
            self.join(index.saturating_sub(1));
        }
    }

    /// Makes one of two neighbours if that is no large one.
    fn join(&mut self, index: usize) {
        let Some([left, right]) = self.blocks.get_mut(index..index + 2) else { return };
        if left.places.len() + right.places.len() > BLOCK / 2 {
            return;
        }
        let mut places = std::mem::take(&mut left.places);
        places.append(&mut right.places);
        self.blocks.splice(index..index + 2, Block::of(places));
    }

    /// The first place that is not before `from`.
    pub(super) fn first_at(&self, from: &Place) -> Option<Place> {
        let block = self.blocks.get(self.block_of(from))?;
        block.places.get(block.places.partition_point(|place| place < from)).copied()
    }

    /// Shows the places from `from` on and before `end` that may have the room, in their order.
    pub(super) fn scan(
        &self,
        from: &Place,
        end: &Place,
        needs: Room,
        effort: &mut Effort,
        mut visit: impl FnMut(&Place, &mut Effort) -> Flow,
    ) -> Scan {
        let start = self.block_of(from);
        for (number, block) in self.blocks.iter().enumerate().skip(start) {
            let first = if number == start { block.places.partition_point(|place| place < from) } else { 0 };
            if !block.most.may_hold(needs) {
                if block.last >= *end {
                    return Scan::Done;
                }
                if effort.is_spent()
                    && let Some(place) = block.places.get(first)
                {
                    return Scan::Interrupted(*place);
                }
                effort.look();
                continue;
            }
            for place in block.places.get(first..).unwrap_or_default() {
                if place >= end {
                    return Scan::Done;
                }
                if effort.is_spent() {
                    return Scan::Interrupted(*place);
                }
                effort.look();
                if place.room.may_hold(needs) && visit(place, effort) == Flow::Enough {
                    return Scan::Enough;
                }
            }
        }
        Scan::Done
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        (0u32..3, 0u32..4, 0u32..4, 0u32..400, 0u64..5, 0u64..5).prop_map(
            |(kind, free_gpus, free_cpus, node, memory, disk)| Place {
                kind: KindId(kind),
                free_gpus,
                free_cpus,
                node: Handle(node),
                room: Room::of(memory << 20, disk << 20),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_scan_shows_what_a_plain_set_holds_and_goes_on_where_it_was_interrupted(
            ops in prop::collection::vec((place(), any::<bool>()), 1..1_500),
            (from, end, needs, portion) in (place(), place(), place(), 1u32..50),
        ) {
            let (mut places, mut plain) = (Places::default(), BTreeSet::new());
            for (place, insert) in ops {
                if insert {
                    places.insert(place);
                    plain.insert(place);
                } else {
                    // Something that is there, most often.
                    let victim = plain.range(place..).next().copied().unwrap_or(place);
                    places.remove(&victim);
                    plain.remove(&victim);
                }
            }
            prop_assert_eq!(places.len(), plain.len());
            prop_assert_eq!(places.first_at(&from), plain.range(from..).next().copied());
            let expected: Vec<Place> = plain
                .range(from..)
                .take_while(|place| **place < end)
                .filter(|place| place.room.may_hold(needs.room))
                .copied()
                .collect();
            let (mut seen, mut at) = (Vec::new(), from);
            loop {
                let mut effort = Effort::looks(portion);
                let scan = places.scan(&at, &end, needs.room, &mut effort, |place, _| {
                    seen.push(*place);
                    Flow::Continue
                });
                match scan {
                    Scan::Interrupted(next) => at = next,
                    Scan::Done => break,
                    Scan::Enough => prop_assert!(false, "nobody has seen enough"),
                }
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
