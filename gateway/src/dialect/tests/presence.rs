//! `presence`, `watch` and `unwatch`, their answers and the push.

use super::*;
use crate::event::{Presence, PresenceQuery, UserPresence};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn proto_frame(frame: &pb::ClientFrame) -> Result<Inbound, BadFrame> {
    Dialect::Proto.decode(None, false, frame.encode_to_vec().into())
}

fn presence(users: &[&str], group: Option<&str>) -> pb::ClientFrame {
    pb::ClientFrame {
        id: 4,
        presence: Some(pb::PresenceQuery {
            users: names(users),
            group: group.map(str::to_owned),
        }),
        ..Default::default()
    }
}

fn watch(users: Vec<String>) -> pb::ClientFrame {
    pb::ClientFrame {
        id: 5,
        watch: Some(pb::Watch { users }),
        ..Default::default()
    }
}

fn unwatch(users: Vec<String>) -> pb::ClientFrame {
    pb::ClientFrame {
        id: 5,
        unwatch: Some(pb::Watch { users }),
        ..Default::default()
    }
}

#[test]
fn both_dialects_read_the_same_questions_about_presence() {
    let bob = ["bob", "al", "bob"];
    let users = || names(&["bob", "al"]);
    for (json, proto, expected) in [
        (
            r#"{"id":4,"presence":{"users":["bob","al","bob"],"later":[]},"x":1}"#,
            presence(&bob, None),
            Command::Presence(PresenceQuery::Users(users())),
        ),
        (
            r#"{"id":4,"presence":{"group":"g1","users":null}}"#,
            presence(&[], Some("g1")),
            Command::Presence(PresenceQuery::Group("g1".to_owned())),
        ),
        (
            r#"{"id":5,"watch":{"users":["bob","al","bob"],"later":{}}}"#,
            watch(names(&bob)),
            Command::Watch { users: users() },
        ),
        (
            r#"{"id":5,"unwatch":{"users":["bob","al","bob"]}}"#,
            unwatch(names(&bob)),
            Command::Unwatch { users: users() },
        ),
    ] {
        let read = Dialect::Json.decode(None, true, json.into()).unwrap();
        assert_eq!(read.tag, Tag::Id(proto.id), "{json}");
        assert_eq!(read.command, expected, "{json}");
        assert_eq!(proto_frame(&proto), Ok(read));
    }
}

#[test]
fn proto_questions_have_their_exact_bytes() {
    for (frame, bytes) in [
        (presence(&["bob"], None), &b"\x08\x04\x32\x05\x0a\x03bob"[..]),
        (presence(&[], Some("g1")), b"\x08\x04\x32\x04\x12\x02g1"),
        (watch(names(&["bob"])), b"\x08\x05\x3a\x05\x0a\x03bob"),
        (unwatch(names(&["bob"])), b"\x08\x05\x42\x05\x0a\x03bob"),
    ] {
        assert_eq!(frame.encode_to_vec(), bytes);
    }
}

#[test]
fn faulty_questions_about_presence_are_told_why() {
    let why = |read: Result<Inbound, BadFrame>| match read.unwrap().command {
        Command::Faulty(why) => why,
        other => panic!("{other:?}"),
    };
    let one_of = "\"presence\" must name exactly one of users, group";
    let bounds = "users must be 1 to 1000";
    let many: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
    for (bad, text) in [
        (json!({"presence": {}}), one_of),
        (json!({"presence": {"users": ["bob"], "group": "g"}}), one_of),
        (json!({"presence": {"users": [], "group": "g"}}), one_of),
        (json!({"presence": {"users": []}}), bounds),
        (json!({"presence": {"users": many}}), bounds),
        (json!({"presence": {"group": ""}}), "group must not be empty"),
        (json!({"watch": {"users": []}}), bounds),
        (json!({"watch": {"users": ["bob", ""]}}), "user must not be empty"),
        (json!({"unwatch": {"users": many}}), bounds),
        (
            json!({"unwatch": {"users": ["x\u{7}"]}}),
            "user holds a control character",
        ),
    ] {
        assert_eq!(why(json_frame(&bad)), text, "{bad}");
    }
    for (bad, text) in [
        (presence(&[], None), one_of),
        (presence(&["bob"], Some("g")), one_of),
        (presence(&["bob", ""], None), "user must not be empty"),
        (watch(vec![]), bounds),
        (unwatch(many), bounds),
    ] {
        assert_eq!(why(proto_frame(&bad)), text);
    }
}

