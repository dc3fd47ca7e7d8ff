//! One connection's outbox, into which several put, and which one at a time empties: by thousands of schedules, beside lists of
//! what was put in.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 200;

#[derive(Debug, Clone, Copy)]
enum Step {
    Push(usize),
    Answer(usize),
    Large(usize),
    Hold,
    Release {
        welcome: bool,
    },
    Close(CloseCode),
    /// The one who has the connection takes so many bytes of what it holds to the socket, or all of it.
    Write(usize),
    /// It takes what waits, or lets the connection go.
    Next,
    /// The socket has failed.
    Fail,
    WaitForRoom,
    WaitForEnd,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![4 => 4_usize..60, 1 => 60_usize..500];
    let code = prop::sample::select(vec![
        CloseCode::Kicked,
        CloseCode::ShuttingDown,
        CloseCode::SlowConsumer,
        CloseCode::TokenExpired,
    ]);
    let step = prop_oneof![
        8 => size().prop_map(Step::Push),
        2 => size().prop_map(Step::Answer),
        1 => size().prop_map(Step::Large),
        1 => Just(Step::Hold),
        1 => prop::bool::weighted(0.9).prop_map(|welcome| Step::Release { welcome }),
        1 => code.prop_map(Step::Close),
        6 => (1_usize..200).prop_map(Step::Write),
        8 => Just(Step::Next),
        1 => Just(Step::Fail),
        2 => Just(Step::WaitForRoom),
        2 => Just(Step::WaitForEnd),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The one who empties, as flushers and writers do.
#[derive(Default)]
struct Hand {
    /// The connection was handed over, and not let go.
    has: bool,
    frames: Frames,
    /// Written of `frames` and not told yet.
    written: usize,
    closing: Option<Ending>,
}

struct World {
    outbox: Outbox,
    hand: Hand,
    /// Frames that wait, and those that were taken, by their numbers and what is left of them.
    queue: VecDeque<(u32, usize)>,
    taken: VecDeque<(u32, usize)>,
    next: u32,
    held: bool,
    ending: Option<Ending>,
    ended: bool,
    room: Option<Arc<Woken>>,
    end: Option<Arc<Woken>>,
}

/// Its number, and as many bytes as it is to have.
fn numbered(number: u32, size: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(size, b'.');
    bytes.into()
}

fn poll(future: impl Future<Output = ()>, woken: &Arc<Woken>) -> Poll<()> {
    let waker = Waker::from(Arc::clone(woken));
    pin!(future).poll(&mut Context::from_waker(&waker))
}

impl World {
    fn new() -> Self {
        Self {
            outbox: Outbox::new(LIMIT),
            hand: Hand::default(),
            queue: VecDeque::new(),
            taken: VecDeque::new(),
            next: 0,
            held: false,
            ending: None,
            ended: false,
            room: None,
            end: None,
        }
    }

    fn is_open(&self) -> bool {
        self.ending.is_none() && !self.ended
    }

    fn waiting(&self) -> usize {
        self.queue.iter().chain(&self.taken).map(|(_, left)| left).sum()
    }

    fn handed(&mut self, handover: Handover) -> Result<(), TestCaseError> {
        if handover == Handover::Needed {
            prop_assert!(!self.hand.has, "two would have the connection");
            prop_assert!(!self.held, "nobody may write before the welcome");
            self.hand.has = true;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Push(size) => {
                let pushed = self.outbox.push(numbered(self.next, size));
                self.pushed(pushed, size, LIMIT)?;
            }
            Step::Large(size) => {
                let pushed = self.outbox.push_large(numbered(self.next, size));
                self.pushed(pushed, size, LIMIT / 2)?;
            }
            Step::Answer(size) => {
                // All that is tried here has room in the slack.
                let handover = self.outbox.push_answer(numbered(self.next, size));
                if self.is_open() {
                    self.queue.push_back((self.next, size));
                    self.next += 1;
                }
                self.handed(handover)?;
            }
            Step::Hold if self.is_open() => {
                self.outbox.hold();
                self.held = true;
            }
            Step::Release { welcome } if self.held => self.release(welcome)?,
            Step::Hold | Step::Release { .. } => {}
            Step::Close(code) => self.close(Ending::Code(code))?,
            Step::Write(bytes) => self.write(bytes),
            Step::Next => self.take()?,
            Step::Fail if self.hand.has => {
                self.outbox.end();
                self.ended = true;
                self.hand = Hand::default();
                self.queue.clear();
                self.taken.clear();
            }
            Step::Fail => {}
            Step::WaitForRoom => {
                let woken = Arc::default();
                let has = !self.is_open() || self.waiting() <= LIMIT / 2;
                prop_assert_eq!(poll(self.outbox.room(), &woken).is_ready(), has);
                self.room = (!has).then_some(woken);
            }
            Step::WaitForEnd => {
                let woken = Arc::default();
                prop_assert_eq!(poll(self.outbox.not_open(), &woken).is_ready(), !self.is_open());
                self.end = self.is_open().then_some(woken);
            }
        }
        self.check()
    }

    fn pushed(&mut self, pushed: Pushed, size: usize, limit: usize) -> Result<(), TestCaseError> {
        let fits = self.waiting() == 0 || self.waiting() + size <= limit;
        match pushed {
            Pushed::Closed => prop_assert!(!self.is_open()),
            Pushed::Full => prop_assert!(self.is_open() && !fits, "{} and {size}", self.waiting()),
            Pushed::Queued(handover) => {
                prop_assert!(self.is_open() && fits, "{} and {size}", self.waiting());
                self.queue.push_back((self.next, size));
                self.next += 1;
                self.handed(handover)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, welcome: bool) -> Result<(), TestCaseError> {
        let size = 10;
        self.held = false;
        let handover = self.outbox.release(welcome.then(|| numbered(self.next, size)));
        if welcome && self.is_open() {
            self.queue.push_front((self.next, size));
            self.next += 1;
        } else {
            self.queue.clear();
            // Who is not welcomed is closed next, which wakes.
            self.room = None;
        }
        self.handed(handover)
    }

    fn close(&mut self, ending: Ending) -> Result<(), TestCaseError> {
        let (open, held) = (self.is_open(), self.held);
        let handover = self.outbox.close(ending);
        if open {
            self.ending = Some(ending);
            self.held = false;
            if held || ending == Ending::Code(CloseCode::SlowConsumer) {
                self.queue.clear();
            }
        }
        self.handed(handover)
    }

    fn write(&mut self, bytes: usize) {
        let bytes = bytes.min(self.hand.frames.bytes());
        self.hand.frames.advance(bytes);
        self.hand.written += bytes;
        if !self.hand.frames.is_empty() {
            // A part: the rest is to follow.
            self.outbox.wrote(std::mem::take(&mut self.hand.written));
            self.drop_written(bytes);
        }
    }

    fn drop_written(&mut self, mut bytes: usize) {
        while let Some((_, left)) = self.taken.front_mut() {
            let part = bytes.min(*left);
            *left -= part;
            bytes -= part;
            if *left > 0 {
                return;
            }
            self.taken.pop_front();
        }
    }

    fn take(&mut self) -> Result<(), TestCaseError> {
        if !self.hand.has || !self.hand.frames.is_empty() || self.hand.closing.is_some() {
            return Ok(());
        }
        let written = std::mem::take(&mut self.hand.written);
        self.drop_written(written);
        prop_assert!(self.taken.is_empty());
        match self.outbox.next(written) {
            Some(Work::Write(frames)) => {
                prop_assert!(!self.held);
                let numbers = frames.iter().map(|frame| {
                    let number = frame.first_chunk().map(|number| u32::from_be_bytes(*number));
                    (number.unwrap_or_default(), frame.len())
                });
                prop_assert!(numbers.eq(self.queue.iter().copied()), "all that waits, in order");
                self.taken = std::mem::take(&mut self.queue);
                self.hand.frames = frames;
            }
            Some(Work::Close(ending)) => {
                prop_assert_eq!(Some(ending), self.ending, "the first end");
                prop_assert!(self.queue.is_empty(), "what waits comes before it");
                self.hand.closing = Some(ending);
            }
            None => {
                prop_assert!(self.queue.is_empty() || self.held, "something is left behind");
                prop_assert!(self.ending.is_none(), "the end is left behind");
                self.hand = Hand::default();
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        if !self.ended {
            prop_assert_eq!(self.outbox.waiting(), self.waiting());
        }
        prop_assert_eq!(self.outbox.is_open(), self.is_open());
        prop_assert_eq!(self.outbox.ending(), self.ending);
        let due = !self.held && !self.queue.is_empty() || self.ending.is_some() && !self.ended;
        prop_assert!(!due || self.hand.has, "nobody will write what waits");
        let woken = |woken: &Option<Arc<Woken>>| woken.as_ref().is_none_or(|woken| woken.0.load(Ordering::Relaxed));
        if !self.is_open() || self.outbox.waiting() <= LIMIT / 2 {
            prop_assert!(woken(&self.room), "there is room, and who waits for it is not told");
            self.room = None;
        }
        if !self.is_open() {
            prop_assert!(woken(&self.end), "it has ended, and who waits for that is not told");
            self.end = None;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn all_that_is_taken_in_is_written_once_in_order_and_nobody_waits_in_vain(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        // Whoever has it goes on to its end.
        for _ in 0..20 {
            world.step(Step::Write(usize::MAX))?;
            world.step(Step::Next)?;
        }
        prop_assert!(world.held || world.ended || world.queue.is_empty() && world.taken.is_empty());
    }
}
