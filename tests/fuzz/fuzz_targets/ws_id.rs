#![no_main]
herald_fuzz::target!("ws_id");
