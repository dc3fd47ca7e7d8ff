use proptest::prelude::*;

use super::*;
use crate::conn::receive::tests::frame;

/// All that comes of these pieces, how it broke the rules, and how many bytes were in by then.
fn receive<'a>(pieces: impl Iterator<Item = &'a [u8]>, max: usize) -> (Vec<Received>, Option<Broken>, usize) {
    let mut frames = Frames::new(max);
    let (mut got, mut come) = (Vec::new(), 0);
    for piece in pieces {
        frames.put(piece);
        come += piece.len();
        loop {
            match frames.take() {
                Ok(Some(Received::Part)) => {}
                Ok(Some(received)) => got.push(received),
                Ok(None) => break,
                Err(broken) => return (got, Some(broken), come),
            }
        }
        assert!(frames.buffer.capacity() <= 2 * come + 64, "room grows with what comes");
    }
    (got, None, come)
}

fn code(code: CloseCode) -> Option<Broken> {
    Some(Broken(code))
}

/// Cut into single bytes: which byte gives it away.
#[test]
fn what_is_wrong_is_found_with_the_byte_that_is() {
    let invalid = b"\xce\xba\xf4\x90\x80\x80edited";
    let text = frame(0x81, invalid);
    let parts = [frame(0x01, b"a\xe1"), frame(0x89, b"p"), frame(0x80, b"\xbd\x20bc")].concat();
    let long_ping = [vec![0x89, 0xfe], vec![0; 130]].concat();
    for (what, bytes, expected, at) in [
        ("a reserved bit", frame(0xc1, b"a"), CloseCode::ProtocolError, 1),
        ("a reserved opcode", frame(0x8b, b"a"), CloseCode::ProtocolError, 1),
        ("a ping in fragments", frame(0x09, b"a"), CloseCode::ProtocolError, 1),
        ("no mask", vec![0x81, 0x05, b'h'], CloseCode::ProtocolError, 2),
        (
            "a ping that announces more than 125 bytes",
            long_ping,
            CloseCode::ProtocolError,
            2,
        ),
        (
            "a ping whose length is longer than it need be",
            vec![0x89, 0xff, 0, 0, 0, 0, 0, 0, 0, 13],
            CloseCode::ProtocolError,
            2,
        ),
        (
            "a length with its highest bit",
            vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1],
            CloseCode::ProtocolError,
            10,
        ),
        (
            "more than the limit announced",
            frame(0x82, &[0; 1001]),
            CloseCode::TooBig,
            8,
        ),
        (
            "a character beyond the last, in the fourth byte of its frame",
            text,
            CloseCode::InvalidPayload,
            6 + 4,
        ),
        (
            "a character cut by another, over a ping",
            parts,
            CloseCode::InvalidPayload,
            8 + 7 + 6 + 2,
        ),
    ] {
        assert_eq!(
            receive(bytes.chunks(1), 1000),
            (only_pings(&bytes), code(expected), at),
            "{what}"
        );
    }
}

fn only_pings(bytes: &[u8]) -> Vec<Received> {
    let pinged = bytes.windows(2).any(|two| two == [0x89, 0x81]);
    pinged
        .then(|| Received::Ping(Bytes::from_static(b"p")))
        .into_iter()
        .collect()
}

#[test]
fn a_text_of_which_only_the_head_has_come_is_looked_at_all_the_same() {
    let mut frames = Frames::new(1000);
    let bytes = frame(0x81, b"\xff\xff");
    frames.put(&bytes[..6]);
    assert_eq!(frames.take(), Ok(None));
    assert_eq!(frames.take(), Ok(None));
    frames.put(&bytes[6..]);
    assert_eq!(frames.take(), Err(NO_TEXT));
}

#[test]
fn what_is_announced_takes_no_room() {
    let mut frames = Frames::new(64 << 20);
    let mut head = frame(0x82, &[]);
    head[1] = 0xff;
    head.splice(2..2, (32_u64 << 20).to_be_bytes());
    frames.put(&head);
    assert_eq!(frames.take(), Ok(None));
    assert!(frames.room(4096).is_none() && frames.buffer.capacity() < 64);
    frames.put(&[0; 4096]);
    assert_eq!(frames.take(), Ok(None));
    let room = frames.room(4096).unwrap();
    assert!((8192..16_384).contains(&room.capacity()), "{}", room.capacity());
}

/// A message and how its frames are cut; texts anywhere, within characters too.
fn message() -> impl Strategy<Value = (Received, Vec<u8>)> {
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..4);
    let text = "\\PC{0,60}".prop_map(|text: String| (true, text.into_bytes()));
    let binary = prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (false, bytes));
    (prop_oneof![text, binary], cuts).prop_map(|((text, payload), cuts)| {
        let mut at: Vec<usize> = cuts.iter().map(|(cut, _)| cut.index(payload.len() + 1)).collect();
        at.sort_unstable();
        let mut bytes = Vec::new();
        let (mut begin, mut opcode) = (0, if text { 1 } else { 2 });
        for (end, (_, ping)) in at.into_iter().zip(&cuts) {
            bytes.extend(frame(opcode, &payload[begin..end]));
            if *ping {
                bytes.extend(frame(0x8a, b"between"));
            }
            (begin, opcode) = (end, 0);
        }
        bytes.extend(frame(0x80 | opcode, &payload[begin..]));
        let payload = payload.into();
        (
            if text {
                Received::Text(payload)
            } else {
                Received::Binary(payload)
            },
            bytes,
        )
    })
}

proptest! {
    #[test]
    fn however_they_are_cut_the_messages_are_the_same(messages in prop::collection::vec(message(), 0..6), size in 1_usize..400) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let (mut got, broken, _) = receive(bytes.chunks(size), 1000);
        got.retain(|received| !matches!(received, Received::Pong(_)));
        prop_assert_eq!(broken, None);
        prop_assert_eq!(got, messages.into_iter().map(|(message, _)| message).collect::<Vec<_>>());
    }

    #[test]
    fn garbage_ends_the_same_however_it_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        let (whole, cut) = (receive([&bytes[..]].into_iter(), 100), receive(bytes.chunks(size), 100));
        prop_assert_eq!((whole.0, whole.1), (cut.0, cut.1));
    }
}
