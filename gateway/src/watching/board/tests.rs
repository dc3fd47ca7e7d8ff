use herald_proto::cluster::{HttpSession, Lease, UserOnNode};
use herald_router::{
    bus::{Entry, Selection},
    presence::Fact,
};
use prost::Message;

use super::*;

const GRACE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Eye(usize);

impl Watcher for Eye {
    fn key(&self) -> usize {
        self.0
    }

    fn is_open(&self) -> bool {
        self.0 < 100
    }
}

/// A bucket, its watch, and a board.
struct World {
    board: Board<Eye>,
    now: Instant,
    revision: u64,
    /// What stands.
    keys: HashMap<String, Entry>,
    /// Who was told what.
    told: Vec<(usize, String, bool)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            board: Board::new(GRACE),
            now: Instant::now(),
            revision: 0,
            keys: HashMap::new(),
            told: Vec::new(),
        };
        world.event(&KvEvent::Current);
        // After some seconds in which a router could write leases are taken at their word.
        for _ in 0..3 {
            world.passes(GRACE);
            let beat = world.put("r.r1".to_owned(), Vec::new());
            world.event(&beat);
        }
        world
    }

    fn event(&mut self, event: &KvEvent) {
        let told = &mut self.told;
        self.board.event(event, self.now, &mut |news| {
            told.extend(
                news.watchers
                    .iter()
                    .map(|eye| (eye.0, news.user.to_owned(), news.online)),
            );
        });
    }

    fn put(&mut self, key: String, value: Vec<u8>) -> KvEvent {
        self.revision += 1;
        let entry = Entry {
            value: value.into(),
            revision: self.revision,
        };
        self.keys.insert(key.clone(), entry.clone());
        KvEvent::Put {
            key,
            value: entry.value,
            revision: entry.revision,
            time: 0,
        }
    }

    fn comes(&mut self, user: &str, node: &str) -> KvEvent {
        let value = UserOnNode {
            connections: 1,
            since: 5,
            ..UserOnNode::default()
        };
        self.put(key(user, node), value.encode_to_vec())
    }

    fn logs_in(&mut self, user: &str) -> KvEvent {
        let value = HttpSession { since: 5 };
        self.put(session(user), value.encode_to_vec())
    }

    fn goes(&mut self, user: &str, node: &str) -> KvEvent {
        self.delete(key(user, node))
    }

    fn delete(&mut self, key: String) -> KvEvent {
        self.keys.remove(&key);
        self.revision += 1;
        KvEvent::Delete {
            key,
            revision: self.revision,
            time: 0,
        }
    }

    fn lease(&mut self, node: &str) {
        let lease = Lease {
            incarnation: "i".to_owned(),
            ..Lease::default()
        };
        let event = self.put(format!("n.{node}"), lease.encode_to_vec());
        self.event(&event);
    }

    /// What the bucket says of a user now.
    fn selection(&self, user: &str) -> Selection {
        let prefixes = Fact::prefixes_of(user).map(|prefix| format!("{prefix}."));
        let of_user = self
            .keys
            .iter()
            .filter(|(key, _)| prefixes.iter().any(|prefix| key.starts_with(prefix)));
        Selection {
            entries: of_user.map(|(key, entry)| (key.clone(), entry.clone())).collect(),
            upto: self.revision,
        }
    }

    fn watch(&mut self, eye: usize, user: &str) -> bool {
        let users = [user.to_owned()];
        let unread = self.board.begin(&users).expect("it is current");
        if !unread.users.is_empty() {
            assert!(self.board.read(&unread, &self.selection(user), self.now));
        }
        match self.board.add(&Eye(eye), &users, 3) {
            Added::Watching(states) => states[0].online,
            other => panic!("{other:?}"),
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        let told = &mut self.told;
        self.board.tick(self.now, &mut |news| {
            told.extend(
                news.watchers
                    .iter()
                    .map(|eye| (eye.0, news.user.to_owned(), news.online)),
            );
        });
    }

    fn told(&mut self) -> Vec<(usize, String, bool)> {
        std::mem::take(&mut self.told)
    }
}

fn key(user: &str, node: &str) -> String {
    format!("u.{user}.{node}.i")
}

fn session(user: &str) -> String {
    format!("h.{user}.s")
}

fn bob(eye: usize, online: bool) -> (usize, String, bool) {
    (eye, "bob".to_owned(), online)
}

#[test]
fn each_change_is_told_once_and_a_flap_not_at_all() {
    let mut w = World::new();
    w.lease("n1");
    w.lease("n2");
    assert!(!w.watch(1, "bob"));
    let event = w.comes("bob", "n1");
    w.event(&event);
    assert_eq!(w.told(), [bob(1, true)]);
    assert!(w.watch(2, "bob"));
    // To another node, within the grace.
    let event = w.goes("bob", "n1");
    w.event(&event);
    w.passes(GRACE / 2);
    let event = w.comes("bob", "n2");
    w.event(&event);
    w.passes(2 * GRACE);
    assert_eq!(w.told(), []);
    let event = w.goes("bob", "n2");
    w.event(&event);
    w.passes(GRACE / 2);
    assert!(w.watch(3, "bob"), "what the others believe");
    w.passes(GRACE);
    w.passes(GRACE);
    assert_eq!(w.told(), [bob(1, false), bob(2, false), bob(3, false)]);
}

