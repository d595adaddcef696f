#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| relinkd::fuzzing::csv(input));
