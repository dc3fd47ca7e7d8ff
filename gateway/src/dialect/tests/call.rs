use super::*;
use crate::event::{Answer, Call, JSON, OCTETS};

fn call(body: &'static str, content_type: &'static str) -> Command {
    Command::Call(Box::new(Call {
        service: "lobby".to_owned(),
        method: Some("roll".to_owned()),
        body: body.into(),
        content_type,
    }))
}

fn proto_call(call: pb::Call) -> Result<Inbound, BadFrame> {
    let frame = pb::ClientFrame {
        id: 7,
        call: Some(call),
        ..Default::default()
    };
    Dialect::Proto.decode(None, false, frame.encode_to_vec().into())
}

#[test]
fn a_json_call_hands_on_its_text() {
    let text = r#"{"id":7,"call":{"service":"lobby","method":"roll","body":{"dice": 2},"later":1}}"#;
    let read = Dialect::Json.decode(None, true, text.into()).unwrap();
    let command = call(r#"{"dice": 2}"#, JSON);
    assert_eq!(
        read,
        Inbound {
            tag: Tag::Id(7),
            command
        }
    );
    let bare = json_frame(&json!({"id": 7, "call": {"service": "lobby"}})).unwrap();
    let Command::Call(bare) = bare.command else {
        panic!("{bare:?}")
    };
    assert_eq!((bare.method, &*bare.body), (None, &b"null"[..]));
}

#[test]
fn a_protobuf_call_is_bytes_unless_it_says_json() {
    let of_type = |body: &'static [u8], content_type: &str| {
        proto_call(pb::Call {
            service: "lobby".to_owned(),
            method: Some("roll".to_owned()),
            body: body.into(),
            content_type: content_type.to_owned(),
        })
        .unwrap()
        .command
    };
    assert_eq!(of_type(b"[1]", "application/json"), call("[1]", JSON));
    for other in ["", "application/x-protobuf"] {
        assert_eq!(of_type(b"[1", other), call("[1", OCTETS));
    }
    assert!(matches!(of_type(b"[1", "Application/JSON; x=y"), Command::Faulty(_)));
}

#[test]
fn names_that_cannot_be_are_told() {
    for fields in [
        json!({"service": ""}),
        json!({"service": "a.b"}),
        json!({"service": "*"}),
        json!({"service": "x".repeat(65)}),
        json!({"service": "lobby", "method": ""}),
        json!({"service": "lobby", "method": "a b"}),
    ] {
        let read = json_frame(&json!({"id": 7, "call": fields})).unwrap();
        assert!(matches!(read.command, Command::Faulty(_)), "{fields}");
    }
    let faulty = proto_call(pb::Call {
        service: ">".to_owned(),
        ..Default::default()
    });
    assert!(matches!(faulty.unwrap().command, Command::Faulty(_)));
    for bad in [json!({}), json!({"service": 1}), json!(["lobby"])] {
        assert_eq!(
            json_frame(&json!({"id": 7, "call": bad})).unwrap_err().tag,
            Tag::Id(7),
            "{bad}"
        );
    }
}

#[test]
fn results_have_these_exact_frames() {
    let result = |bytes: &'static [u8], content_type: &str| {
        Answer::Result(Body {
            bytes: bytes.into(),
            content_type: content_type.to_owned(),
        })
    };
    for (answer, text, bytes) in [
        (
            result(br#"{"a": 1}"#, ""),
            r#"{"id":7,"result":{"body":{"a": 1}}}"#,
            &b"\x08\x07\x4a\x1c\x0a\x08{\"a\": 1}\x12\x10application/json"[..],
        ),
        (
            result(b"\x00\xff", "x/y"),
            r#"{"id":7,"result":{"body_base64":"AP8=","content_type":"x/y"}}"#,
            b"\x08\x07\x4a\x09\x0a\x02\x00\xff\x12\x03x/y",
        ),
    ] {
        let frame = Dialect::Json.answer(&Tag::Id(7), &answer);
        assert_eq!(String::from_utf8_lossy(&frame[2..]), text);
        assert_eq!(Dialect::Proto.answer(&Tag::Id(7), &answer)[2..], *bytes);
    }
}
