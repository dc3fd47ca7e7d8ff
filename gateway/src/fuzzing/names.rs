//! Texts that name places: cursors, offsets, subjects.

use herald_proto::{
    Target,
    offset::{BEYOND, Cursor, Offset},
    subject::{self, Names},
};

pub fn cursor(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (cursor, offset) = (text.parse::<Cursor>(), text.parse::<Offset>());
    assert!(cursor.is_err() || offset.is_err(), "neither passes for the other");
    if let Ok(cursor) = cursor {
        assert!(cursor.beyond().len() <= BEYOND);
        assert!(cursor.beyond().is_sorted() && cursor.beyond().iter().all(|given| *given > cursor.sequence));
        assert!(cursor.covers(cursor.newest()));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    if let Ok(offset) = offset {
        assert_eq!(offset.to_string().parse(), Ok(offset));
    }
}

/// As a token, and as two ids with a NUL between.
pub fn subject(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(id) = subject::unescape(text) {
        assert_eq!(subject::escape(&id), text, "one token, one id");
    }
    if let Some(target) = subject::parse_target(text) {
        assert_eq!(subject::target_tokens(&target), text);
    }
    if let Some(parts) = subject::split_key(text) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        assert_eq!(subject::key(&parts), text);
    }
    let (one, other) = text.split_once('\0').unwrap_or((text, ""));
    let names = Names::new("herald");
    for id in [one, other] {
        let token = subject::escape(id);
        assert!(
            token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)),
            "{token:?}"
        );
        assert_eq!(subject::unescape(&token).as_deref(), Some(id));
        for target in [Target::user(id), Target::group(id)] {
            assert_eq!(names.log(&target).split('.').count(), 5, "one token");
            assert_eq!(names.log_target(&names.log(&target)), Some(target));
        }
    }
    assert_eq!(subject::escape(one) == subject::escape(other), one == other);
}
