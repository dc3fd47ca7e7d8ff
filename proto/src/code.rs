//! Error codes of commands and close codes of connections, as PROTOCOL.md lists them.

use std::fmt;

macro_rules! error_codes {
    ($($variant:ident = $text:literal, $status:literal;)*) => {
        /// The name of a failure, as it stands in `{"error":{"code":…}}`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($variant,)* }

        impl ErrorCode {
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)* }
            }

            /// The HTTP status that fits, for the server API.
            pub fn http_status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)* }
            }

            pub fn parse(text: &str) -> Option<ErrorCode> {
                match text { $($text => Some(ErrorCode::$variant),)* _ => None }
            }
        }
    };
}

error_codes! {
    BadRequest = "bad_request", 400;
    Unauthorized = "unauthorized", 401;
    Forbidden = "forbidden", 403;
    NotFound = "not_found", 404;
    TooLarge = "too_large", 413;
    RateLimited = "rate_limited", 429;
    Timeout = "timeout", 504;
    Unavailable = "unavailable", 503;
    Unsupported = "unsupported", 501;
    Internal = "internal", 500;
}

impl ErrorCode {
    /// Whether the same command may be sent again, with the same `key`.
    pub fn retry(self) -> bool {
        matches!(self, Self::Timeout | Self::Unavailable | Self::RateLimited)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $reason:literal;)*) => {
        /// Why a connection ends. 40xx: reconnect with backoff; 41xx: do not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode { $($(#[$doc])* $variant,)* }

        impl CloseCode {
            pub const ALL: &[CloseCode] = &[$(CloseCode::$variant,)*];

            pub fn code(self) -> u16 {
                match self { $(CloseCode::$variant => $code,)* }
            }

            /// The text in the close frame, at most 123 bytes.
            pub fn reason(self) -> &'static str {
                match self { $(CloseCode::$variant => $reason,)* }
            }
        }
    };
}

close_codes! {
    Normal = 1000, "";
    ProtocolError = 1002, "protocol error";
    InvalidPayload = 1007, "invalid UTF-8";
    TooBig = 1009, "message too big";
    ShuttingDown = 4000, "shutting down";
    SlowConsumer = 4001, "slow consumer";
    TokenExpired = 4002, "token expired";
    NoPong = 4003, "no pong";
    RateLimited = 4004, "rate limited";
    Unavailable = 4005, "overloaded or not available";
    Unauthorized = 4100, "unauthorized";
    NoConnect = 4101, "no connect in time";
    Kicked = 4102, "kicked";
    Replaced = 4103, "replaced by a newer connection";
    NotTheProtocol = 4104, "not the protocol";
    TooManyConnections = 4105, "too many connections";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_parse_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::parse("no such code"), None);
    }

    #[test]
    fn close_reasons_fit_a_control_frame() {
        for code in CloseCode::ALL {
            assert!(code.reason().len() <= 123);
        }
    }
}
