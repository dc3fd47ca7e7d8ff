//! What of a gateway's settings can change while it runs.

use herald_router::config::changes::Rules;

pub const RULES: Rules = Rules {
    live: &[
        "public.tls",
        "admin.tls",
        "admin.api_keys",
        "auth",
        "router.client_join",
        "router.direct",
        "router.visibility",
        "router.groups_per_user",
        "router.revocations_kept",
        "logging.level",
    ],
    restart: &[
        "node",
        "drain",
        "public.listen",
        "public.origins",
        "public.trusted_proxies",
        "public.client_address",
        "admin.listen",
        "nats",
        "session",
        "login",
        "limits",
        "dialects",
        "presence",
        "services",
        "routes",
        "router.last_seen_kept",
        "log",
        "logging.format",
    ],
    // Services' URLs may hold what is nobody's business.
    secret: &[
        "admin.api_keys",
        "auth.keys",
        "login.accounts",
        "nats.urls",
        "nats.password",
        "nats.token",
        "nats.nkey_seed",
        "services",
    ],
    lasting: &["public.tls", "admin.tls"],
};
