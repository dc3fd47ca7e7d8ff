use std::task::{Wake, Waker};

use herald_proto::CloseCode;
use parking_lot::Mutex;

use super::*;
use crate::{conn::outbox::Pushed, dialect::Dialect};

#[derive(Default)]
struct Woken(Mutex<u32>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.0.lock() += 1;
    }
}

fn conn(outbox: usize) -> Arc<Conn> {
    let address = [127, 0, 0, 1].into();
    Conn::new("c-1".to_owned(), Dialect::Events, outbox, Sink::answer(true), address)
}

fn frame(text: &'static str) -> Poll<Pulled> {
    Poll::Ready(Pulled::Frame(text.into()))
}

#[test]
fn what_waits_is_taken_in_order_and_each_new_wakes() {
    let conn = conn(100);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    let mut pull = Pull::new(conn.clone());
    assert_eq!(pull.poll_next(&mut cx), Poll::Pending);
    for text in ["a", "b"] {
        assert!(matches!(conn.push(text.into()), Pushed::Queued(_)));
    }
    assert_eq!(*woken.0.lock(), 1, "once is enough");
    assert_eq!(pull.poll_next(&mut cx), frame("a"));
    assert_eq!(pull.poll_next(&mut cx), frame("b"));
    assert_eq!(pull.poll_next(&mut cx), Poll::Pending);
    conn.close(CloseCode::Kicked);
    assert_eq!(*woken.0.lock(), 2);
    let kicked = Ending::Code(CloseCode::Kicked);
    assert_eq!(pull.poll_next(&mut cx), Poll::Ready(Pulled::End(kicked)));
}

#[test]
fn what_was_taken_together_counts_until_the_last_of_it_has_gone_on() {
    let conn = conn(4);
    let mut pull = Pull::new(conn.clone());
    for text in ["aa", "bb"] {
        assert!(matches!(conn.push(text.into()), Pushed::Queued(_)));
    }
    assert_eq!(conn.push("c".into()), Pushed::Full);
    assert!(pull.try_next().is_some() && pull.try_next().is_some());
    assert_eq!(conn.push("c".into()), Pushed::Full, "nobody has asked for more");
    assert_eq!(pull.try_next(), None);
    assert!(matches!(conn.push("c".into()), Pushed::Queued(_)));
}
