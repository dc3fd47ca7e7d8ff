//! Defaults of the limits in PROTOCOL.md, and deadlines that gateways and routers must agree on.

use std::time::Duration;

/// Largest frame of the native dialects. A body that fits passes with its envelope through NATS' default 1 MiB.
pub const FRAME_BYTES: u64 = 64 << 10;
/// What may wait for one connection before it counts as a slow consumer.
pub const OUTBOX_BYTES: u64 = 1 << 20;
pub const GROUPS_PER_USER: usize = 1_000;
pub const COMMANDS_PER_SECOND: u32 = 100;
pub const COMMANDS_BURST: u32 = 200;
/// Of one connection: sixteen of the largest frames each second, and some dozens at once.
pub const BYTES_PER_SECOND: u64 = 1 << 20;
pub const BYTES_BURST: u64 = 4 << 20;
/// Of one node. A hundred thousand idle connections take less than a gigabyte.
pub const CONNECTIONS: u32 = 100_000;
/// What a node welcomes without its other clients feeling it; and all that come back at once when another node dies.
pub const NODE_CONNECTS_PER_SECOND: u32 = 2_000;
pub const NODE_CONNECTS_BURST: u32 = 20_000;
pub const CONNECTIONS_PER_ADDRESS: u32 = 1_000;
pub const CONNECTS_PER_SECOND: u32 = 50;
pub const CONNECTS_BURST: u32 = 200;
pub const HTTP_BODY_BYTES: u64 = 1 << 20;
/// Targets, messages or members that one call of the server API may name.
pub const TARGETS_PER_CALL: usize = 1_000;
/// Users that one `presence`, `watch` or `unwatch` may name.
pub const USERS_PER_QUERY: usize = 1_000;

/// Deepest nesting of arrays and objects in a JSON body. Parsers of many languages recurse: a deeper body would be an
/// attack on its receivers.
pub const JSON_DEPTH: usize = 64;

/// How often the server pings, and how long it waits for any frame in return.
pub const PING: Duration = Duration::from_secs(25);
pub const PONG: Duration = Duration::from_secs(10);
/// The first frame must come within this where no token came with the upgrade.
pub const CONNECT: Duration = Duration::from_secs(10);

/// A router's append gives up after this …
pub const APPEND: Duration = Duration::from_secs(3);
/// … of messages that came in one request those that are not done by then are told to be unknown, so that the others
/// are known …
pub const SENDS: Duration = Duration::from_millis(3_500);
/// … and a gateway that heard nothing for this long asks another router, once. Twice this stays below the 10 s within
/// which every command is answered.
pub const ROUTER: Duration = Duration::from_secs(4);

/// By so much the clocks of two nodes may differ. What comes later than this after it was asked for has been answered.
pub const CLOCKS: Duration = Duration::from_secs(10);

/// Messages of one `history`.
pub const HISTORY_DEFAULT: u32 = 50;
pub const HISTORY_MAX: u32 = 1_000;

/// Entries of one page of the server API's lists.
pub const PAGE_DEFAULT: u32 = 100;
pub const PAGE_MAX: u32 = 1_000;

/// Commands of one connection that may run beside the ordered ones.
pub const CONCURRENT_COMMANDS: usize = 16;
/// Frames in a row that are no command, before the connection is closed.
pub const BAD_FRAMES: u8 = 10;

/// A message stored later than this after its own `time` was given up by its sender: it is void for every reader.
pub const VOID_AFTER: Duration = Duration::from_secs(60);
/// Retries are recognised for at least this long.
pub const DEDUP_WINDOW: Duration = Duration::from_secs(150);

/// The tokens of a kicked user are refused for so long; sessions end by then as well.
pub const REVOCATIONS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Users that one connection may watch.
pub const WATCHES: u32 = 1_000;
pub const CONNECTIONS_PER_USER: u32 = 16;
/// Calls to backends that a gateway has under way at once, each with its request and reply in memory.
pub const CALLS_IN_FLIGHT: u32 = 4_096;
/// A user who is back within this never was offline, for those who watch.
pub const GRACE: Duration = Duration::from_secs(2);

/// When one who is offline was last seen is remembered for so long.
pub const LAST_SEEN_KEPT: Duration = Duration::from_secs(72 * 3600);

/// A node's lease ends this long after its last refresh; it is refreshed three times in between.
pub const LEASE: Duration = Duration::from_secs(10);

/// A token that Herald mints lasts for so long, and may be refreshed for so long after its end.
pub const TOKEN: Duration = Duration::from_secs(3600);
pub const REFRESH_GRACE: Duration = Duration::from_secs(60);
/// The generation before the newest may refresh for so long: the answer to it may have been lost.
pub const LOST_REPLY: Duration = Duration::from_secs(60);
/// Whoever has logged in must do so again after this, however often the token was refreshed.
pub const SESSION_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
