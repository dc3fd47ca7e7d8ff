//! The meeting of log and live copies, as the hub brings it about, under arbitrary interleavings: copies are lost,
//! doubled and reordered, reads lag, the log is trimmed, and guests come, catch up, go live and leave.
//!
//! Whenever somebody is given a message, all between it and the one before must be gone from the log.

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::hub::sequencer::Step;

/// So large that a tail holds a few only, and many a guest is further behind.
static PAYLOAD: [u8; 30 << 10] = [0; 30 << 10];
/// Messages in one read.
const PAGE: usize = 3;
const GUESTS: u32 = 3;

/// One target's part of the log. Other targets' messages are between its own.
#[derive(Default)]
struct Log {
    stored: Vec<u64>,
    /// All before this one are gone.
    first: u64,
    end: u64,
}

impl Log {
    /// What a replica shows of it that lags so far behind: the newest after `after`, and up to where it knows.
    fn newer(&self, after: u64, lag: u64) -> (Option<u64>, u64) {
        (self.read(after, lag).last().copied(), self.end.saturating_sub(lag))
    }

    fn read(&self, after: u64, lag: u64) -> Vec<u64> {
        let upto = self.end.saturating_sub(lag);
        let kept = self.stored.iter().filter(|sequence| self.has(**sequence));
        kept.filter(|s| (after + 1..=upto).contains(s)).copied().collect()
    }

    fn page(&self, after: u64, lag: u64) -> Vec<u64> {
        let mut page = self.read(after, lag);
        page.truncate(PAGE);
        page
    }

    fn has(&self, sequence: u64) -> bool {
        sequence >= self.first && self.stored.binary_search(&sequence).is_ok()
    }
}

#[derive(Debug, Clone)]
enum Phase {
    Away,
    /// It is a member, and asks what is newest.
    Asking {
        since: Option<u64>,
        begun: bool,
    },
    /// It seems to have missed nothing.
    Ready {
        from: Option<u64>,
    },
    Behind {
        at: u64,
        page: Option<Vec<u64>>,
    },
    Live,
}

struct Guest {
    member: Arc<u32>,
    phase: Phase,
    /// The last message that it was given, or needs not.
    last: u64,
    /// It began beyond what this node had heard of, because a replica lags or has trimmed it: then it may be given what
    /// is up to there all the same.
    unknown: u64,
}

/// What the hub does, without waiting and without sockets.
struct World {
    log: Log,
    state: TopicState<u32>,
    /// Live copies under way: the message, and the one before it.
    copies: Vec<(u64, u64)>,
    /// A hole is being read, this is of it.
    repair: Option<Option<Vec<u64>>>,
    sweep: Option<(Option<u64>, u64)>,
    watermark: u64,
    guests: Vec<Guest>,
}

impl World {
    fn new() -> Self {
        let guest = |number| Guest {
            member: Arc::new(number),
            phase: Phase::Away,
            last: 0,
            unknown: 0,
        };
        Self {
            log: Log::default(),
            state: TopicState::default(),
            copies: Vec::new(),
            repair: None,
            sweep: None,
            watermark: 0,
            guests: (0..GUESTS).map(guest).collect(),
        }
    }

    fn store(&mut self, others: u64) {
        let previous = self.log.read(0, 0).last().copied().unwrap_or(0);
        self.log.end += 1 + others;
        self.log.stored.push(self.log.end);
        self.copies.push((self.log.end, previous));
    }

    fn live(&mut self, (sequence, previous): (u64, u64)) {
        match self.state.sequencer.live(sequence, previous) {
            Step::Deliver => self.deliver(sequence),
            Step::Duplicate => {}
            Step::Hold { begin } => self.begin_repair(begin),
        }
    }

    fn begin_repair(&mut self, begin: bool) {
        if begin {
            assert!(self.repair.is_none(), "one at a time");
            self.repair = Some(None);
        }
    }

    fn deliver(&mut self, sequence: u64) {
        self.state.passed(&LogEntry {
            payload: Bytes::from_static(&PAYLOAD),
            sequence,
            time_ms: 0,
        });
        for member in self.state.live().to_vec() {
            self.give(*member as usize, sequence);
        }
    }

