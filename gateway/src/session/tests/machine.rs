//! Whatever a client sends in whatever order, beside a machine that says what its session may do about it.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::{Body, JSON};

/// What comes next: a frame, which may come too fast, or the end of something that was begun.
#[derive(Debug, Clone)]
enum Step {
    Frame(Kind),
    Bad,
    TooFast {
        flood: bool,
        bad: bool,
    },
    /// Of a token that was asked to be refreshed.
    Refreshed {
        broadcast: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connect { valid: bool, broadcast: bool },
    Send,
    Join,
    Leave,
    Refresh,
    Ping,
    Question,
    Call,
    Echo,
    Faulty,
    Close,
}

/// What a session should know.
#[derive(Debug, Default)]
struct Model {
    /// Who is connected, and whether it may speak to all.
    broadcast: Option<bool>,
    bad_in_a_row: u8,
    serial: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let connect = (prop::bool::weighted(0.8), any::<bool>());
    let kind = prop_oneof![
        2 => connect.prop_map(|(valid, broadcast)| Kind::Connect { valid, broadcast }),
        4 => Just(Kind::Send),
        2 => Just(Kind::Join),
        2 => Just(Kind::Leave),
        1 => Just(Kind::Refresh),
        2 => Just(Kind::Ping),
        2 => Just(Kind::Question),
        1 => Just(Kind::Call),
        1 => Just(Kind::Echo),
        1 => Just(Kind::Faulty),
        1 => Just(Kind::Close),
    ];
    let too_fast = (prop::bool::weighted(0.05), any::<bool>());
    let step = prop_oneof![
        10 => kind.prop_map(Step::Frame),
        8 => Just(Step::Bad),
        2 => too_fast.prop_map(|(flood, bad)| Step::TooFast { flood, bad }),
        1 => any::<bool>().prop_map(|broadcast| Step::Refreshed { broadcast }),
    ];
    // Most begin as they should, or all would end with their first frame.
    let first = any::<bool>().prop_map(|broadcast| Kind::Connect { valid: true, broadcast });
    let begins = prop::option::weighted(0.9, first);
    (begins, prop::collection::vec(step, 1..60))
        .prop_map(|(first, rest)| first.map(Step::Frame).into_iter().chain(rest).collect())
}

fn command(kind: Kind) -> Command {
    let group = "g".to_owned();
    let users = vec!["bob".to_owned()];
    match kind {
        Kind::Connect { .. } => Command::Connect(Connect::default()),
        Kind::Send => Command::Send(Box::new(Send {
            to: Target::user("bob"),
            body: Body {
                bytes: "1".into(),
                content_type: String::new(),
            },
            kind: None,
            durable: true,
            ttl: 0,
            key: None,
            copy: false,
            original: None,
        })),
        Kind::Join => Command::Join { group },
        Kind::Leave => Command::Leave { group },
        Kind::Refresh => Command::Refresh { token: "t".to_owned() },
        Kind::Ping => Command::Ping,
        Kind::Question => Command::Watch { users },
        Kind::Call => Command::Call(Box::new(Call {
            service: "lobby".to_owned(),
            method: None,
            body: "1".into(),
            content_type: JSON,
        })),
        Kind::Echo => Command::Echo {
            text: true,
            payload: "e".into(),
        },
        Kind::Faulty => Command::Faulty("no such thing".to_owned()),
        Kind::Close => Command::Close,
    }
}

fn identity(broadcast: bool) -> Identity {
    Identity {
        user: "alice".to_owned(),
        groups: vec![],
        broadcast,
        issued: None,
        expires: 0,
        session: None,
    }
}

/// The tag of what is answered, if anything is.
fn tag_of(action: &Action) -> Option<&Tag> {
    match action {
        Action::Answer(tag, _) | Action::Refuse(tag, ..) => Some(tag),
        Action::Connect { tag, .. } | Action::Ordered { tag, .. } => Some(tag),
        Action::Beside { tag, .. } | Action::Refresh { tag, .. } => Some(tag),
        Action::Close => None,
    }
}

fn code(action: &Action) -> Option<ErrorCode> {
    match action {
        Action::Answer(_, Answer::Error(error)) | Action::Refuse(_, Answer::Error(error), _) => Some(error.code),
        _ => None,
    }
}

impl Model {
    /// What may be done about a good frame in time.
    fn frame(&mut self, kind: Kind, action: &Action) -> Result<(), TestCaseError> {
        self.bad_in_a_row = 0;
        let Some(broadcast) = self.broadcast else {
            // Nobody who is not known gets anything done.
            let expected = match kind {
                Kind::Connect { .. } => matches!(action, Action::Connect { .. }),
                _ => matches!(action, Action::Refuse(_, _, CloseCode::NotTheProtocol)),
            };
            prop_assert!(expected, "{kind:?}: {action:?}");
            return Ok(());
        };
        let expected = match kind {
            Kind::Send | Kind::Join | Kind::Leave => {
                self.serial += 1;
                let verb = match kind {
                    Kind::Send => "send",
                    Kind::Join => "join",
                    _ => "leave",
                };
                let may = |command: &Ordered| !matches!(command, Ordered::Send { broadcast: granted, .. } if *granted != broadcast);
                matches!(action, Action::Ordered { serial, command, .. }
                    if *serial == self.serial && command.verb() == verb && may(command))
            }
            Kind::Connect { .. } | Kind::Faulty => {
                matches!(action, Action::Answer(..)) && code(action) == Some(ErrorCode::BadRequest)
            }
            Kind::Refresh => matches!(action, Action::Refresh { .. }),
            Kind::Ping => matches!(action, Action::Answer(_, Answer::Pong)),
            Kind::Question => matches!(action, Action::Beside { command, .. } if command.verb() == "watch"),
            Kind::Call => matches!(action, Action::Beside { command, .. } if command.verb() == "call"),
            Kind::Echo => matches!(action, Action::Answer(_, Answer::Echo { .. })),
            Kind::Close => matches!(action, Action::Close),
        };
        prop_assert!(expected, "{kind:?}: {action:?}");
        Ok(())
    }

