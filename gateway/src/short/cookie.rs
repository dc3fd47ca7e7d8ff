//! The cookie that carries a token to the client.

use std::time::{Duration, UNIX_EPOCH};

use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};

/// Sets the token, until its end in Unix seconds. First among the cookies, for clients take the first.
pub fn set(headers: &mut HeaderMap, token: &str, expires: u64, secure: bool) {
    put(headers, token, expires, secure);
}

/// Takes the token back.
pub fn clear(headers: &mut HeaderMap, secure: bool) {
    put(headers, "", 0, secure);
}

fn put(headers: &mut HeaderMap, token: &str, expires: u64, secure: bool) {
    let expires = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(expires));
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("token={token}; Expires={expires}; Path=/; HttpOnly; SameSite=Lax{secure}");
    // Tokens are letters, digits, dots, dashes and underscores.
    if let Ok(mut value) = HeaderValue::try_from(cookie) {
        value.set_sensitive(true);
        headers.insert(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_the_attributes_of_the_protocol() {
        let mut headers = HeaderMap::new();
        set(&mut headers, "a.b-c_d", 784_111_777, true);
        assert_eq!(
            headers[header::SET_COOKIE],
            "token=a.b-c_d; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        clear(&mut headers, false);
        assert_eq!(
            headers[header::SET_COOKIE],
            "token=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; SameSite=Lax"
        );
    }
}
