#![no_main]
herald_fuzz::target!("frames");
