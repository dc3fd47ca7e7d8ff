//! libFuzzer around the targets of `herald_gateway::fuzzing`, and a limit on what each may allocate.

use std::alloc::System;

use cap::Cap;

pub use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

/// What may be allocated for an input, all in all, however short a time it is kept: so much for each byte of it, and so much
/// in any case. A list of users takes 24 bytes for each empty text of two, its growing doubles that, and there are readers
/// in nine dialects.
const PER_BYTE: usize = 1_024;
const ANYWAY: usize = 1 << 20;

pub fn run(target: fn(&[u8]), data: &[u8]) {
    let before = ALLOCATED.total_allocated();
    target(data);
    let allocated = ALLOCATED.total_allocated() - before;
    assert!(
        allocated <= ANYWAY + PER_BYTE * data.len(),
        "{allocated} bytes allocated for an input of {}",
        data.len()
    );
}

#[macro_export]
macro_rules! target {
    ($name:literal) => {
        $crate::fuzz_target!(|data: &[u8]| {
            let target = herald_gateway::fuzzing::target($name).expect("a target of this name");
            $crate::run(target, data);
        });
    };
}
