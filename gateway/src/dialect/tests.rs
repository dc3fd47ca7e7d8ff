use herald_proto::{Target, client as pb, cluster};
use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::event::{Body, Command, Message, Send, Tag};

mod articles;
mod call;
mod faults;
mod history;
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

/// A client of JSON may send what it is given in JSON.
#[test]
fn bytes_stand_in_json_as_base64() {
    let send = |body: Value| {
        let mut frame = json!({"id": 1, "send": {"to": {"user": "bob"}}});
        frame["send"]
            .as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        match json_frame(&frame).unwrap().command {
            Command::Send(send) => Ok(send.body),
            other => Err(other),
        }
    };
    let body = |bytes: &'static [u8], content_type: &str| Body {
        bytes: Bytes::from_static(bytes),
        content_type: content_type.to_owned(),
    };
    assert_eq!(
        send(json!({"body_base64": "AP8="})),
        Ok(body(b"\x00\xff", "application/octet-stream"))
    );
    let image = json!({"body_base64": "AP8=", "content_type": "image/png"});
    assert_eq!(send(image), Ok(body(b"\x00\xff", "image/png")));
    let json = json!({"body_base64": "eyJhIjoxfQ==", "content_type": "application/json"});
    assert_eq!(send(json), Ok(body(br#"{"a":1}"#, "")));
    // As it always was: without a body, and with a content type that nothing needs.
    assert_eq!(send(json!({})), Ok(body(b"null", "")));
    assert_eq!(send(json!({"body": 1, "content_type": "x/y"})), Ok(body(b"1", "")));
    for bad in [
        json!({"body": 1, "body_base64": "AP8="}),
        json!({"body_base64": "AP8"}),
        json!({"body_base64": "fQ==", "content_type": "application/json"}),
        json!({"body_base64": "AP8=", "content_type": "x".repeat(129)}),
    ] {
        assert!(matches!(send(bad.clone()), Err(Command::Faulty(_))), "{bad}");
    }
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
