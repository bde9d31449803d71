//! State that marks itself: whoever gets something to change it, has marked it.
//!
//! [`Tracked`] is a map that remembers the keys it gave out for changing; [`Row`] is a durable value that remembers
//! whether it was given out. At the end of a step the marks are all that there is to go by ([`crate::scratch`]), and
//! nobody can forget to set one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, RangeBounds};

/// A map that knows which of its entries were touched since the marks were taken last.
#[derive(Clone, Debug)]
pub(crate) struct Tracked<K, V> {
    entries: BTreeMap<K, V>,
    touched: BTreeSet<K>,
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Tracked { entries: BTreeMap::new(), touched: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, V> Tracked<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// Marks the entry.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let value = self.entries.get_mut(key)?;
        self.touched.insert(*key);
        Some(value)
    }

    /// Marks an entry that is there.
    pub(crate) fn touch(&mut self, key: &K) {
        if self.entries.contains_key(key) {
            self.touched.insert(*key);
        }
    }

    /// Without a mark: for parts of a value that nothing is derived from. Each value's own file says which those are.
    pub(super) fn unmarked(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.touched.insert(key);
        self.entries.insert(key, value);
    }

    /// Marks the entry, which is there then.
    pub(crate) fn get_or_insert(&mut self, key: K, value: V) -> &mut V {
        self.touched.insert(key);
        self.entries.entry(key).or_insert(value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.entries.remove(key)?;
        self.touched.insert(*key);
        Some(value)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values()
    }

    pub(crate) fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.range(range)
    }

    /// What was touched, removed or put in.
    pub(crate) fn touched(&self) -> &BTreeSet<K> {
        &self.touched
    }

    /// The same, and from now on nothing is.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<K> {
        std::mem::take(&mut self.touched)
    }
}

impl<'a, K, V> IntoIterator for &'a Tracked<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::collections::btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

#[cfg(test)]
impl<K: Ord, V> std::ops::Index<&K> for Tracked<K, V> {
    type Output = V;

    fn index(&self, key: &K) -> &V {
        &self.entries[key]
    }
}

/// Something that is a row of the store, as it is encoded there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row<T> {
    value: T,
    changed: bool,
}

impl<T> Row<T> {
    /// One that the store does not have.
    pub(crate) fn new(value: T) -> Self {
        Row { value, changed: true }
    }

    /// One that was read from the store.
    pub(crate) fn stored(value: T) -> Self {
        Row { value, changed: false }
    }

    /// To change it.
    pub(super) fn edit(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }

    /// Whether it must be written; it counts as written then.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl<T> Deref for Row<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_given_out_for_changing_is_marked_and_nothing_else() {
        let mut map: Tracked<u8, u8> = Tracked::default();
        map.insert(1, 1);
        map.insert(2, 2);
        map.insert(3, 3);
        assert_eq!(map.take_touched(), BTreeSet::from([1, 2, 3]));
        assert_eq!(map.get(&1), Some(&1));
        assert_eq!(map.get_mut(&9), None);
        assert_eq!(map.remove(&9), None);
        map.get_mut(&2);
        map.remove(&3);
        assert_eq!(map.touched(), &BTreeSet::from([2, 3]));
        let mut row = Row::stored(1);
        assert!(!row.take_changed());
        *row.edit() += 1;
        assert_eq!((*row, row.take_changed(), row.take_changed()), (2, true, false));
    }
}
