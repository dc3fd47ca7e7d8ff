//! Questions for messages that are kept, and the answers.

use super::*;
use crate::event::{History, HistoryOf, HistoryQuery};

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
