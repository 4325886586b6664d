//! Feeds the reader of forms with anything, in any pieces: it must say the same of it, and must not panic.
//!
//! The first byte of the input says how the rest is cut; the boundary is always the same, so that it can be found.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::wire::form::read_all;

const BOUNDARY: &[u8] = b"b0";

fuzz_target!(|input: &[u8]| {
    let [step, form @ ..] = input else { return };
    let whole = read_all(BOUNDARY, [form]);
    let pieces = read_all(BOUNDARY, form.chunks(usize::from(*step).max(1)));
    assert_eq!(whole.is_ok(), pieces.is_ok());
    assert_eq!(whole.ok(), pieces.ok());
});
