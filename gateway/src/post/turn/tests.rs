use herald_proto::offset::BEYOND;

use super::*;
use crate::{
    dialect::Dialect,
    event::{Body, Message, Push},
};

fn account(cursor: &str) -> Account {
    Account {
        turn: Turn {
            messages: Vec::new(),
            cursor: cursor.parse().unwrap(),
            gap: false,
            ending: None,
        },
        bytes: 0,
        lost: false,
    }
}

fn pulled(push: &Push) -> Pulled {
    Pulled::Frame(Dialect::Poll.push(push))
}

fn message(sequence: u64, bytes: usize) -> Pulled {
    pulled(&Push::Message(Message {
        id: String::new(),
        from: None,
        to: herald_proto::Target::All,
        kind: None,
        body: Body {
            bytes: format!("\"{}\"", "x".repeat(bytes)).into(),
            content_type: String::new(),
        },
        original: None,
        time: 0,
        offset: (sequence > 0).then(|| format!("a.0:{sequence}")),
    }))
}

#[test]
fn the_cursor_names_what_was_given_and_nothing_else() {
    let mut account = account("a@0:10+5");
    assert!(account.take(message(15, 1)), "it had this one");
    assert!(account.has_nothing_to_say());
    assert!(account.take(message(17, 1)) && account.take(message(0, 1)));
    assert_eq!(account.turn.messages.len(), 2, "an ephemeral one as well");
    assert_eq!(account.turn.cursor.to_string(), "a@0:10+5,2");
    assert!(account.take(pulled(&Push::Cursor("a@0:16".to_owned()))));
    assert_eq!(account.turn.cursor.to_string(), "a@0:16+1");
    assert!(
        account.take(pulled(&Push::Cursor("b@0:99".to_owned()))),
        "of another log"
    );
    assert_eq!(account.turn.cursor.to_string(), "a@0:16+1");
}

#[test]
fn an_answer_is_bounded_but_one_message_passes() {
    let mut first = account("a@0:0");
    assert!(first.take(message(1, 2 * BYTES)));
    assert!(!first.take(message(2, 1)));
    assert_eq!(
        first.turn.cursor.to_string(),
        "a@0:0+1",
        "the second comes with the next answer"
    );
}

#[test]
fn what_no_cursor_can_name_is_not_given() {
    let mut account = account("a@0:0");
    let given = (1..)
        .take_while(|sequence| account.take(message(2 * sequence, 1)))
        .count();
    assert_eq!((given, account.turn.messages.len()), (BEYOND, BEYOND));
    assert!(account.turn.cursor.is_full());
}

#[test]
fn after_an_end_or_a_loss_nothing_is_taken() {
    let mut ended = account("a@0:0");
    assert!(!ended.take(Pulled::End(Ending::Code(CloseCode::Kicked))));
    assert_eq!(ended.turn.ending, Some(CloseCode::Kicked));
    let mut lost = account("a@0:0");
    let notice = Push::Notice {
        code: "gap",
        message: "",
    };
    assert!(!lost.take(pulled(&notice)) && lost.lost);
}
