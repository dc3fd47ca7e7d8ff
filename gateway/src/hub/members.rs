//! Who belongs to a target, in order: first those that are given what comes, then those that are still catching up.
//!
//! Most targets have a few members, who are found by looking at each. One has all connections of the node, and some
//! groups have thousands: a long list has an index, so that nobody waits longer for being one of many.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use hashbrown::HashTable;

use crate::conn::Conn;

/// More are not looked through one by one. A look at so many pointers costs about as much as one into the index.
const FEW: usize = 64;

/// As large as a plain list and its count: what only long lists need is behind a pointer.
#[derive(Debug)]
pub(super) enum Members<T = Conn> {
    Few(List<T>),
    Many(Box<Many<T>>),
}

#[derive(Debug)]
pub(super) struct List<T> {
    order: Vec<Arc<T>>,
    /// How many, from the front, are live.
    live: usize,
}

#[derive(Debug)]
pub(super) struct Many<T> {
    list: List<T>,
    places: Places,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self::Few(List {
            order: Vec::new(),
            live: 0,
        })
    }
}

impl<T> Members<T> {
    /// Who is given what comes.
    pub fn live(&self) -> &[Arc<T>] {
        let list = self.list();
        &list.order[..list.live]
    }

    /// Those who are still catching up included.
    pub fn all(&self) -> &[Arc<T>] {
        &self.list().order
    }

    pub fn all_live(&self) -> bool {
        let list = self.list();
        list.live == list.order.len()
    }

    pub fn contains(&self, member: &Arc<T>) -> bool {
        self.place(member).is_some()
    }

    pub fn is_catching_up(&self, member: &Arc<T>) -> bool {
        self.place(member).is_some_and(|place| place >= self.list().live)
    }

    /// Adds one who is still to catch up. False where it is a member already.
    pub fn add(&mut self, member: &Arc<T>) -> bool {
        if self.contains(member) {
            return false;
        }
        let (list, places) = self.parts();
        if list.order.is_empty() {
            // Most targets have one: the first growth would make room for four.
            list.order.reserve_exact(1);
        }
        list.order.push(member.clone());
        if let Some(places) = places {
            places.insert(list.order.len() - 1, &list.order);
        } else if list.order.len() > FEW {
            self.grow();
        }
        true
    }

    /// One who was catching up goes live.
    pub fn go_live(&mut self, member: &Arc<T>) {
        let Some(place) = self.place(member) else { return };
        let (list, mut places) = self.parts();
        let first = list.live;
        if place < first {
            return;
        }
        list.live += 1;
        if place == first {
            return;
        }
        if let Some(places) = &mut places {
            places.remove(member, place);
            places.moved(&list.order[first], first, place);
        }
        list.order.swap(first, place);
        if let Some(places) = places {
            places.insert(first, &list.order);
        }
    }

    pub fn remove(&mut self, member: &Arc<T>) {
        let Some(mut hole) = self.place(member) else { return };
        let (list, mut places) = self.parts();
        if let Some(places) = &mut places {
            places.remove(member, hole);
        }
        // The last of the live fills its place, and the last of all that one's.
        let mut fill = |list: &mut List<T>, from: usize, to: usize| {
            if let Some(places) = &mut places
                && from != to
            {
                places.moved(&list.order[from], from, to);
            }
            list.order.swap(from, to);
        };
        if hole < list.live {
            list.live -= 1;
            let last = list.live;
            fill(list, last, hole);
            hole = last;
        }
        let last = list.order.len() - 1;
        fill(list, last, hole);
        list.order.pop();
        self.shrink();
    }

    fn list(&self) -> &List<T> {
        match self {
            Self::Few(list) => list,
            Self::Many(many) => &many.list,
        }
    }

    fn parts(&mut self) -> (&mut List<T>, Option<&mut Places>) {
        match self {
            Self::Few(list) => (list, None),
            Self::Many(many) => (&mut many.list, Some(&mut many.places)),
        }
    }

    fn place(&self, member: &Arc<T>) -> Option<usize> {
        match self {
            Self::Few(list) => list.order.iter().position(|other| Arc::ptr_eq(other, member)),
            Self::Many(many) => many.places.find(member, &many.list.order),
        }
    }

    fn grow(&mut self) {
        let Self::Few(list) = std::mem::take(self) else { return };
        let places = Places::new(&list.order);
        *self = Self::Many(Box::new(Many { list, places }));
    }

    /// What was large once must not stay so in memory.
    fn shrink(&mut self) {
        let (list, places) = self.parts();
        let (count, room) = (list.order.len(), list.order.capacity());
        if room > FEW && count < room / 4 {
            list.order.shrink_to(count * 2);
            if let Some(places) = places {
                places.shrink_to(count * 2, &list.order);
            }
        }
        // Well below where it began, or one who comes and goes would have it made anew each time.
        if count < FEW / 2 && matches!(self, Self::Many(_)) {
            match std::mem::take(self) {
                Self::Few(list) => *self = Self::Few(list),
                Self::Many(many) => *self = Self::Few(many.list),
            }
        }
    }
}

/// The place of each member in the list. Found by its address, of which there is no copy here: every connection of the
/// node stands in such an index, and costs it four bytes and a bit.
#[derive(Debug)]
struct Places(HashTable<u32>);

impl Places {
    fn new<T>(order: &[Arc<T>]) -> Self {
        let mut places = Self(HashTable::with_capacity(order.len()));
        for at in 0..order.len() {
            places.insert(at, order);
        }
        places
    }

    fn find<T>(&self, member: &Arc<T>, order: &[Arc<T>]) -> Option<usize> {
        let is = |at: &u32| Arc::ptr_eq(&order[*at as usize], member);
        self.0.find(hash(member), is).map(|at| *at as usize)
    }

    /// `order[at]` is new.
    fn insert<T>(&mut self, at: usize, order: &[Arc<T>]) {
        let again = |at: &u32| hash(&order[*at as usize]);
        self.0.insert_unique(hash(&order[at]), short(at), again);
    }

    fn remove<T>(&mut self, member: &Arc<T>, at: usize) {
        if let Ok(found) = self.0.find_entry(hash(member), |place| *place == short(at)) {
            found.remove();
        }
    }

    /// `to` must be nobody's.
    fn moved<T>(&mut self, member: &Arc<T>, from: usize, to: usize) {
        if let Some(place) = self.0.find_mut(hash(member), |place| *place == short(from)) {
            *place = short(to);
        }
    }

    fn shrink_to<T>(&mut self, room: usize, order: &[Arc<T>]) {
        self.0.shrink_to(room, |at| hash(&order[*at as usize]));
    }
}

/// A list of more than 2³² pointers would fill 32 GiB; sockets run out long before.
fn short(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Nobody outside chooses addresses, so the hash needs no secret.
fn hash<T>(member: &Arc<T>) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(Arc::as_ptr(member))
}

#[cfg(test)]
mod tests;
