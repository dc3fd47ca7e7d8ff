use proptest::prelude::*;

use super::*;

#[test]
fn the_first_copy_is_the_beginning() {
    let mut s = Sequencer::default();
    assert_eq!(s.live(10, 7), Step::Deliver);
    assert_eq!(s.live(10, 7), Step::Duplicate);
    assert_eq!(s.live(12, 10), Step::Deliver);
    assert_eq!(s.live(15, 14), Step::Hold { begin: true });
    assert_eq!(s.live(16, 15), Step::Hold { begin: false });
    assert_eq!(s.read_after(), Some(12));
    assert!(s.read(14) && s.read(15));
    assert!(!s.is_closed(), "16 is known of");
    assert!(s.read(16) && s.is_closed());
    assert_eq!(s.live(17, 16), Step::Deliver);
}

/// A sweep waits for nobody before delivery has begun, and does not come back to what it has passed.
#[test]
fn a_copy_of_long_ago_does_not_begin_before_what_is_known_of() {
    let mut s = Sequencer::default();
    assert!(!s.expect(5) && s.is_past(5), "the sweep goes on");
    assert_eq!(s.live(1, 0), Step::Duplicate);
    assert_eq!((s.position(), s.is_behind()), (Some(5), false));
    assert!(!s.is_current(4), "who has less reads the log");
    assert_eq!(s.live(6, 5), Step::Deliver);
}

#[test]
fn trimming_is_no_hole() {
    let mut s = Sequencer::default();
    assert_eq!(s.live(10, 0), Step::Deliver);
    assert_eq!(s.live(20, 0), Step::Deliver, "the log forgot all before it");
    assert_eq!(s.live(30, 10), Step::Deliver, "an older one was the last before it");
}

#[test]
fn a_new_log_is_read_from_its_beginning() {
    let mut s = Sequencer::default();
    assert_eq!(s.live(1000, 999), Step::Deliver);
    s.restart(0);
    assert_eq!(s.live(3, 2), Step::Hold { begin: true });
    assert_eq!(s.read_after(), Some(0));
    assert!(s.read(1) && s.read(2) && s.read(3) && s.is_closed());
    s.restart(0);
    assert!(s.expect(2) && !s.expect(2));
    assert!(s.read(1) && s.read(2) && s.is_closed() && !s.expect(2));
}

#[test]
fn a_log_that_lost_its_end_goes_on_from_where_it_is_the_same() {
    let mut s = Sequencer::default();
    assert_eq!(s.live(1000, 999), Step::Deliver);
    s.restart(600);
    assert!(s.is_current(600) && !s.is_current(500) && !s.is_behind());
    assert_eq!(s.live(601, 550), Step::Deliver);
    assert_eq!(s.live(603, 602), Step::Hold { begin: true });
    assert_eq!(s.read_after(), Some(601));
}

proptest! {
    /// Whatever copies are lost, doubled or late: what is delivered ascends, and once a copy of the last message
    /// has come and the holes are read, nothing after the first is missing.
    #[test]
    fn nothing_is_skipped(count in 2u64..40, seed in prop::collection::vec((0u64..40, any::<bool>()), 0..120)) {
        // The target's messages have every third sequence of the log.
        let log: Vec<u64> = (1..=count).map(|i| i * 3).collect();
        let previous = |s: u64| s.saturating_sub(3);
        let mut s = Sequencer::default();
        let mut out = Vec::new();
        let mut copies: Vec<(u64, bool)> = seed.iter().map(|&(i, lag)| (log[usize::try_from(i % count).unwrap()], lag)).collect();
        copies.insert(0, (log[0], false));
        copies.push((log[log.len() - 1], false));
        for (sequence, lagging) in copies {
            match s.live(sequence, previous(sequence)) {
                Step::Deliver => out.push(sequence),
                Step::Duplicate => {}
                Step::Hold { .. } => {
                    let after = s.read_after().unwrap();
                    let upto = if lagging { sequence.saturating_sub(3) } else { u64::MAX };
                    for &entry in log.iter().filter(|e| **e > after && **e <= upto) {
                        if s.read(entry) { out.push(entry) }
                    }
                    s.is_closed();
                }
            }
        }
        prop_assert!(out.windows(2).all(|w| w[0] < w[1]), "{:?}", out);
        prop_assert_eq!(out, log);
    }
}