    fn give(&mut self, guest: usize, sequence: u64) {
        let Guest { last, unknown, .. } = &mut self.guests[guest];
        if *last <= *unknown && sequence <= *unknown {
            // Once more, then, but not twice: what follows must be newer.
            *last = sequence;
            *unknown = 0;
            return;
        }
        assert!(sequence > *last, "guest {guest} is given {sequence} after {last}");
        let skipped = self.log.read(*last, self.log.end + 1 - sequence);
        assert!(
            skipped.is_empty(),
            "guest {guest} is given {sequence} after {last}, without {skipped:?}"
        );
        *last = sequence;
    }

    /// Reads of a hole, or delivers what was read.
    fn step_repair(&mut self, lag: u64) {
        let Some(page) = self.repair.take() else { return };
        let Some(after) = self.state.sequencer.read_after() else {
            return;
        };
        let Some(page) = page else {
            self.repair = Some(Some(self.log.page(after, lag)));
            return;
        };
        for sequence in &page {
            if self.state.sequencer.read(*sequence) {
                self.deliver(*sequence);
            }
        }
        if self.state.sequencer.is_closed() {
            return;
        }
        let wanted = self.state.sequencer.wanted();
        if page.is_empty() && !self.log.has(wanted) {
            self.state.sequencer.give_up(wanted);
            if self.state.sequencer.is_closed() {
                return;
            }
        }
        self.repair = Some(None);
    }

    /// Begins a sweep, or ends it once all that it found has been delivered.
    fn step_sweep(&mut self, lag: u64) {
        match self.sweep {
            None => {
                let (newest, upto) = self.log.newer(self.watermark, lag);
                self.look_at(newest.unwrap_or(0));
                self.sweep = Some((newest, upto));
            }
            Some((newest, upto)) if self.state.sequencer.is_past(newest.unwrap_or(0)) => {
                self.watermark = self.watermark.max(upto);
                self.sweep = None;
            }
            // It has waited long enough: the next one asks again.
            Some(_) => self.sweep = None,
        }
    }

    fn look_at(&mut self, sequence: u64) {
        let begin = self.state.sequencer.expect(sequence);
        self.begin_repair(begin);
    }

    /// `since` None: from now on.
    fn come(&mut self, guest: usize, since: Option<u64>) {
        let begun = self.state.sequencer.position().is_some();
        let guest = &mut self.guests[guest];
        if let Phase::Away = guest.phase {
            assert!(self.state.add(&guest.member));
            guest.phase = Phase::Asking { since, begun };
        }
    }

    fn leave(&mut self, guest: usize) {
        let guest = &mut self.guests[guest];
        self.state.remove(&guest.member);
        guest.phase = Phase::Away;
    }

    /// One step of a guest on its way to be live.
    fn step(&mut self, guest: usize, lag: u64) {
        self.guests[guest].phase = match self.guests[guest].phase.clone() {
            Phase::Asking { since, begun } => self.ask(guest, since, begun, lag),
            Phase::Ready { from: Some(at) } if !self.state.is_ready(at) => Phase::Behind { at, page: None },
            Phase::Ready { from } => {
                let position = self.state.sequencer.position().unwrap_or(0);
                let guest = &mut self.guests[guest];
                guest.last = from.unwrap_or(position);
                self.state.go_live(&guest.member);
                Phase::Live
            }
            Phase::Behind { at, page: None } => Phase::Behind {
                at,
                page: Some(self.log.page(at, lag)),
            },
            Phase::Behind { at, page: Some(page) } => self.catch_up(guest, at, &page),
            phase @ (Phase::Away | Phase::Live) => phase,
        };
    }

    fn ask(&mut self, guest: usize, since: Option<u64>, begun: bool, lag: u64) -> Phase {
        let after = since.unwrap_or(u64::MAX).min(self.watermark);
        let (newest, upto) = self.log.newer(after, lag);
        if !self.state.sequencer.told(after, newest, upto) || upto < self.watermark {
            return Phase::Asking { since, begun };
        }
        let from = match since {
            Some(at) => Some(at),
            None if begun => None,
            None => Some(newest.unwrap_or(upto)),
        };
        self.guests[guest].last = from.unwrap_or(0);
        let known = self.state.sequencer.newest();
        self.guests[guest].unknown = from.filter(|at| *at > known).unwrap_or(0);
        match from.filter(|at| !self.state.is_ready(*at)) {
            Some(at) => Phase::Behind { at, page: None },
            None => Phase::Ready { from },
        }
    }

