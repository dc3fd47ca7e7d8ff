use std::time::Duration;

use super::*;
use crate::event::{Call, Connect};

fn session(connected: bool) -> Session {
    let mut session = Session::new(Rate::new(10, 20));
    if connected {
        session.connected(&Identity {
            user: "alice".to_owned(),
            groups: vec![],
            broadcast: true,
            issued: None,
            expires: 0,
            session: None,
        });
    }
    session
}

fn inbound(command: Command) -> Result<Inbound, BadFrame> {
    Ok(Inbound {
        tag: Tag::Id(1),
        command,
    })
}

#[test]
fn the_first_frame_must_be_connect() {
    let now = Instant::now();
    for frame in [inbound(Command::Ping), Err(BadFrame::new(None, "no JSON"))] {
        let action = session(false).on_frame(frame, now);
        assert!(
            matches!(action, Action::Refuse(_, _, CloseCode::NotTheProtocol)),
            "{action:?}"
        );
    }
    let connect = Connect {
        token: "t".to_owned(),
        ..Connect::default()
    };
    let action = session(false).on_frame(inbound(Command::Connect(connect.clone())), now);
    assert!(matches!(action, Action::Connect { .. }));
    let action = session(true).on_frame(inbound(Command::Connect(connect)), now);
    assert!(matches!(action, Action::Answer(_, Answer::Error(e)) if e.code == ErrorCode::BadRequest));
}

#[test]
fn ten_bad_frames_in_a_row_close() {
    let mut session = session(true);
    let mut now = Instant::now();
    let mut bad = |session: &mut Session| {
        now += Duration::from_secs(1);
        session.on_frame(Err(BadFrame::new(None, "no JSON")), now)
    };
    for _ in 0..9 {
        assert!(matches!(bad(&mut session), Action::Answer(..)));
    }
    let pong = session.on_frame(inbound(Command::Ping), Instant::now() + Duration::from_secs(9));
    assert!(matches!(pong, Action::Answer(_, Answer::Pong)));
    for _ in 0..9 {
        assert!(matches!(bad(&mut session), Action::Answer(..)));
    }
    assert!(matches!(
        bad(&mut session),
        Action::Refuse(_, _, CloseCode::NotTheProtocol)
    ));
}

#[test]
fn a_flood_is_limited_and_then_closed() {
    let mut session = session(true);
    let now = Instant::now();
    let mut answered = 0;
    loop {
        match session.on_frame(inbound(Command::Ping), now) {
            Action::Answer(_, Answer::Pong) => answered += 1,
            Action::Answer(_, Answer::Error(e)) => {
                assert_eq!(e.code, ErrorCode::RateLimited);
                assert!(e.after_ms.is_some_and(|ms| (1..=100).contains(&ms)));
            }
            Action::Refuse(_, _, code) => {
                assert_eq!(code, CloseCode::RateLimited);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, 20, "the burst");
}

#[test]
fn questions_run_beside_and_have_no_number() {
    let mut session = session(true);
    let query = HistoryQuery {
        of: crate::event::HistoryOf::Inbox,
        after: None,
        before: None,
        limit: None,
    };
    let users = || vec!["bob".to_owned()];
    let presence = PresenceQuery::Users(users());
    let call = Box::new(Call {
        service: "lobby".to_owned(),
        method: None,
        body: "1".into(),
        content_type: crate::event::JSON,
    });
    for (asked, command) in [
        (Command::History(query.clone()), Beside::History(query)),
        (Command::Presence(presence.clone()), Beside::Presence(presence)),
        (Command::Watch { users: users() }, Beside::Watch { users: users() }),
        (Command::Unwatch { users: users() }, Beside::Unwatch { users: users() }),
        (Command::Call(call.clone()), Beside::Call(call)),
    ] {
        let action = session.on_frame(inbound(asked), Instant::now());
        assert_eq!(
            action,
            Action::Beside {
                tag: Tag::Id(1),
                command
            }
        );
    }
    let action = session.on_frame(inbound(Command::Join { group: "g".to_owned() }), Instant::now());
    assert!(matches!(action, Action::Ordered { serial: 1, .. }));
}

#[test]
fn ordered_commands_are_numbered() {
    let mut session = session(true);
    for expected in 1..4 {
        let action = session.on_frame(inbound(Command::Join { group: "g".to_owned() }), Instant::now());
        assert!(matches!(action, Action::Ordered { serial, .. } if serial == expected));
    }
}