#[test]
fn what_is_no_question_about_presence_is_no_command() {
    for bad in [
        json!({"id": 4, "presence": {"users": "bob"}}),
        json!({"id": 4, "presence": [["bob"]]}),
        json!({"id": 4, "watch": {}}),
        json!({"id": 4, "watch": ["bob"]}),
        json!({"id": 4, "unwatch": {"users": [8]}}),
        json!({"id": 4, "watch": {"users": ["bob"]}, "unwatch": {"users": ["bob"]}}),
        json!({"id": 4, "presence": {"users": []}, "ping": {}}),
    ] {
        assert_eq!(json_frame(&bad).unwrap_err().tag, Tag::Id(4), "{bad}");
    }
    let two = pb::ClientFrame {
        presence: Some(pb::PresenceQuery::default()),
        ..watch(vec![])
    };
    assert_eq!(proto_frame(&two).unwrap_err().tag, Tag::Id(5));
}

fn online() -> UserPresence {
    UserPresence {
        online: true,
        connections: Some(2),
        since: Some(7),
        last_seen: None,
    }
}

fn offline() -> UserPresence {
    UserPresence {
        online: false,
        connections: Some(0),
        since: None,
        last_seen: Some(300),
    }
}

fn change() -> Push {
    Push::Presence {
        user: "bob".to_owned(),
        online: false,
        since: 300,
    }
}

/// Answers of one user each (the order of a protobuf map is no promise), and their exact frames without the head.
fn golden() -> Vec<(u32, Answer, &'static str, &'static [u8])> {
    let of_users = |user: &str, presence| Presence {
        users: vec![(user.to_owned(), presence)],
        ..Presence::default()
    };
    vec![
        (
            4,
            Answer::Presence(of_users("bob", online())),
            r#"{"id":4,"presence":{"users":{"bob":{"online":true,"connections":2,"since":7}}}}"#,
            b"\x08\x04\x32\x0f\x0a\x0d\x0a\x03bob\x12\x06\x08\x01\x10\x02\x18\x07",
        ),
        (
            4,
            Answer::Presence(of_users(r#"a"\"#, offline())),
            r#"{"id":4,"presence":{"users":{"a\"\\":{"online":false,"connections":0,"last_seen":300}}}}"#,
            b"\x08\x04\x32\x0e\x0a\x0c\x0a\x03a\"\\\x12\x05\x10\x00\x20\xac\x02",
        ),
        (
            4,
            Answer::Presence(Presence {
                users: vec![],
                online: Some(0),
                members: Some(40),
            }),
            r#"{"id":4,"presence":{"users":{},"online":0,"members":40}}"#,
            b"\x08\x04\x32\x04\x10\x00\x18\x28",
        ),
        (
            5,
            Answer::Watching(vec![(
                "bob".to_owned(),
                UserPresence {
                    online: true,
                    ..UserPresence::default()
                },
            )]),
            r#"{"id":5,"watching":{"users":{"bob":{"online":true}}}}"#,
            b"\x08\x05\x3a\x0b\x0a\x09\x0a\x03bob\x12\x02\x08\x01",
        ),
    ]
}

#[test]
fn presence_has_its_exact_bytes() {
    for (id, answer, json, proto) in golden() {
        let frame = Dialect::Json.answer(&Tag::Id(id), &answer);
        assert_eq!(std::str::from_utf8(&frame[2..]), Ok(json));
        assert_eq!(Dialect::Proto.answer(&Tag::Id(id), &answer)[2..], *proto, "{json}");
    }
    assert_eq!(
        Dialect::Json.push(&change())[2..],
        *br#"{"presence":{"user":"bob","online":false,"since":300}}"#
    );
    assert_eq!(Dialect::Proto.push(&change())[2..], *b"\x72\x08\x0a\x03bob\x18\xac\x02");
}

#[test]
fn a_presence_of_many_names_each() {
    let answer = Answer::Presence(Presence {
        users: vec![("bob".to_owned(), online()), ("al".to_owned(), offline())],
        online: Some(12),
        members: Some(40),
    });
    let text = r#"{"id":4,"presence":{"users":{"bob":{"online":true,"connections":2,"since":7},"al":{"online":false,"connections":0,"last_seen":300}},"online":12,"members":40}}"#;
    let frame = Dialect::Json.answer(&Tag::Id(4), &answer);
    assert_eq!(std::str::from_utf8(&frame[4..]), Ok(text));

    let frame = Dialect::Proto.answer(&Tag::Id(4), &answer);
    let read = pb::ServerFrame::decode(&frame[2..]).unwrap();
    let Some(pb::server_frame::Frame::Presence(read)) = read.frame else {
        panic!("{read:?}")
    };
    assert_eq!((read.online, read.members, read.users.len()), (Some(12), Some(40), 2));
    assert_eq!(
        (read.users["bob"].connections, read.users["bob"].since),
        (Some(2), Some(7))
    );
    assert_eq!(
        (read.users["al"].online, read.users["al"].last_seen),
        (false, Some(300))
    );
}
