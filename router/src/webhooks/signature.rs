//! How a receiver knows that a request is Herald's: `Herald-Signature: t=<Unix seconds>,v1=<hex>[,v1=<hex>]`, each `v1` the
//! HMAC-SHA256 of `<t>.<body>` with one of the configured secrets. Two secrets let the receiver change over.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::Secret;

pub const HEADER: &str = "Herald-Signature";

/// `time` is in Unix seconds.
pub fn header(secrets: &[Secret], time: u64, body: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = format!("t={time}");
    for secret in secrets {
        text.push_str(",v1=");
        for byte in sign(secret.0.as_bytes(), time, body) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

fn sign(secret: &[u8], time: u64, body: &[u8]) -> Vec<u8> {
    // Keys of any length are taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return Vec::new();
    };
    mac.update(time.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `printf '1790000000.{"events":[]}' | openssl dgst -sha256 -hmac herald-webhook-secret`.
    #[test]
    fn it_is_the_hmac_of_time_and_body() {
        let secret = |text: &str| Secret(text.to_owned());
        let body = br#"{"events":[]}"#;
        let one = header(&[secret("herald-webhook-secret")], 1_790_000_000, body);
        assert_eq!(one, format!("t=1790000000,v1={EXPECTED}"));
        let two = header(
            &[secret("another-webhook-secret"), secret("herald-webhook-secret")],
            1_790_000_000,
            body,
        );
        assert!(
            two.starts_with("t=1790000000,v1=") && two.ends_with(&format!(",v1={EXPECTED}")),
            "{two}"
        );
    }

    const EXPECTED: &str = "7dd27e581e8b4389c0d3cf539f23ebe7be52692f1ed05fd59a7753a879425c81";
}