    fn catch_up(&mut self, guest: usize, begun: u64, page: &[u64]) -> Phase {
        let mut at = begun;
        for sequence in page {
            self.give(guest, *sequence);
            at = *sequence;
        }
        if at > begun {
            self.state.sequencer.heard_of(at);
        }
        let member = self.guests[guest].member.clone();
        match self.state.try_go_live(&member, at) {
            Joining::Live(rest) => {
                rest.iter().for_each(|entry| self.give(guest, entry.sequence));
                if self.state.sequencer.is_behind() {
                    self.look_at(self.state.sequencer.newest());
                }
                return Phase::Live;
            }
            Joining::Early => self.look_at(self.state.sequencer.newest()),
            Joining::Behind if page.is_empty() && !self.log.has(self.state.sequencer.newest()) => {
                self.state.go_live(&member);
                return Phase::Live;
            }
            Joining::Behind => {}
            Joining::Gone => panic!("guest {guest} is a member"),
        }
        Phase::Behind { at, page: None }
    }

    /// No more faults: all comes to rest.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.step_sweep(0);
            self.step_repair(0);
            for guest in 0..self.guests.len() {
                self.step(guest, 0);
            }
        }
        let end = self.log.end;
        assert!(self.repair.is_none(), "a hole stays open");
        assert_eq!(self.watermark, end, "the watermark stands still");
        for (number, guest) in self.guests.iter().enumerate() {
            match guest.phase {
                Phase::Away => {}
                Phase::Live => {
                    let rest = self.log.read(guest.last, 0);
                    assert!(rest.is_empty(), "guest {number} lacks {rest:?}");
                }
                ref phase => panic!("guest {number} never went live: {phase:?}"),
            }
        }
        // Nothing is kept for those who catch up where nobody does.
        assert!(self.state.tail.is_none());
    }
}

#[derive(Debug, Clone)]
enum Act {
    Store {
        others: u64,
    },
    /// The oldest live copy comes.
    Next,
    /// One comes before its time.
    Early(Index),
    Doubled(Index),
    Lost(Index),
    Trim(Index),
    Repair {
        lag: u64,
    },
    Sweep {
        lag: u64,
    },
    Come {
        guest: usize,
        since: Option<Index>,
    },
    Step {
        guest: usize,
        lag: u64,
    },
    Leave {
        guest: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let copy = any::<Index>;
    let guest = || 0..GUESTS as usize;
    let lag = || prop_oneof![2 => Just(0u64), 1 => 0..12u64];
    prop_oneof![
        10 => (0..3u64).prop_map(|others| Act::Store { others }),
        8 => Just(Act::Next),
        4 => copy().prop_map(Act::Early),
        2 => copy().prop_map(Act::Doubled),
        2 => copy().prop_map(Act::Lost),
        1 => any::<Index>().prop_map(Act::Trim),
        8 => lag().prop_map(|lag| Act::Repair { lag }),
        3 => lag().prop_map(|lag| Act::Sweep { lag }),
        3 => (guest(), prop::option::weighted(0.8, any::<Index>())).prop_map(|(guest, since)| Act::Come { guest, since }),
        12 => (guest(), lag()).prop_map(|(guest, lag)| Act::Step { guest, lag }),
        1 => guest().prop_map(|guest| Act::Leave { guest }),
    ]
}

fn run(acts: Vec<Act>) {
    let mut world = World::new();
    for act in acts {
        let copies = world.copies.len();
        match act {
            Act::Store { others } => world.store(others),
            Act::Next | Act::Early(_) | Act::Doubled(_) | Act::Lost(_) if copies == 0 => {}
            Act::Next => {
                let copy = world.copies.remove(0);
                world.live(copy);
            }
            Act::Early(at) => {
                let copy = world.copies.remove(at.index(copies));
                world.live(copy);
            }
            Act::Doubled(at) => world.live(world.copies[at.index(copies)]),
            Act::Lost(at) => {
                world.copies.remove(at.index(copies));
            }
            Act::Trim(upto) => {
                let first = upto.index(world.log.end as usize + 2) as u64;
                world.log.first = world.log.first.max(first);
            }
            Act::Repair { lag } => world.step_repair(lag),
            Act::Sweep { lag } => world.step_sweep(lag),
            Act::Come { guest, since } => {
                let since = since.map(|at| at.index(world.log.end as usize + 1) as u64);
                world.come(guest, since);
            }
            Act::Step { guest, lag } => world.step(guest, lag),
            Act::Leave { guest } => world.leave(guest),
        }
    }
    world.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn log_and_live_meet_without_a_hole_and_without_anything_twice(acts in prop::collection::vec(act(), 1..150)) {
        run(acts);
    }
}
