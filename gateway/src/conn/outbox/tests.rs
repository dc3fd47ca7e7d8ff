use super::*;

mod machine;

fn frame(n: usize) -> Bytes {
    vec![b'x'; n].into()
}

const QUEUED: Pushed = Pushed::Queued(Handover::No);
const HANDED: Pushed = Pushed::Queued(Handover::Needed);

#[test]
fn it_is_bounded_in_bytes_and_what_is_being_written_counts() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(60)), HANDED);
    assert_eq!(outbox.push(frame(60)), Pushed::Full);
    assert_eq!(outbox.push(frame(40)), QUEUED);
    assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.len() == 2));
    assert_eq!(outbox.push(frame(1)), Pushed::Full, "taken is not written");
    assert_eq!(outbox.next(100), None);
    assert_eq!(outbox.push(frame(1)), HANDED, "it was let go");
}

#[test]
fn a_frame_larger_than_all_passes_alone() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(500)), HANDED);
    assert_eq!(outbox.push(frame(1)), Pushed::Full);
}

#[test]
fn frames_of_no_size_are_counted_too() {
    let outbox = Outbox::new(1 << 20);
    let queued = (0..1_000_000)
        .take_while(|_| outbox.push(frame(2)) != Pushed::Full)
        .count();
    assert_eq!(queued, FEW + (1 << 20) / LEAST_BYTES);
    assert_eq!(outbox.push_answer(frame(2)), Handover::No, "answers have their slack");
    assert!(outbox.is_open());
}

#[test]
fn large_answers_leave_room_for_pushes() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push_large(frame(80)), HANDED, "alone it passes");
    assert_eq!(outbox.push_large(frame(1)), Pushed::Full);
    assert_eq!(outbox.push(frame(20)), QUEUED);
    assert!(matches!(outbox.next(0), Some(Work::Write(_))));
    outbox.wrote(70);
    assert_eq!(outbox.push_large(frame(20)), QUEUED);
    assert_eq!(outbox.push_large(frame(1)), Pushed::Full);
}

#[test]
fn frames_are_taken_from_the_front() {
    let mut frames = Frames::default();
    for n in [3, 4, 5] {
        frames.push_back(frame(n));
    }
    frames.push_front(frame(2));
    frames.advance(6);
    assert!(frames.iter().map(Bytes::len).eq([3, 5]));
    frames.advance(8);
    assert!(frames.is_empty());
}

#[test]
fn one_at_a_time_has_the_connection_and_nothing_is_left_behind() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(1)), HANDED);
    assert_eq!(outbox.push(frame(2)), QUEUED);
    assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.len() == 2));
    assert_eq!(
        outbox.push(frame(3)),
        QUEUED,
        "the one who writes will come back for it"
    );
    assert_eq!(outbox.close(Ending::Code(CloseCode::Kicked)), Handover::No);
    assert!(matches!(outbox.next(3), Some(Work::Write(frames)) if frames.len() == 1));
    assert!(matches!(outbox.next(3), Some(Work::Close(_))));
}

#[test]
fn the_first_end_wins_and_comes_after_what_waits() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(10)), HANDED);
    assert_eq!(outbox.close(Ending::Code(CloseCode::Kicked)), Handover::No);
    assert_eq!(outbox.close(Ending::Code(CloseCode::ShuttingDown)), Handover::No);
    assert_eq!(outbox.push(frame(10)), Pushed::Closed);
    assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.len() == 1));
    let kicked = Ending::Code(CloseCode::Kicked);
    assert_eq!(outbox.next(10), Some(Work::Close(kicked)));
    outbox.end();
    assert_eq!(outbox.next(0), None);
}

#[test]
fn a_slow_consumers_queue_is_dropped() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(10)), HANDED);
    assert_eq!(outbox.close(Ending::Code(CloseCode::SlowConsumer)), Handover::No);
    assert!(matches!(outbox.next(0), Some(Work::Close(_))));
}

#[test]
fn the_welcome_comes_first() {
    let outbox = Outbox::new(100);
    outbox.hold();
    assert_eq!(outbox.push(frame(10)), QUEUED, "held back");
    assert_eq!(outbox.release(Some(frame(1))), Handover::Needed);
    assert!(matches!(outbox.next(0), Some(Work::Write(frames)) if frames.iter().map(Bytes::len).eq([1, 10])));
    assert_eq!(outbox.next(11), None);
    outbox.hold();
    assert_eq!(outbox.push(frame(10)), QUEUED);
    assert_eq!(outbox.release(None), Handover::No);
    assert_eq!(outbox.next(0), None);
    outbox.hold();
    assert_eq!(outbox.push(frame(10)), QUEUED);
    assert_eq!(outbox.close(Ending::Code(CloseCode::ShuttingDown)), Handover::Needed);
    assert!(matches!(outbox.next(0), Some(Work::Close(_))));
}

#[test]
fn answers_have_slack_and_then_end_the_connection() {
    let outbox = Outbox::new(100);
    assert_eq!(outbox.push(frame(100)), HANDED);
    assert_eq!(outbox.push_answer(frame(50)), Handover::No);
    assert!(outbox.is_open());
    assert_eq!(outbox.push_answer(frame(ANSWER_SLACK)), Handover::No);
    assert_eq!(outbox.ending(), Some(Ending::Code(CloseCode::SlowConsumer)));
}

#[test]
fn what_opens_the_connection_comes_first_whatever_becomes_of_it() {
    let first = |outbox: &Outbox| match outbox.next(0) {
        Some(Work::Write(frames)) => frames.iter().map(Bytes::len).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let outbox = Outbox::taken(100);
    outbox.hold();
    assert_eq!(outbox.push(frame(2)), QUEUED);
    assert_eq!(outbox.release(Some(frame(3))), Handover::No, "it has no socket yet");
    outbox.open(frame(1));
    assert_eq!(first(&outbox), [1, 3, 2]);
    // Its end began before it was welcomed.
    let outbox = Outbox::taken(100);
    outbox.hold();
    assert_eq!(outbox.close(Ending::Code(CloseCode::Replaced)), Handover::No);
    assert_eq!(outbox.release(Some(frame(3))), Handover::No);
    outbox.open(frame(1));
    assert_eq!(first(&outbox), [1]);
    assert_eq!(outbox.next(1), Some(Work::Close(Ending::Code(CloseCode::Replaced))));
    // Its end begins before anything is written, and what waits is dropped.
    let outbox = Outbox::taken(100);
    assert_eq!(outbox.push(frame(90)), QUEUED);
    outbox.open(frame(1));
    assert_eq!(outbox.close(Ending::Code(CloseCode::SlowConsumer)), Handover::No);
    assert_eq!(first(&outbox), [1]);
    assert_eq!(outbox.next(1), Some(Work::Close(Ending::Code(CloseCode::SlowConsumer))));
}
