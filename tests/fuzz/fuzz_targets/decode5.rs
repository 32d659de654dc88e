#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hubbub_tests::fuzz::decode5(data));
