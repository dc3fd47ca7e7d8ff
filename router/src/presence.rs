//! Who is online, from what the presence bucket says: the table that routers answer from, and that gateways keep of the
//! users that their clients watch.
//!
//! A user's key counts only while the lease of its node's incarnation stands. So a crashed node's users go offline with
//! one event, and taking their keys away is mere cleanup. A session over HTTP counts while its own key stands, which ends
//! by itself unless the session is refreshed.

use std::time::Duration;

use herald_proto::limits;

mod event;
mod fact;
mod table;

pub use event::apply;
pub use fact::Fact;
pub use table::{Change, Lapsed, Table};

/// Every router and gateway writes to the bucket more often than this. Where nothing was heard for longer, leases could
/// not be refreshed either.
const SILENCE: Duration = Duration::from_secs(5);

/// A lease that ended in, or soon after, such a silence counts for so long yet: its node puts it back, if it lives.
const POSTPONED: Duration = limits::LEASE.checked_div(2).expect("two is not zero");

/// The keys of an incarnation without a lease are taken away after this.
pub const LAPSE: Duration = Duration::from_secs(60);
