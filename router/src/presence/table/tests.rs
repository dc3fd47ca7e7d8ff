use std::time::Duration;

use herald_proto::{cluster::UserOnNode, id};
use prost::Message;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The bucket's time when a world begins, in Unix milliseconds.
const BEGUN: u64 = 1_000_000;

struct World {
    table: Table,
    begun: Instant,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut world = Self::before_current();
        world.table.current(world.now);
        // From then on leases are taken at their word.
        world.passes(5);
        world
    }

    /// The bucket is still being told.
    fn before_current() -> Self {
        let now = Instant::now();
        Self {
            table: Table::new(true),
            begun: now,
            now,
        }
    }

    /// The bucket's time.
    fn time(&self) -> u64 {
        BEGUN + u64::try_from((self.now - self.begun).as_millis()).unwrap()
    }

    /// Seconds during which leases can be refreshed.
    fn passes(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.table.witness(self.now);
            self.table.tick(self.now);
        }
    }

    /// Seconds during which nothing can be written.
    fn silence(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.table.tick(self.now);
        }
    }

    fn put(&mut self, user: &str, node: &str, incarnation: &str) {
        let value = UserOnNode {
            connections: 2,
            since: 7,
            ..UserOnNode::default()
        };
        let put = self
            .table
            .put_user(user, node, incarnation, &value.encode_to_vec(), self.now);
        put.unwrap();
    }

    fn lease(&mut self, node: &str, incarnation: &str) {
        self.table.put_lease(node, incarnation, self.now, self.time());
    }

    fn end(&mut self, node: &str) {
        self.table.end_lease(node, self.now, self.time());
    }

    fn delete(&mut self, user: &str, node: &str, incarnation: &str) {
        self.table.delete_user(user, node, incarnation, self.time());
    }

    fn end_session(&mut self, user: &str, sid: &str) {
        self.table.delete_session(user, sid, self.time());
    }

    fn of(&self, user: &str) -> UserPresence {
        self.table.of(user.to_owned())
    }

    fn online(&self, user: &str) -> bool {
        self.table.is_online(user)
    }

    fn changes(&mut self) -> usize {
        self.table.take_changes().len()
    }
}

#[test]
fn a_key_counts_only_while_its_lease_stands() {
    let mut w = World::new();
    w.put("bob", "n1", "i1");
    assert!(!w.online("bob"), "no lease yet");
    w.lease("n1", "i1");
    assert!(w.online("bob"));
    w.lease("n1", "i2");
    assert!(!w.online("bob"), "the lease is another incarnation's");
    w.put("bob", "n1", "i2");
    assert!(w.online("bob"));
    w.delete("bob", "n1", "i1");
    assert!(w.online("bob"), "an old incarnation's key takes nothing away");
    w.end("n1");
    assert!(!w.online("bob"));
    assert_eq!(w.table.online_count(), 0);
}

#[test]
fn keys_that_were_there_before_their_lease_change_hands_at_once() {
    let mut w = World::new();
    w.lease("n1", "i1");
    w.put("bob", "n1", "i1");
    w.changes();
    w.put("bob", "n1", "i2");
    w.lease("n1", "i2");
    assert!(w.online("bob"));
    assert_eq!(w.changes(), 0, "nobody flickered");
}

#[test]
fn one_who_is_on_two_nodes_is_offline_when_both_are_gone() {
    let mut w = World::new();
    for node in ["n1", "n2"] {
        w.lease(node, "i");
        w.put("bob", node, "i");
    }
    assert_eq!(w.of("bob").connections, 4);
    w.end("n1");
    assert!(w.online("bob"));
    assert_eq!(w.of("bob").connections, 2);
    w.delete("bob", "n2", "i");
    assert!(!w.online("bob"));
    assert!(w.of("bob").last_seen > 0);
}

#[test]
fn a_lease_that_ended_while_nobody_could_refresh_it_counts_a_while_yet() {
    let mut w = World::new();
    w.lease("n1", "i1");
    w.put("bob", "n1", "i1");
    w.passes(5);
    w.silence(9);
    w.end("n1");
    assert!(w.online("bob"), "nothing was heard for 9 s");
    w.passes(3);
    assert!(w.online("bob"));
    w.lease("n1", "i1");
    w.passes(20);
    assert!(w.online("bob"), "put back in time");
    w.silence(9);
    w.end("n1");
    w.passes(6);
    assert!(!w.online("bob"), "it was not put back");
    w.lease("n2", "i");
    w.put("bob", "n2", "i");
    w.passes(10);
    w.end("n2");
    assert!(!w.online("bob"), "others could refresh theirs");
}