#[test]
fn one_event_takes_all_of_a_nodes_users_offline() {
    let mut w = World::new();
    w.lease("n1");
    for user in ["bob", "eve", "mia"] {
        let event = w.comes(user, "n1");
        w.event(&event);
    }
    w.watch(1, "bob");
    w.watch(1, "eve");
    w.revision += 1;
    let end = KvEvent::Delete {
        key: "n.n1".to_owned(),
        revision: w.revision,
        time: 0,
    };
    w.event(&end);
    w.passes(GRACE);
    let mut told = w.told();
    told.sort();
    assert_eq!(
        told,
        [bob(1, false), (1, "eve".to_owned(), false)],
        "nobody watches mia"
    );
}

#[test]
fn a_session_over_http_is_told_like_a_connection_and_ends_with_the_same_grace() {
    let mut w = World::new();
    assert!(!w.watch(1, "bob"));
    let event = w.logs_in("bob");
    w.event(&event);
    assert_eq!(w.told(), [bob(1, true)]);
    assert!(w.watch(2, "bob"));
    let event = w.delete(session("bob"));
    w.event(&event);
    w.passes(GRACE / 2);
    assert_eq!(w.told(), []);
    w.passes(GRACE / 2);
    assert_eq!(w.told(), [bob(1, false), bob(2, false)]);
    // It stood before anybody watched.
    w.logs_in("eve");
    assert!(w.watch(1, "eve"));
}

#[test]
fn what_is_read_and_what_is_told_meanwhile_meet() {
    let mut w = World::new();
    w.lease("n1");
    let unread = w.board.begin(&["bob".to_owned()]).unwrap();
    let before = w.selection("bob");
    let came = w.comes("bob", "n1");
    w.event(&came);
    assert_eq!(w.board.add(&Eye(1), &["bob".to_owned()], 3), Added::Unread);
    // Read before he came, and told meanwhile that he has.
    assert!(w.board.read(&unread, &before, w.now));
    assert!(w.watch(1, "bob"));
    assert_eq!(w.told(), [], "it was in the answer");

    // Read after he had come and gone; the watch is behind and tells of both only now.
    let mut w = World::new();
    w.lease("n1");
    let unread = w.board.begin(&["bob".to_owned()]).unwrap();
    let (came, went) = (w.comes("bob", "n1"), w.goes("bob", "n1"));
    assert!(w.board.read(&unread, &w.selection("bob"), w.now));
    assert!(!w.watch(1, "bob"));
    w.event(&came);
    w.event(&went);
    w.passes(2 * GRACE);
    assert_eq!(w.told(), [], "that is the past");
}

#[test]
fn an_old_answer_is_not_taken() {
    let mut w = World::new();
    w.lease("n1");
    let old = w.selection("bob");
    w.lease("n1");
    let unread = w.board.begin(&["bob".to_owned()]).unwrap();
    assert!(!w.board.read(&unread, &old, w.now), "a replica that lags");
    w.event(&KvEvent::Reset);
    assert!(
        !w.board.read(&unread, &w.selection("bob"), w.now),
        "of the bucket before"
    );
    assert_eq!(w.board.begin(&["bob".to_owned()]), None, "it is being told");
}

#[test]
fn a_bucket_told_anew_makes_nobody_flicker() {
    let mut w = World::new();
    w.lease("n1");
    w.watch(1, "bob");
    let event = w.comes("bob", "n1");
    w.event(&event);
    w.told();
    w.event(&KvEvent::Reset);
    w.event(&KvEvent::Current);
    w.passes(3 * GRACE);
    // The new bucket counts from one again.
    w.revision = 0;
    let event = w.comes("bob", "n1");
    w.event(&event);
    w.lease("n1");
    w.passes(20 * GRACE);
    assert_eq!(w.told(), []);
    let event = w.goes("bob", "n1");
    w.event(&event);
    w.passes(GRACE);
    assert_eq!(w.told(), [bob(1, false)]);
}

#[test]
fn who_is_not_watched_any_more_is_forgotten() {
    let mut w = World::new();
    w.lease("n1");
    for user in ["a", "b", "c"] {
        w.watch(1, user);
    }
    let users = ["d".to_owned()];
    let unread = w.board.begin(&users).unwrap();
    assert!(w.board.read(&unread, &w.selection("d"), w.now));
    assert_eq!(w.board.add(&Eye(1), &users, 3), Added::TooMany);
    assert_eq!(w.board.add(&Eye(100), &users, 3), Added::Gone);
    w.board.tidy(&users);
    w.watch(2, "a");
    w.board.remove(&Eye(1), &["a".to_owned(), "nobody".to_owned()]);
    assert_eq!(w.board.count(), 3);
    w.board.remove_all(&Eye(1));
    w.board.remove_all(&Eye(2));
    assert!(w.board.watched.is_empty() && w.board.watchers.is_empty());
    let event = w.comes("a", "n1");
    w.event(&event);
    assert_eq!(w.told(), []);
}
