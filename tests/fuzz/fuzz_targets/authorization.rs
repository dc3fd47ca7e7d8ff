#![no_main]
herald_fuzz::target!("authorization");
