use std::time::Duration;

use super::*;
use crate::event::{Call, Connect};

mod machine;

fn session(connected: bool) -> Session {
    let mut session = Session::new();
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
    for frame in [inbound(Command::Ping), Err(BadFrame::new(None, "no JSON"))] {
        let action = session(false).on_frame(frame, Ok(()));
        assert!(
            matches!(action, Action::Refuse(_, _, CloseCode::NotTheProtocol)),
            "{action:?}"
        );
    }
    let connect = Connect {
        token: "t".to_owned(),
        ..Connect::default()
    };
    let action = session(false).on_frame(inbound(Command::Connect(connect.clone())), Ok(()));
    assert!(matches!(action, Action::Connect { .. }));
    let action = session(true).on_frame(inbound(Command::Connect(connect)), Ok(()));
    assert!(matches!(action, Action::Answer(_, Answer::Error(e)) if e.code == ErrorCode::BadRequest));
}

#[test]
fn ten_bad_frames_in_a_row_close() {
    let mut session = session(true);
    let bad = |session: &mut Session| session.on_frame(Err(BadFrame::new(None, "no JSON")), Ok(()));
    for _ in 0..9 {
        assert!(matches!(bad(&mut session), Action::Answer(..)));
    }
    let pong = session.on_frame(inbound(Command::Ping), Ok(()));
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
fn who_is_too_fast_is_told_when_to_go_on_and_closed_if_it_is_a_flood() {
    let mut session = session(true);
    let mut too_fast = |is_flood| {
        let wait = Duration::from_micros(100);
        session.on_frame(inbound(Command::Ping), Err(TooFast { wait, is_flood }))
    };
    let told = too_fast(false);
    assert!(
        matches!(&told, Action::Answer(Tag::Id(1), Answer::Error(e)) if e.code == ErrorCode::RateLimited && e.after_ms == Some(1)),
        "{told:?}"
    );
    assert!(matches!(
        too_fast(true),
        Action::Refuse(Tag::Id(1), _, CloseCode::RateLimited)
    ));
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
        let action = session.on_frame(inbound(asked), Ok(()));
        assert_eq!(
            action,
            Action::Beside {
                tag: Tag::Id(1),
                command
            }
        );
    }
    let action = session.on_frame(inbound(Command::Join { group: "g".to_owned() }), Ok(()));
    assert!(matches!(action, Action::Ordered { serial: 1, .. }));
}

#[test]
fn ordered_commands_are_numbered() {
    let mut session = session(true);
    for expected in 1..4 {
        let action = session.on_frame(inbound(Command::Join { group: "g".to_owned() }), Ok(()));
        assert!(matches!(action, Action::Ordered { serial, .. } if serial == expected));
    }
}
