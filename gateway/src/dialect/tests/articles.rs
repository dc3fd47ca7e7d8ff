//! The dialects of the reference articles: exact frames, what becomes of messages between dialects, and that no input
//! does harm.

use herald_proto::ErrorCode;
use proptest::prelude::*;

use super::*;
use crate::event::{Connected, ErrorAnswer, Numbers, OCTETS, Sent};

const ALL: [Dialect; 5] = [
    Dialect::Im,
    Dialect::Opcode(1),
    Dialect::Echo,
    Dialect::Hub,
    Dialect::WsId,
];

/// A frame's opcode and payload.
fn parts(frame: &Bytes) -> (u8, &[u8]) {
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (frame[0] & 0x0f, &frame[head..])
}

fn text(frame: &Bytes) -> &str {
    let (opcode, payload) = parts(frame);
    assert_eq!(opcode, 1, "no text");
    std::str::from_utf8(payload).unwrap()
}

fn hex(frame: &Bytes) -> String {
    let (opcode, payload) = parts(frame);
    assert_eq!(opcode, 2, "no binary frame");
    payload.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn connected(user: &str) -> Answer {
    Answer::Connected(Box::new(Connected {
        user: user.to_owned(),
        ..Connected::default()
    }))
}

fn sent(online: Option<bool>) -> Answer {
    Answer::Sent(Sent {
        online,
        ..Sent::default()
    })
}

fn error(code: ErrorCode, message: &str) -> Answer {
    Answer::Error(ErrorAnswer {
        code,
        message: message.to_owned(),
        after_ms: None,
    })
}

/// What a receiver is pushed of a frame that `from` sent; None where it is not sent on.
fn passed(dialect: Dialect, from: &str, frame: &[u8], to: Dialect) -> Option<Bytes> {
    let inbound = dialect.decode(Some(from), false, Bytes::copy_from_slice(frame)).ok()?;
    let Command::Send(send) = inbound.command else {
        return None;
    };
    Some(to.push(&Push::Message(Message {
        id: "0197".to_owned(),
        from: Some(from.to_owned()),
        to: send.to,
        kind: send.kind,
        body: send.body,
        original: send.original.map(Box::new),
        time: 7,
        offset: None,
    })))
}

#[test]
fn welcome_and_pong_have_their_exact_bytes() {
    let welcome = Dialect::Im.answer(&Tag::None, &connected("alice"));
    assert_eq!(hex(&welcome), "1a0653797374656d2205616c6963652a0877656c636f6d6521");
    let heartbeat = Dialect::Im
        .decode(Some("alice"), true, Bytes::from_static(b"\x3a\x08heatbeat"))
        .unwrap();
    assert_eq!(heartbeat.command, Command::Ping);
    assert!(heartbeat.tag.wants_answer());
    let pong = Dialect::Im.answer(&heartbeat.tag, &Answer::Pong);
    assert_eq!(hex(&pong), "2a04706f6e673a086865617462656174");
}

#[test]
fn receipts_have_their_exact_bytes() {
    let read = |frame: &str| Dialect::WsId.decode(Some("1"), true, frame.to_owned().into()).unwrap();
    let one = read(r#"{"type":1,"sender":1,"receiver":2,"content":"hello"}"#);
    let answered = |answer| text(&Dialect::WsId.answer(&one.tag, &answer)).to_owned();
    assert_eq!(
        answered(sent(Some(true))),
        r#"{"type":2,"sender":1,"receiver":2,"content":"success send"}"#
    );
    assert_eq!(
        answered(sent(Some(false))),
        r#"{"type":2,"sender":1,"receiver":2,"content":"not online"}"#
    );
    assert_eq!(
        answered(sent(None)),
        r#"{"type":2,"sender":1,"receiver":2,"content":"success send"}"#
    );
    let without = read(r#"{"content":"x","receiver":2,"type":1,"send":1}"#);
    assert_eq!(
        text(&Dialect::WsId.answer(&without.tag, &sent(Some(true)))),
        r#"{"type":2,"sender":0,"receiver":2,"content":"success send"}"#
    );
    let all = read(r#"{"type":3,"sender":1,"content":"x"}"#);
    assert!(Dialect::WsId.answer(&all.tag, &sent(Some(true))).is_empty());
    let failed = error(ErrorCode::Forbidden, "no \"more\"");
    assert_eq!(
        text(&Dialect::WsId.answer(&all.tag, &failed)),
        r#"{"type":2,"sender":1,"receiver":0,"content":"no \"more\""}"#
    );
    assert!(Dialect::WsId.answer(&Tag::None, &connected("1")).is_empty());
    let numbers = Numbers {
        sender: 1,
        receiver: 2,
        receipt: true,
    };
    assert_eq!(one.tag, Tag::Numbers(Box::new(numbers)));
}

#[test]
fn opcode_frames_have_their_exact_bytes() {
    let sample = Bytes::from_static("\0\0\0\u{6e}我们都好".as_bytes());
    assert_eq!(sample.len(), 16);
    let read = Dialect::Opcode(1).decode(Some("a"), false, sample.clone()).unwrap();
    let Command::Routed { opcode: 110, body } = &read.command else {
        panic!("{read:?}")
    };
    let result = Answer::Result(Body {
        bytes: body.clone(),
        content_type: OCTETS.to_owned(),
    });
    assert_eq!(parts(&Dialect::Opcode(1).answer(&read.tag, &result)), (2, &sample[..]));
    let failed = Dialect::Opcode(1).answer(&read.tag, &error(ErrorCode::Timeout, "m"));
    assert_eq!(
        parts(&failed),
        (
            2,
            &b"\xff\xff\xff\xff{\"opcode\":110,\"code\":\"timeout\",\"message\":\"m\"}"[..]
        )
    );
    let push = Dialect::Opcode(258).push(&message(Body {
        bytes: "1".into(),
        content_type: String::new(),
    }));
    let (opcode, payload) = parts(&push);
    assert_eq!((opcode, &payload[..5]), (2, &b"\0\0\x01\x02{"[..]));
}

#[test]
fn the_login_comes_back_and_messages_go_as_they_are() {
    let login = Bytes::from_static(br#"{"token": "t", "more":[1]}"#);
    let read = Dialect::Hub.decode(None, true, login.clone()).unwrap();
    assert!(matches!(&read.command, Command::Connect(connect) if connect.token == "t"));
    assert_eq!(parts(&Dialect::Hub.answer(&read.tag, &connected("a"))), (1, &login[..]));
    let frame = br#"{"ToUserID":"bob", "n":1.50}"#;
    let push = passed(Dialect::Hub, "alice", frame, Dialect::Hub).unwrap();
    assert_eq!(parts(&push), (1, &frame[..]));
    let error = Dialect::Hub.answer(&Tag::None, &error(ErrorCode::BadRequest, "m"));
    assert_eq!(
        text(&error),
        r#"{"error":{"code":"bad_request","message":"m","retry":false}}"#
    );
}

#[test]
fn messages_become_what_the_other_dialect_has() {
    let of_ws_id = br#"{"type":1,"receiver":2,"content":"hi"}"#;
    let of_im = b"\x22\x012\x2a\x02hi\x30\x01\x40\x01";
    let of_hub = br#"{"ToUserID":"2","a":1}"#;
    let to = |dialect, frame: &[u8], to| passed(dialect, "1", frame, to).unwrap();
    let native = |body: &str| format!(r#"{{"id":"0197","from":"1","to":{{"user":"2"}},"body":{body},"time":7}}"#);
    let pushed = |body: &str| format!(r#"{{"message":{}}}"#, native(body));
    assert_eq!(text(&to(Dialect::WsId, of_ws_id, Dialect::Json)), pushed(r#""hi""#));
    assert_eq!(text(&to(Dialect::Im, of_im, Dialect::Json)), pushed(r#""hi""#));
    assert_eq!(
        text(&to(Dialect::Hub, of_hub, Dialect::Json)),
        pushed(r#"{"ToUserID":"2","a":1}"#)
    );
    assert_eq!(text(&to(Dialect::WsId, of_ws_id, Dialect::Hub)), native(r#""hi""#));
    assert_eq!(
        text(&to(Dialect::Im, of_im, Dialect::WsId)),
        r#"{"type":1,"sender":1,"receiver":2,"content":"hi"}"#
    );
    assert_eq!(
        text(&to(Dialect::Hub, of_hub, Dialect::WsId)),
        r#"{"type":1,"sender":1,"receiver":2,"content":"{\"ToUserID\":\"2\",\"a\":1}"}"#
    );
    // name 1, from 1, to 2, content hi, text, to a user
    assert_eq!(
        hex(&to(Dialect::WsId, of_ws_id, Dialect::Im)),
        "1201311a01312201322a02686930014001"
    );
    let file = b"\x22\x012\x2a\x01f\x30\x02\x5a\x02\x00\xff";
    assert_eq!(
        text(&to(Dialect::Im, file, Dialect::Json)),
        r#"{"message":{"id":"0197","from":"1","to":{"user":"2"},"body_base64":"AP8=","content_type":"application/octet-stream","time":7}}"#
    );
    assert!(text(&to(Dialect::Im, file, Dialect::WsId)).ends_with(r#""content":"AP8="}"#));
}

#[test]
fn what_is_not_known_passes_through() {
    // Fields 1, 99 and 6 beside the text, in an order of its own; a sender that is another's.
    let frame = b"\x0a\x01a\x1a\x03eve\x22\x03bob\x9a\x06\x01x\x2a\x02hi\x30\x01";
    let push = passed(Dialect::Im, "alice", frame, Dialect::Im).unwrap();
    let (_, payload) = parts(&push);
    assert_eq!(
        payload,
        b"\x0a\x01a\x1a\x05alice\x22\x03bob\x2a\x02hi\x9a\x06\x01x\x30\x01"
    );
    // To a group: its members get it from the group.
    let frame = b"\x22\x02g1\x2a\x02hi\x30\x01\x40\x02";
    let push = passed(Dialect::Im, "alice", frame, Dialect::Im).unwrap();
    assert_eq!(parts(&push).1, b"\x1a\x02g1\x22\x05alice\x2a\x02hi\x30\x01\x40\x02");
}

#[test]
fn calls_are_live_and_to_one_user() {
    let send = |frame: &'static [u8]| {
        let read = Dialect::Im.decode(Some("alice"), false, Bytes::from_static(frame));
        match read.unwrap().command {
            Command::Send(send) => Ok((send.to, send.durable)),
            other => Err(other),
        }
    };
    assert_eq!(send(b"\x22\x01b\x30\x05"), Ok((Target::user("b"), true)));
    assert_eq!(send(b"\x22\x01b\x30\x06"), Ok((Target::user("b"), false)));
    assert_eq!(send(b"\x22\x01b\x30\x01\x3a\x06webrtc"), Ok((Target::user("b"), false)));
    assert_eq!(send(b"\x22\x01b\x30\x07\x40\x01"), Ok((Target::user("b"), false)));
    assert_eq!(send(b"\x30\x01"), Ok((Target::All, true)));
    // Numbers are 32 bits to whoever receives them: 2^32 + 6, 2^32 + 2 and -5.
    let (call, stored) = (
        b"\x22\x01b\x30\x86\x80\x80\x80\x10",
        b"\x22\x01b\x30\xfb\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    );
    assert_eq!(send(call), Ok((Target::user("b"), false)));
    assert_eq!(send(stored), Ok((Target::user("b"), true)));
    let group = b"\x22\x01b\x2a\x02hi\x30\x01\x40\x82\x80\x80\x80\x10";
    assert_eq!(send(group), Ok((Target::group("b"), true)), "which asks for membership");
    // To nobody, or to a group: the sender is told.
    for none in [&b"\x30\x07"[..], b"\x3a\x06webrtc", b"\x22\x01g\x30\x07\x40\x02"] {
        assert!(matches!(send(none), Err(Command::Faulty(_))));
    }
}

/// Neither a user nor a group of that name passes for the server, in a message of any dialect.
#[test]
fn nobody_passes_for_the_server() {
    let text = b"\x22\x03bob\x2a\x02hi\x30\x01";
    let of_im = passed(Dialect::Im, "System", text, Dialect::Im).unwrap();
    let of_hub = passed(Dialect::Hub, "System", br#"{"ToUserID":"bob"}"#, Dialect::Im).unwrap();
    let group = passed(
        Dialect::Im,
        "alice",
        b"\x22\x06System\x2a\x02hi\x30\x01\x40\x02",
        Dialect::Im,
    )
    .unwrap();
    let mut from_server = 0;
    for frame in [of_im, of_hub, group, Dialect::Im.answer(&Tag::None, &connected("bob"))] {
        let frame = String::from_utf8_lossy(parts(&frame).1).into_owned();
        from_server += usize::from(frame.contains("\u{1a}\u{6}System\""));
        assert!(
            frame.contains("System (not the server)") || frame.ends_with("welcome!"),
            "{frame:?}"
        );
    }
    assert_eq!(from_server, 1, "the welcome is the server's");
}

/// What one frame may make of memory: text is escaped at most sixfold, what is not UTF-8 is refused.
fn is_bounded(frame: &[u8], inbound: &Inbound) -> bool {
    let most = 6 * frame.len() + 256;
    match &inbound.command {
        Command::Send(send) => {
            let original = send.original.as_ref().map_or(0, |original| original.bytes.len());
            send.body.bytes.len() + original <= most
        }
        Command::Routed { body, .. } => body.len() <= most,
        Command::Echo { payload, .. } => payload.len() <= most,
        Command::Faulty(why) => why.len() <= 4 * 256,
        _ => true,
    }
}

fn harmless(dialect: Dialect, user: Option<&str>, is_text: bool, frame: &[u8]) {
    if is_text && std::str::from_utf8(frame).is_err() {
        return; // it would not have come as text
    }
    let Ok(inbound) = dialect.decode(user, is_text, Bytes::copy_from_slice(frame)) else {
        return;
    };
    assert!(is_bounded(frame, &inbound), "{dialect:?} {frame:?}: {inbound:?}");
    for answer in [
        sent(Some(true)),
        Answer::Pong,
        error(ErrorCode::Internal, "m"),
        connected("u"),
    ] {
        dialect.answer(&inbound.tag, &answer);
    }
    if let Command::Send(send) = inbound.command {
        let push = Push::Message(Message {
            id: "0197".to_owned(),
            from: user.map(str::to_owned),
            to: send.to,
            kind: send.kind,
            body: send.body,
            original: send.original.map(Box::new),
            time: 7,
            offset: None,
        });
        for receiver in ALL.into_iter().chain([Dialect::Json, Dialect::Proto]) {
            let pushed = receiver.push(&push);
            let is_text = !pushed.is_empty() && parts(&pushed).0 == 1;
            assert!(
                !is_text || std::str::from_utf8(parts(&pushed).1).is_ok(),
                "{receiver:?}"
            );
            assert!(
                pushed.len() <= 8 * frame.len() + 1024,
                "{receiver:?}: {} bytes",
                pushed.len()
            );
        }
    }
}

/// Protobuf fields, known and unknown, well formed.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let bytes = (1_u8..16, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(number, bytes)| {
        let mut field = vec![number << 3 | 2, bytes.len().to_le_bytes()[0]];
        field.extend(bytes);
        field
    });
    let text = (1_u8..16, "[a-zA-Z\u{1}é]{0,12}").prop_map(|(number, text)| {
        let mut field = vec![number << 3 | 2, text.len().to_le_bytes()[0]];
        field.extend(text.bytes());
        field
    });
    let number = (1_u8..16, 0_u8..128).prop_map(|(number, value)| vec![number << 3, value]);
    prop::collection::vec(prop_oneof![bytes, text, number], 0..12).prop_map(|fields| fields.concat())
}

/// JSON of the kind that the hubs take, and near it.
fn json_like() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("1".to_owned()),
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("1e999".to_owned()),
        Just("[[[{}]]]".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        any::<u64>().prop_map(|number| number.to_string()),
        "[a-z\"\\\\é\u{1}]{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\\PC{0,10}",
    ];
    let key = prop::sample::select(vec![
        "type", "TYPE", "sender", "receiver", "content", "ToUserID", "token", "UserID", "user", "x",
    ]);
    prop::collection::vec((key, value), 0..8).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", pairs.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_do_harm(frame in prop::collection::vec(any::<u8>(), 0..300), is_text: bool, known: bool) {
        for dialect in ALL {
            harmless(dialect, known.then_some("7"), is_text, &frame);
        }
    }

    #[test]
    fn no_fields_do_harm(frame in fields(), cut in 0_usize..20) {
        harmless(Dialect::Im, Some("7"), false, &frame);
        harmless(Dialect::Im, Some("7"), false, &frame[..frame.len().saturating_sub(cut)]);
    }

    #[test]
    fn no_json_does_harm(frame in json_like(), known: bool) {
        for dialect in [Dialect::Hub, Dialect::WsId] {
            harmless(dialect, known.then_some("7"), true, frame.as_bytes());
        }
    }

    /// However its fields stand: only `from` and `to` are the server's.
    #[test]
    fn a_message_keeps_all_but_its_ends(frame in fields()) {
        if let Some(push) = passed(Dialect::Im, "alice", &frame, Dialect::Im) {
            let again = passed(Dialect::Im, "alice", parts(&push).1, Dialect::Im);
            // To a group its sender stands where the group was.
            if !frame.windows(2).any(|field| field == b"\x40\x02") && again.is_some() {
                prop_assert_eq!(again, Some(push));
            }
        }
    }
}
