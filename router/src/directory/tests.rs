use std::collections::HashSet;

use proptest::prelude::*;

use std::time::Instant;

use herald_proto::{cluster::UserOnNode, limits::LEASE};
use prost::Message;

use super::*;

fn put_presence(d: &mut Directory, user: &str, node: &str, incarnation: &str) {
    let value = UserOnNode {
        connections: 1,
        ..UserOnNode::default()
    };
    let value = value.encode_to_vec();
    let put = d.presence_mut(|table| table.put_user(user, node, incarnation, &value, Instant::now()));
    put.unwrap();
}

#[test]
fn others_online_leaves_the_sender_out() {
    let mut d = Directory::new(true);
    d.presence_mut(|table| table.put_lease("n1", "i1", Instant::now(), 1));
    d.put_member("g", "alice", 1);
    d.put_member("g", "bob", 2);
    put_presence(&mut d, "alice", "n1", "i1");
    assert!(!d.others_online("g", Some("alice")));
    assert!(d.others_online("g", Some("bob")));
    assert!(d.others_online("g", None));
    assert!(!d.others_online("nobody", None));
}

#[test]
fn who_is_online_by_a_session_over_http_counts_in_its_groups() {
    let mut d = Directory::new(true);
    d.put_member("g", "alice", 1);
    d.presence_mut(|table| table.put_session("alice", "s", 1));
    let g = d.group_presence("g", 10);
    assert_eq!((g.online, g.members, g.users.len()), (Some(1), Some(1), 1));
    assert!(d.anyone_online() && d.others_online("g", None));
    d.presence_mut(|table| table.delete_session("alice", "s", 1));
    assert_eq!(d.group_presence("g", 10).online, Some(0));
    assert_eq!(d.take_gone().len(), 1);
}

#[test]
fn old_news_does_not_undo_a_leave() {
    let mut d = Directory::new(true);
    d.put_member("g", "alice", 1);
    d.leave("g", "alice", 5);
    d.put_member("g", "alice", 1);
    assert!(!d.is_member("g", "alice"), "the watch is behind");
    d.put_member("g", "alice", 6);
    assert!(d.is_member("g", "alice"), "joined again since");
    d.leave("g", "alice", 7);
    d.delete_member("g", "alice");
    assert!(d.left.is_empty());
}

#[test]
fn a_leave_that_is_heard_late_does_not_undo_a_join_since() {
    let mut d = Directory::new(true);
    d.put_member("g", "alice", 6);
    d.leave("g", "alice", 5);
    assert!(d.is_member("g", "alice"));
    d.leave("g", "alice", 7);
    d.leave("g", "alice", 5);
    d.put_member("g", "alice", 6);
    assert!(
        !d.is_member("g", "alice"),
        "an older word does not take the newer one's place"
    );
}

#[test]
fn who_wrote_a_membership_and_hears_of_it_late_does_not_undo_what_the_watch_has_told_since() {
    let mut d = Directory::new(true);
    d.put_member_ahead("g", "alice", 1, 10);
    assert!(d.is_member("g", "alice"), "ahead of the watch");
    d.groups_told(11);
    d.delete_member("g", "alice");
    d.put_member_ahead("g", "alice", 1, 10);
    assert!(!d.is_member("g", "alice"));
    d.reset_groups();
    d.put_member_ahead("g", "alice", 2, 3);
    assert!(d.is_member("g", "alice"), "the bucket was made anew");
}

#[derive(Debug, Clone)]
enum Op {
    Presence(u8, u8, u8, bool),
    Lease(u8, Option<u8>),
    Member(u8, u8, bool),
    ResetPresence,
    ResetGroups,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..4u8, 0..3u8, 0..2u8, any::<bool>()).prop_map(|(u, n, i, b)| Op::Presence(u, n, i, b)),
        4 => (0..3u8, prop::option::of(0..2u8)).prop_map(|(n, i)| Op::Lease(n, i)),
        6 => (0..3u8, 0..4u8, any::<bool>()).prop_map(|(g, u, b)| Op::Member(g, u, b)),
        1 => Just(Op::ResetPresence),
        1 => Just(Op::ResetGroups),
    ]
}

proptest! {
    /// The indexes always agree with the plain sets they stand for.
    #[test]
    fn indexes_agree_with_the_plain_sets(ops in prop::collection::vec(op(), 0..120)) {
        let mut d = Directory::new(true);
        let mut presences: HashSet<(u8, u8, u8)> = HashSet::new();
        let mut leases: HashMap<u8, u8> = HashMap::new();
        let mut members: HashSet<(u8, u8)> = HashSet::new();
        let mut now = Instant::now();
        for op in ops {
            now += 3 * LEASE;
            match op {
                Op::Presence(u, n, i, true) => {
                    presences.insert((u, n, i));
                    put_presence(&mut d, &format!("u{u}"), &format!("n{n}"), &i.to_string());
                }
                Op::Presence(u, n, i, false) => {
                    presences.remove(&(u, n, i));
                    d.presence_mut(|t| t.delete_user(&format!("u{u}"), &format!("n{n}"), &i.to_string(), 1));
                }
                Op::Lease(n, Some(i)) => {
                    leases.insert(n, i);
                    d.presence_mut(|t| t.put_lease(&format!("n{n}"), &i.to_string(), now, 1));
                }
                Op::Lease(n, None) => {
                    leases.remove(&n);
                    d.presence_mut(|t| t.end_lease(&format!("n{n}"), now, 1));
                }
                Op::Member(g, u, true) => {
                    members.insert((g, u));
                    d.put_member(&format!("g{g}"), &format!("u{u}"), 1);
                }
                Op::Member(g, u, false) => {
                    members.remove(&(g, u));
                    d.delete_member(&format!("g{g}"), &format!("u{u}"));
                }
                Op::ResetPresence => {
                    presences.clear();
                    leases.clear();
                    d.presence_mut(|t| {
                        t.reset();
                        t.current(now);
                    });
                }
                Op::ResetGroups => {
                    members.clear();
                    d.reset_groups();
                }
            }
            // Whatever was not taken at its word is by now.
            d.presence_mut(|t| t.tick(now + 2 * LEASE));
            let online = |u: u8| presences.iter().any(|&(v, n, i)| u == v && leases.get(&n) == Some(&i));
            for u in 0..4u8 {
                prop_assert_eq!(d.is_online(&format!("u{u}")), online(u));
                for g in 0..3u8 {
                    prop_assert_eq!(d.is_member(&format!("g{g}"), &format!("u{u}")), members.contains(&(g, u)));
                    let others = members.iter().any(|&(h, v)| h == g && v != u && online(v));
                    prop_assert_eq!(d.others_online(&format!("g{g}"), Some(&format!("u{u}"))), others);
                }
                for v in 0..4u8 {
                    let share = (0..3u8).any(|g| members.contains(&(g, u)) && members.contains(&(g, v)));
                    prop_assert_eq!(d.share_group(&format!("u{u}"), &format!("u{v}")), share);
                }
            }
            prop_assert_eq!(d.online_count(), (0..4u8).filter(|&u| online(u)).count());
        }
    }
}
