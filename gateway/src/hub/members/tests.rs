use proptest::{prelude::*, sample::Index};

use super::*;

/// What it should be: two lists.
#[derive(Default)]
struct Model {
    live: Vec<Arc<u32>>,
    behind: Vec<Arc<u32>>,
}

impl Model {
    fn go_live(&mut self, member: &Arc<u32>) {
        if let Some(at) = self.behind.iter().position(|other| Arc::ptr_eq(other, member)) {
            self.live.push(self.behind.swap_remove(at));
        }
    }

    fn remove(&mut self, member: &Arc<u32>) {
        self.live.retain(|other| !Arc::ptr_eq(other, member));
        self.behind.retain(|other| !Arc::ptr_eq(other, member));
    }
}

fn sorted(members: &[Arc<u32>]) -> Vec<u32> {
    let mut numbers: Vec<u32> = members.iter().map(|member| **member).collect();
    numbers.sort_unstable();
    numbers
}

fn agree(members: &Members<u32>, model: &Model, everybody: &[Arc<u32>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(sorted(members.live()), sorted(&model.live));
    prop_assert_eq!(members.all_live(), model.behind.is_empty());
    prop_assert_eq!(members.all().len(), model.live.len() + model.behind.len());
    let behind = &members.all()[members.live().len()..];
    prop_assert_eq!(sorted(behind), sorted(&model.behind));
    for member in everybody {
        let is_behind = model.behind.iter().any(|other| Arc::ptr_eq(other, member));
        let is_live = model.live.iter().any(|other| Arc::ptr_eq(other, member));
        prop_assert_eq!(members.is_catching_up(member), is_behind);
        prop_assert_eq!(members.contains(member), is_live || is_behind);
    }
    if let Members::Many(many) = members {
        prop_assert_eq!(many.places.0.len(), members.all().len());
        prop_assert!(members.all().len() >= FEW / 2);
    } else {
        prop_assert!(members.all().len() <= FEW);
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Act {
    Add(Index),
    GoLive(Index),
    Remove(Index),
    /// Many at once, so that the list becomes long and short again.
    AddAll(Index),
    RemoveAll(Index),
}

fn act() -> impl Strategy<Value = Act> {
    let anybody = any::<Index>;
    prop_oneof![
        6 => anybody().prop_map(Act::Add),
        8 => anybody().prop_map(Act::GoLive),
        6 => anybody().prop_map(Act::Remove),
        1 => anybody().prop_map(Act::AddAll),
        1 => anybody().prop_map(Act::RemoveAll),
    ]
}

proptest! {
    #[test]
    fn they_are_what_two_plain_lists_would_be(acts in prop::collection::vec(act(), 1..120)) {
        let everybody: Vec<Arc<u32>> = (0..200).map(Arc::new).collect();
        let mut members = Members::default();
        let mut model = Model::default();
        for act in acts {
            let range = match &act {
                Act::Add(at) | Act::GoLive(at) | Act::Remove(at) => {
                    let at = at.index(everybody.len());
                    at..at + 1
                }
                Act::AddAll(from) | Act::RemoveAll(from) => from.index(everybody.len())..everybody.len(),
            };
            for member in &everybody[range] {
                match act {
                    Act::Add(_) | Act::AddAll(_) => {
                        let known = members.contains(member);
                        prop_assert_eq!(members.add(member), !known);
                        if !known {
                            model.behind.push(member.clone());
                        }
                    }
                    Act::GoLive(_) => {
                        members.go_live(member);
                        model.go_live(member);
                    }
                    Act::Remove(_) | Act::RemoveAll(_) => {
                        members.remove(member);
                        model.remove(member);
                    }
                }
            }
            agree(&members, &model, &everybody)?;
        }
    }
}

/// Idle memory is promised: of a target with few members, most of all of a user's inbox, nobody pays for an index.
#[test]
fn a_short_list_costs_no_more_than_a_list() {
    assert_eq!(size_of::<Members>(), size_of::<(Vec<Arc<Conn>>, usize)>());
}

#[test]
fn what_was_large_does_not_stay_so() {
    let everybody: Vec<Arc<u32>> = (0..10_000).map(Arc::new).collect();
    let mut members = Members::default();
    for member in &everybody {
        members.add(member);
        members.go_live(member);
    }
    for member in &everybody[..9_900] {
        members.remove(member);
    }
    let Members::Many(many) = &members else {
        panic!("100 are many");
    };
    assert!(many.list.order.capacity() < 1_000 && many.places.0.capacity() < 1_000);
    for member in &everybody[9_900..9_995] {
        members.remove(member);
    }
    assert!(matches!(&members, Members::Few(list) if list.order.capacity() <= FEW));
    assert_eq!(sorted(members.live()), [9_995, 9_996, 9_997, 9_998, 9_999]);
}
