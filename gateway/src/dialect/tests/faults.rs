//! Frames that are no command, and commands with a fault.

use super::*;

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
