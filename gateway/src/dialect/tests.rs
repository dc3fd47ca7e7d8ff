use herald_proto::{Target, client as pb, cluster};
use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::event::{Body, Command, History, HistoryOf, HistoryQuery, Message, Send, Tag};

mod articles;
mod call;
mod presence;

fn json_frame(value: &Value) -> Result<Inbound, BadFrame> {
    Dialect::Json.decode(None, true, value.to_string().into())
}

fn message(body: Body) -> Push {
    Push::Message(Message {
        id: "0197".to_owned(),
        from: Some("alice".to_owned()),
        to: Target::group("g1"),
        kind: None,
        body,
        original: None,
        time: 7,
        offset: Some("5f3a.0:58".to_owned()),
    })
}

#[test]
fn both_dialects_read_the_same_send() {
    let expected = Command::Send(Box::new(Send {
        to: Target::user("bob"),
        body: Body {
            bytes: r#"{"a": 1}"#.into(),
            content_type: String::new(),
        },
        original: None,
        kind: Some("chat".to_owned()),
        durable: true,
        key: Some("k-1".to_owned()),
        ttl: 3600,
        copy: true,
    }));
    let text = r#"{"id":2,"send":{"to":{"user":"bob"},"body":{"a": 1},"kind":"chat","key":"k-1","ttl":3600,"copy":true,"later":1},"x":[]}"#;
    let read = Dialect::Json.decode(None, true, text.into()).unwrap();
    assert_eq!(
        read,
        Inbound {
            tag: Tag::Id(2),
            command: expected.clone()
        }
    );

    let frame = pb::ClientFrame {
        id: 2,
        send: Some(pb::Send {
            to: Some(pb::Target {
                user: Some("bob".to_owned()),
                ..Default::default()
            }),
            body: r#"{"a": 1}"#.into(),
            kind: Some("chat".to_owned()),
            key: Some("k-1".to_owned()),
            ttl: Some(3600),
            copy: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    };
    let read = Dialect::Proto
        .decode(None, false, frame.encode_to_vec().into())
        .unwrap();
    assert_eq!(
        read,
        Inbound {
            tag: Tag::Id(2),
            command: expected
        }
    );
}

#[test]
fn both_dialects_read_the_same_history() {
    let proto = |history: pb::HistoryQuery| {
        let frame = pb::ClientFrame {
            id: 6,
            history: Some(history),
            ..Default::default()
        };
        let read = Dialect::Proto.decode(None, false, frame.encode_to_vec().into());
        read.unwrap().command
    };
    let expected = Command::History(HistoryQuery {
        of: HistoryOf::Group("g1".to_owned()),
        after: Some("5f3a.0:12".to_owned()),
        before: None,
        limit: Some(50),
    });
    let text = r#"{"id":6,"history":{"of":{"group":"g1","all":false},"after":"5f3a.0:12","limit":50}}"#;
    assert_eq!(Dialect::Json.decode(None, true, text.into()).unwrap().command, expected);
    let query = pb::HistoryQuery {
        group: Some("g1".to_owned()),
        after: Some("5f3a.0:12".to_owned()),
        limit: Some(50),
        ..Default::default()
    };
    assert_eq!(proto(query), expected);

    let plain = |of| {
        Command::History(HistoryQuery {
            of,
            after: None,
            before: None,
            limit: None,
        })
    };
    let json = |history: Value| json_frame(&json!({"id": 6, "history": history}));
    let user = pb::HistoryQuery {
        user: Some(true),
        ..Default::default()
    };
    let all = pb::HistoryQuery {
        all: Some(true),
        ..Default::default()
    };
    assert_eq!(
        json(json!({"of": {"user": true}})).unwrap().command,
        plain(HistoryOf::Inbox)
    );
    assert_eq!(
        json(json!({"of": {"all": true}})).unwrap().command,
        plain(HistoryOf::All)
    );
    assert_eq!(proto(user.clone()), plain(HistoryOf::Inbox));
    assert_eq!(proto(all), plain(HistoryOf::All));

    for bad in [
        json!({"of": {}}),
        json!({"of": {"user": false}}),
        json!({"of": {"user": true, "all": true}}),
        json!({"of": {"user": true, "group": "g"}}),
        json!({"of": {"user": true}, "limit": 0}),
    ] {
        let read = json(bad.clone()).unwrap().command;
        assert!(matches!(read, Command::Faulty(_)), "{bad}: {read:?}");
    }
    for bad in [
        json!({}),
        json!({"of": {"user": "bob"}}),
        json!({"of": ["g"]}),
        json!({"of": {"all": true}, "limit": -1}),
    ] {
        assert_eq!(json(bad.clone()).unwrap_err().tag, Tag::Id(6), "{bad}");
    }
    let none = pb::HistoryQuery { limit: Some(0), ..user };
    for bad in [none, pb::HistoryQuery::default()] {
        assert!(matches!(proto(bad), Command::Faulty(_)));
    }
}

#[test]
fn frames_that_are_no_command_say_why_and_which() {
    for (frame, id) in [
        (json!({"id": 3, "ping": {}, "join": {"group": "g"}}), Some(3)),
        (json!({"id": 4, "dance": {}}), Some(4)),
        (json!({"id": 5, "send": {"to": ["bob", null, null]}}), Some(5)),
        (json!({"id": 6, "ping": []}), Some(6)),
        (json!({"id": 7, "join": ["g"]}), Some(7)),
        (json!([1, null, null, {"group": "g"}]), None),
        (json!({"id": 8, "join": {"group": 8}}), Some(8)),
        (json!({"id": 0, "ping": {}}), None),
        (json!({"id": -1, "ping": {}}), None),
        (json!({"id": 4_294_967_296_u64, "ping": {}}), None),
        (json!([]), None),
        (json!("ping"), None),
    ] {
        let bad = json_frame(&frame).unwrap_err();
        assert_eq!(bad.tag, Tag::from(id), "{frame}");
        assert_eq!(bad.failure.code, herald_proto::ErrorCode::BadRequest);
    }
    assert!(Dialect::Json.decode(None, true, "no json".into()).is_err());
    assert!(Dialect::Json.decode(None, false, "{}".into()).is_err());
    assert!(
        Dialect::Proto
            .decode(None, false, Bytes::from_static(b"\xff\xff"))
            .is_err()
    );
    let two = pb::ClientFrame {
        ping: Some(pb::Ping {}),
        join: Some(pb::Join { group: "g".to_owned() }),
        ..Default::default()
    };
    assert!(Dialect::Proto.decode(None, false, two.encode_to_vec().into()).is_err());
}

#[test]
fn commands_with_a_fault_are_told_why() {
    let faulty = |read: Result<Inbound, BadFrame>| matches!(read.unwrap().command, Command::Faulty(_));
    for send in [
        json!({"to": {"user": "a", "group": "b"}}),
        json!({"to": {}}),
        json!({"to": {"user": "x".repeat(129)}}),
        json!({"to": {"user": ""}}),
        json!({"to": {"all": true}, "key": "k".repeat(129)}),
    ] {
        assert!(faulty(json_frame(&json!({"id": 1, "send": send}))), "{send}");
    }
    for body in [r#""\ud800""#, r#"{"\udc00":1}"#, "1e999"] {
        let text = format!(r#"{{"id":1,"send":{{"to":{{"all":true}},"body":{body}}}}}"#);
        let read = Dialect::Json.decode(None, true, text.clone().into());
        assert!(read.is_err() || faulty(read), "{text}");
    }
    let send = |body: &'static [u8], content_type: &str| pb::ClientFrame {
        send: Some(pb::Send {
            to: Some(pb::Target {
                all: Some(true),
                ..Default::default()
            }),
            body: Bytes::from_static(body),
            content_type: content_type.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let read = |frame: pb::ClientFrame| Dialect::Proto.decode(None, false, frame.encode_to_vec().into());
    assert!(faulty(read(send(b"}{", ""))));
    assert!(faulty(read(send(b"}{", "Application/JSON; charset=utf-8"))));
    assert!(!faulty(read(send(b"}{", "text/plain"))));
    assert!(!faulty(read(send(b"{}", "Application/JSON; charset=utf-8"))));
}

#[test]
fn json_pushes_have_their_exact_bytes() {
    let body = Body {
        bytes: r#"{"a": [1, "é"]}"#.into(),
        content_type: String::new(),
    };
    let text = r#"{"message":{"id":"0197","from":"alice","to":{"group":"g1"},"body":{"a": [1, "é"]},"time":7,"offset":"5f3a.0:58"}}"#;
    let frame = Dialect::Json.push(&message(body));
    assert_eq!(frame[..2], [0x81, text.len().to_le_bytes()[0]]);
    assert_eq!(frame[2..], *text.as_bytes());

    let body = Body {
        bytes: Bytes::from_static(b"\x00\xff"),
        content_type: "application/x".to_owned(),
    };
    let frame = Dialect::Json.push(&message(body));
    let head = if frame[1] == 126 { 4 } else { 2 };
    let value: Value = serde_json::from_slice(&frame[head..]).unwrap();
    assert_eq!(value["message"]["body_base64"], "AP8=");
    assert_eq!(value["message"]["content_type"], "application/x");
    assert!(value["message"].get("body").is_none());

    let push = Push::Group {
        group: "g1".to_owned(),
        joined: true,
    };
    assert_eq!(
        Dialect::Json.push(&push)[2..],
        *br#"{"group":{"group":"g1","joined":true}}"#
    );
}

#[test]
fn json_answers_have_their_exact_bytes() {
    let text = |answer: &Answer| {
        let frame = Dialect::Json.answer(&Tag::Id(9), answer);
        let head = if frame[1] == 126 { 4 } else { 2 };
        String::from_utf8(frame[head..].to_vec()).unwrap()
    };
    assert_eq!(text(&Answer::Pong), r#"{"id":9,"pong":{}}"#);
    assert_eq!(
        text(&Answer::Joined { group: "g1".to_owned() }),
        r#"{"id":9,"joined":{"group":"g1"}}"#
    );
    let mut sent = cluster::Sent {
        id: "0197".to_owned(),
        sequence: 58,
        log: "5f3a.0".to_owned(),
        time: 7,
        ..cluster::Sent::default()
    };
    assert_eq!(
        text(&Answer::Sent(sent.clone().into())),
        r#"{"id":9,"sent":{"id":"0197","offset":"5f3a.0:58","duplicate":false,"time":7}}"#
    );
    // Of what is no longer kept.
    (sent.id, sent.time, sent.duplicate) = (String::new(), 0, true);
    assert_eq!(
        text(&Answer::Sent(sent.into())),
        r#"{"id":9,"sent":{"offset":"5f3a.0:58","duplicate":true}}"#
    );
    let failure = herald_router::failure::Failure::forbidden("not a member of g1");
    assert_eq!(
        text(&failure.into()),
        r#"{"id":9,"error":{"code":"forbidden","message":"not a member of g1","retry":false}}"#
    );
}

#[test]
fn a_history_holds_messages_as_they_are_pushed() {
    let of = |body: Body| match message(body) {
        Push::Message(message) => message,
        other => panic!("{other:?}"),
    };
    let json = Body {
        bytes: r#"{"a": 1}"#.into(),
        content_type: String::new(),
    };
    let other = Body {
        bytes: Bytes::from_static(b"\x00\xff"),
        content_type: "application/x".to_owned(),
    };
    let history = Answer::History(History {
        messages: vec![of(json), of(other)],
        more: true,
        gap: false,
    });
    let text = r#"{"id":6,"history":{"messages":[{"id":"0197","from":"alice","to":{"group":"g1"},"body":{"a": 1},"time":7,"offset":"5f3a.0:58"},{"id":"0197","from":"alice","to":{"group":"g1"},"body_base64":"AP8=","content_type":"application/x","time":7,"offset":"5f3a.0:58"}],"more":true,"gap":false}}"#;
    let frame = Dialect::Json.answer(&Tag::Id(6), &history);
    assert_eq!(std::str::from_utf8(&frame[4..]), Ok(text));
    let empty = Answer::History(History::default());
    let frame = Dialect::Json.answer(&Tag::Id(6), &empty);
    assert_eq!(
        frame[2..],
        *br#"{"id":6,"history":{"messages":[],"more":false,"gap":false}}"#
    );

    let frame = Dialect::Proto.answer(&Tag::Id(6), &history);
    let read = pb::ServerFrame::decode(&frame[4..]).unwrap();
    let Some(pb::server_frame::Frame::History(read)) = read.frame else {
        panic!("{read:?}")
    };
    assert!(read.more && !read.gap);
    let bodies: Vec<(&[u8], &str)> = read.messages.iter().map(|m| (&m.body[..], &*m.content_type)).collect();
    assert_eq!(
        bodies,
        [
            (&br#"{"a": 1}"#[..], "application/json"),
            (b"\x00\xff", "application/x")
        ]
    );
    assert!(read.messages.iter().all(|m| m.offset.as_deref() == Some("5f3a.0:58")));
}

#[test]
fn a_push_is_encoded_once_for_each_dialect() {
    let push = message(Body {
        bytes: "1".into(),
        content_type: String::new(),
    });
    let mut encoded = Encoded::new(&push);
    let first = encoded.frame(Dialect::Json).clone();
    assert_eq!(
        first.as_ptr(),
        encoded.frame(Dialect::Json).as_ptr(),
        "shared, not copied"
    );
    assert_ne!(first, encoded.frame(Dialect::Proto));
}
