//! What the fuzzer in `tests/fuzz` runs, and a test here with every build: each target reads bytes as somebody outside may
//! send them, and panics where what comes out breaks a promise. Not a part of the gateway.

mod config;
mod dialects;
mod frames;
mod names;
mod receivers;
mod requests;

#[cfg(test)]
mod tests;

pub type Target = fn(&[u8]);

/// By their names, which are those of their folders in `tests/fuzz/corpus` too.
pub const TARGETS: [(&str, Target); 17] = [
    ("json", dialects::json),
    ("proto", dialects::proto),
    ("im", dialects::im),
    ("opcode", dialects::opcode),
    ("hub", dialects::hub),
    ("ws_id", dialects::ws_id),
    ("echo", dialects::echo),
    ("frames", frames::frames),
    ("token", requests::token),
    ("cursor", names::cursor),
    ("subject", names::subject),
    ("config", config::config),
    ("envelope", requests::envelope),
    ("login", requests::login),
    ("authorization", requests::authorization),
    ("proxies", requests::proxies),
    ("loose", requests::loose),
];

pub fn target(name: &str) -> Option<Target> {
    TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, target)| *target)
}
