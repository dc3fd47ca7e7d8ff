use super::*;

fn page(sequences: impl IntoIterator<Item = u64>, left: u64) -> Page {
    let entry = |sequence| LogEntry {
        payload: Bytes::new(),
        sequence,
        time_ms: 0,
    };
    Page {
        entries: sequences.into_iter().map(entry).collect(),
        left,
    }
}

/// A limit of 1,000 that was 20 up to 100.
const RAISED: Bounds = Bounds {
    last: 100,
    last_ms: 0,
    first: 1,
    per_target: 1_000,
    earlier: Some(Earlier {
        per_target: 20,
        upto: 100,
    }),
};

#[test]
fn as_many_as_the_limit_may_lack_some() {
    let bounds = Bounds {
        earlier: None,
        ..RAISED
    };
    assert!(!page(1..=300, 699).may_lack(0, 0, bounds));
    assert!(page(1..=300, 700).may_lack(0, 0, bounds));
    assert!(page(1..=300, 0).may_lack(700, 0, bounds));
    assert!(!page([], 0).may_lack(0, u64::MAX, bounds));
    assert!(page([], 0).may_lack(0, 3, Bounds { first: 5, ..bounds }));
}

#[test]
fn what_an_earlier_limit_kept_may_lack_some_though_the_limit_was_raised() {
    assert!(page(81..=100, 0).may_lack(0, 0, RAISED));
    assert!(page(81..=300, 0).may_lack(0, 0, RAISED), "and what came since");
    assert!(page(60..70, 50).may_lack(0, 0, RAISED), "they may be old");
    assert!(page(95..=100, 0).may_lack(14, 0, RAISED), "with those before");
}

#[test]
fn what_came_after_the_raise_is_not_counted() {
    assert!(!page(82..=300, 0).may_lack(0, 0, RAISED));
    assert!(!page(101..=300, 0).may_lack(50, 0, RAISED), "judged before");
    assert!(!page(85..=90, 100).may_lack(0, 0, RAISED), "too few can be old");
}