#[test]
fn what_a_bucket_made_anew_does_not_tell_again_is_gone_after_a_leases_time() {
    let mut w = World::new();
    for (user, node) in [("bob", "n1"), ("eve", "n2")] {
        w.lease(node, "i1");
        w.put(user, node, "i1");
    }
    w.changes();
    w.table.reset();
    w.table.current(w.now);
    assert!(
        w.online("bob") && w.online("eve"),
        "their nodes have the time to come back"
    );
    w.passes(3);
    w.put("bob", "n1", "i2");
    w.lease("n1", "i2");
    assert!(w.online("bob"));
    w.passes(10);
    assert!(!w.online("eve"), "no zombie stays");
    assert_eq!(w.changes(), 1, "and nobody else flickered");
}

#[test]
fn the_first_table_takes_the_bucket_at_its_word() {
    let mut w = World::before_current();
    w.put("bob", "n1", "i1");
    w.lease("n2", "i1");
    w.put("eve", "n2", "i1");
    w.table.current(w.now);
    assert!(w.online("eve"));
    assert!(!w.online("bob"), "his node had died before");
}

#[test]
fn keys_without_a_lease_are_due_for_cleanup_unless_their_lease_comes() {
    let mut w = World::new();
    w.lease("n1", "i1");
    w.put("bob", "n1", "i1");
    w.put("bob", "n1", "i2");
    w.lease("n1", "i2");
    w.passes(59);
    assert_eq!(w.table.lapsed(w.now), []);
    w.passes(1);
    let lapsed = w.table.lapsed(w.now);
    assert_eq!(lapsed.len(), 1, "{lapsed:?}");
    assert_eq!((&*lapsed[0].node, &*lapsed[0].incarnation), ("n1", "i1"));
    w.table.forget("n1", "i1");
    assert_eq!(w.table.lapsed(w.now), []);
    assert!(w.online("bob"));
    w.end("n1");
    w.passes(60);
    w.table.forget("n1", "i2");
    assert!(
        w.table.users.is_empty() && w.table.nodes.is_empty(),
        "nothing stays: {:?}",
        w.table
    );
}

#[test]
fn the_first_router_is_one_of_those_that_stand() {
    let mut w = World::new();
    assert!(w.table.is_first_router("r2"));
    w.table.put_router("r1", 1);
    w.table.put_router("r2", 1);
    assert!(w.table.is_first_router("r1") && !w.table.is_first_router("r2"));
    w.table.end_router("r1");
    assert!(w.table.is_first_router("r2"));
}

#[test]
fn a_session_over_http_makes_online_without_a_lease_and_is_no_connection() {
    let mut w = World::new();
    w.table.put_session("bob", "s1", 9);
    w.table.put_session("bob", "s2", 5);
    let bob = w.of("bob");
    assert!(bob.online && w.online("bob"));
    assert_eq!((bob.connections, bob.since, w.table.online_count()), (0, 5, 1));
    w.lease("n1", "i1");
    w.put("bob", "n1", "i1");
    assert_eq!((w.of("bob").connections, w.of("bob").since), (2, 5));
    w.end_session("bob", "s2");
    assert_eq!(w.of("bob").since, 7);
    w.end("n1");
    assert!(w.online("bob"), "s1 stands");
    assert_eq!(w.changes(), 1, "he was online all the while");
    w.end_session("bob", "s1");
    assert!(!w.online("bob"));
    assert!(w.of("bob").last_seen > 0);
    assert_eq!((w.changes(), w.table.online_count()), (1, 0));
    w.end_session("bob", "s1");
    w.end_session("nobody", "s1");
    assert_eq!(w.table.online_count(), 0);
}

