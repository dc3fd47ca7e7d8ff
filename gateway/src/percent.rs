//! Percent-encoding in paths and queries, taken strictly: what is malformed is refused. Read leniently, `%ff` and `%fe` would be one
//! id, and a `%` that was forgotten to be encoded would be another one's.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Names and values, in order.
pub type Query<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no percent-encoded UTF-8")]
pub struct Malformed(&'static str);

/// One segment of a path.
pub fn segment(text: &str) -> Result<Cow<'_, str>, Malformed> {
    decoded(text).ok_or(Malformed("the path"))
}

/// What stands behind the `?`.
pub fn query(text: &str) -> Result<Query<'_>, Malformed> {
    // `&`, `=` and `+` are no part of any character's bytes: where the whole is UTF-8, so is each name and value.
    decoded(text).ok_or(Malformed("the query"))?;
    Ok(form_urlencoded::parse(text.as_bytes()).collect())
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    let mut parts = text.split('%');
    parts.next();
    let is_whole = |part: &str| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    parts
        .all(is_whole)
        .then(|| percent_decode_str(text).decode_utf8().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_malformed_is_no_id() {
        for (text, id) in [
            ("bob", "bob"),
            ("a%2Fb%20%e5%b0%8f", "a/b 小"),
            ("%25", "%"),
            ("a+b", "a+b"),
            ("", ""),
        ] {
            assert_eq!(segment(text).as_deref(), Ok(id));
        }
        for bad in [
            "%",
            "%f",
            "100%",
            "%zz",
            "%+1",
            "%ff",
            "%c3",
            "%c3x%bc",
            "%ed%a0%80",
            "a%00%80",
        ] {
            assert!(segment(bad).is_err(), "{bad}");
            assert!(query(&format!("a=b&user={bad}")).is_err(), "{bad}");
            assert!(query(&format!("{bad}=b&c=d")).is_err(), "{bad}");
        }
        let pair = |name: &'static str, value: &'static str| (Cow::from(name), Cow::from(value));
        let read = query("user=a+b&g=%C3%BC%26&x").unwrap();
        assert_eq!(read, [pair("user", "a b"), pair("g", "ü&"), pair("x", "")]);
        assert!(query("a=%c3&b=%bc").is_err(), "a character's halves");
    }
}
