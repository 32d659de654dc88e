//! The sessions of an edge, by a number that stays theirs.
//!
//! Each lies by itself: a table that grows would move all of them at once, and keep the room of the old one for a while.

use std::ops::{Index, IndexMut};

use slab::Slab;

use super::Slot;

/// Sessions by their number.
#[derive(Default)]
pub(super) struct Slots(Slab<Box<Slot>>);

impl Slots {
    /// Puts one in; gives back its number.
    pub fn insert(&mut self, slot: Slot) -> u32 {
        self.0.insert(Box::new(slot)) as u32
    }

    /// Takes one out that is there.
    pub fn remove(&mut self, at: usize) -> Slot {
        *self.0.remove(at)
    }

    /// The one of this number.
    pub fn get(&self, at: usize) -> Option<&Slot> {
        self.0.get(at).map(|slot| &**slot)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut Slot> {
        self.0.get_mut(at).map(|slot| &mut **slot)
    }

    /// Whether there is one of this number.
    pub fn contains(&self, at: usize) -> bool {
        self.0.contains(at)
    }

    /// The numbers of all.
    pub fn numbers(&self) -> Vec<u32> {
        self.0.iter().map(|(at, _)| at as u32).collect()
    }

    /// All numbers are below this.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    fn index(&self, at: usize) -> &Slot {
        &self.0[at]
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, at: usize) -> &mut Slot {
        &mut self.0[at]
    }
}