#[test]
fn a_session_that_a_bucket_made_anew_does_not_tell_again_is_gone_after_a_leases_time() {
    let mut w = World::new();
    w.table.put_session("bob", "s1", 5);
    w.table.put_session("eve", "s2", 5);
    w.changes();
    w.table.reset();
    w.table.put_session("bob", "s1", 5);
    w.table.current(w.now);
    w.passes(5);
    assert!(w.online("bob") && w.online("eve"));
    w.passes(5);
    assert!(w.online("bob") && !w.online("eve"));
    assert_eq!(w.changes(), 1);
    w.table.forget_user("bob");
    assert!(w.table.users.is_empty(), "{:?}", w.table);
}

#[test]
fn leases_that_ended_while_the_bucket_could_not_be_followed_count_a_while_yet() {
    let mut w = World::new();
    for (user, node) in [("bob", "n1"), ("eve", "n2")] {
        w.lease(node, "i1");
        w.put(user, node, "i1");
    }
    w.changes();
    // NATS is away for longer than a lease; the new watch tells that both have run out.
    w.silence(15);
    w.table.reset();
    w.put("bob", "n1", "i1");
    w.put("eve", "n2", "i1");
    w.end("n1");
    w.end("n2");
    assert!(w.online("bob") && w.online("eve"), "nobody could refresh them");
    w.table.current(w.now);
    w.passes(2);
    w.put("bob", "n1", "i2");
    w.lease("n1", "i2");
    assert!(w.online("bob") && w.online("eve"));
    w.passes(10);
    assert!(w.online("bob"));
    assert!(!w.online("eve"), "her node did not come back");
    assert_eq!(w.changes(), 1);
}

#[test]
fn one_whose_node_died_was_last_seen_when_its_lease_was_last_refreshed() {
    let mut w = World::new();
    w.lease("n1", "i");
    w.put("bob", "n1", "i");
    w.passes(3);
    w.lease("n1", "i");
    let refreshed = w.time();
    w.passes(10);
    w.end("n1");
    assert_eq!(w.of("bob").last_seen, refreshed);
    assert_eq!(w.table.unwritten("bob"), Some(refreshed));
    w.table.put_seen("bob", refreshed);
    assert_eq!(w.table.unwritten("bob"), None);
}

#[test]
fn who_left_while_there_was_no_table_is_known_to_be_seen_until_then() {
    let mut w = World::before_current();
    w.now += 100 * SECOND;
    // By the traces of what was deleted or ran out.
    w.table.put_seen("bob", 5);
    w.delete("bob", "n1", "i");
    w.put("eve", "n2", "i");
    w.end("n2");
    w.table.current(w.now);
    assert_eq!(w.of("bob").last_seen, w.time());
    assert_eq!(w.of("eve").last_seen, w.time() - 10_000, "a lease before its end");
    let told = w.table.take_changes();
    let mut told: Vec<&str> = told.iter().map(|change| &*change.user).collect();
    told.sort_unstable();
    assert_eq!(told, ["bob", "eve"]);
    assert!(w.table.unwritten("bob").is_some() && w.table.unwritten("eve").is_some());
}

#[test]
fn a_lease_that_a_new_table_finds_ended_just_now_counts_a_while_yet() {
    let mut w = World::before_current();
    for incarnation in ["i1", "i2"] {
        w.put("bob", "n1", incarnation);
    }
    w.put("eve", "n1", "i1");
    w.table.end_lease("n1", w.now, id::now_ms());
    w.put("old", "n2", "i");
    w.table.end_lease("n2", w.now, id::now_ms() - 6_000);
    w.table.current(w.now);
    assert!(w.online("bob"), "nobody may have been able to refresh it");
    assert!(!w.online("eve"), "that incarnation was gone before");
    assert!(!w.online("old"), "so long ago it would have been put back");
    w.changes();
    w.passes(3);
    w.put("bob", "n1", "i3");
    w.lease("n1", "i3");
    w.passes(10);
    assert!(w.online("bob"));
    assert_eq!(w.changes(), 0);

    let mut w = World::before_current();
    w.lease("n3", "i");
    w.put("mia", "n3", "i");
    w.put("bob", "n1", "i");
    w.table.end_lease("n1", w.now, id::now_ms());
    w.table.current(w.now);
    w.passes(1);
    w.end("n3");
    w.passes(3);
    assert!(w.online("mia"), "it ran out soon after");
    w.passes(2);
    assert!(!w.online("bob") && !w.online("mia"), "their nodes did not come back");
    w.passes(60);
    assert_eq!(w.table.lapsed(w.now).len(), 2);
}