    fn bad(&mut self, action: &Action) -> Result<(), TestCaseError> {
        self.bad_in_a_row += 1;
        let last = self.broadcast.is_none() || self.bad_in_a_row == BAD_FRAMES;
        let expected = match action {
            Action::Refuse(_, _, CloseCode::NotTheProtocol) => last,
            Action::Answer(..) => !last,
            _ => false,
        };
        prop_assert!(expected, "after {} bad frames: {action:?}", self.bad_in_a_row);
        prop_assert_eq!(code(action), Some(ErrorCode::BadRequest));
        Ok(())
    }
}

/// As its connection does: what is refused, and what the client closes, is the end.
fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut session, mut model) = (Session::new(), Model::default());
    for (number, step) in (1..).zip(steps) {
        let tag = Tag::Id(number);
        let good = |kind| {
            Ok(Inbound {
                tag: Tag::Id(number),
                command: command(kind),
            })
        };
        let bad = || Err(BadFrame::new(Some(number), "no JSON"));
        let action = match &step {
            Step::Refreshed { broadcast } => {
                session.refreshed(&identity(*broadcast));
                model.broadcast = model.broadcast.map(|_| *broadcast);
                continue;
            }
            Step::Frame(kind) => session.on_frame(good(*kind), Ok(())),
            Step::Bad => session.on_frame(bad(), Ok(())),
            Step::TooFast { flood, bad: is_bad } => {
                let frame = if *is_bad { bad() } else { good(Kind::Send) };
                let wait = Duration::from_millis(3);
                session.on_frame(frame, Err(TooFast { wait, is_flood: *flood }))
            }
        };
        prop_assert_eq!(tag_of(&action).unwrap_or(&tag), &tag, "the answer names its frame");
        match step {
            Step::Frame(kind) => model.frame(kind, &action)?,
            Step::Bad => model.bad(&action)?,
            Step::TooFast { flood, .. } => {
                // And nothing else comes of it: what follows is judged as if it had not been.
                prop_assert_eq!(code(&action), Some(ErrorCode::RateLimited));
                prop_assert_eq!(matches!(action, Action::Refuse(_, _, CloseCode::RateLimited)), flood);
            }
            Step::Refreshed { .. } => {}
        }
        match (action, step) {
            (Action::Connect { .. }, Step::Frame(Kind::Connect { valid: true, broadcast })) => {
                session.connected(&identity(broadcast));
                model.broadcast = Some(broadcast);
            }
            (Action::Connect { .. } | Action::Refuse(..) | Action::Close, _) => break,
            _ => {}
        }
        prop_assert_eq!(session.user(), model.broadcast.map(|_| "alice"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn whatever_comes_nothing_is_done_for_a_stranger_and_commands_keep_their_order(steps in steps()) {
        run(steps)?;
    }
}
