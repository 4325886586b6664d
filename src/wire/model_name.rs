//! Decides whether a client's text can be the name of a model at all, before anyone looks it up.
//!
//! Must not know which models exist.

/// The longest model name that is accepted, in bytes.
pub const LONGEST: usize = 256;

/// What is wrong with `name` as a model's name, in words that fit after "the model name …"; `None` if nothing is.
///
/// Refused are names that two readers could take for different ones: empty or over [`LONGEST`], with control characters, with
/// white space at an end, or not in Unicode's normal form C as far as a small table can tell (a Latin letter with a mark that
/// has a letter of its own, and characters that are never in that form). Case and inner spaces are the operator's business.
#[must_use]
pub fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    if name.len() > LONGEST {
        return Some("is longer than 256 bytes");
    }
    if name.starts_with(is_edge_space) || name.ends_with(is_edge_space) {
        return Some("begins or ends with white space");
    }
    if name.chars().any(char::is_control) {
        return Some("has a control character");
    }
    if name.is_ascii() || is_composed(name) { None } else { Some("is not in Unicode normal form C") }
}

/// White space, and the characters that look like none.
fn is_edge_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

/// Whether nothing in `name` is known to change under normalisation to form C (UAX #15).
fn is_composed(name: &str) -> bool {
    let mut before = '\0';
    name.chars().all(|c| {
        let pair_has_own_letter = before.is_ascii_alphabetic()
            && COMPOSING.iter().any(|&(mark, letters)| mark == c && letters.contains(before));
        before = c;
        !pair_has_own_letter && !NEVER_COMPOSED.iter().any(|range| range.contains(&c))
    })
}

/// Combining marks, each with the ASCII letters that it forms one character with (Unicode 14, canonical composition).
const COMPOSING: [(char, &str); 25] = [
    ('\u{300}', "aeinouwyAEINOUWY"),
    ('\u{301}', "acegiklmnoprsuwyzACEGIKLMNOPRSUWYZ"),
    ('\u{302}', "aceghijosuwyzACEGHIJOSUWYZ"),
    ('\u{303}', "aeinouvyAEINOUVY"),
    ('\u{304}', "aegiouyAEGIOUY"),
    ('\u{306}', "aegiouAEGIOU"),
    ('\u{307}', "abcdefghmnoprstwxyzABCDEFGHIMNOPRSTWXYZ"),
    ('\u{308}', "aehiotuwxyAEHIOUWXY"),
    ('\u{309}', "aeiouyAEIOUY"),
    ('\u{30a}', "auwyAU"),
    ('\u{30b}', "ouOU"),
    ('\u{30c}', "acdeghijklnorstuzACDEGHIKLNORSTUZ"),
    ('\u{30f}', "aeioruAEIORU"),
    ('\u{311}', "aeioruAEIORU"),
    ('\u{31b}', "ouOU"),
    ('\u{323}', "abdehiklmnorstuvwyzABDEHIKLMNORSTUVWYZ"),
    ('\u{324}', "uU"),
    ('\u{325}', "aA"),
    ('\u{326}', "stST"),
    ('\u{327}', "cdeghklnrstCDEGHKLNRST"),
    ('\u{328}', "aeiouAEIOU"),
    ('\u{32d}', "delntuDELNTU"),
    ('\u{32e}', "hH"),
    ('\u{330}', "eiuEIU"),
    ('\u{331}', "bdhklnrtzBDKLNRTZ"),
];

/// Characters that normal form C never has: those of them that anyone meets.
const NEVER_COMPOSED: [std::ops::RangeInclusive<char>; 14] = [
    '\u{340}'..='\u{341}',
    '\u{343}'..='\u{344}',
    '\u{374}'..='\u{374}',
    '\u{37e}'..='\u{37e}',
    '\u{387}'..='\u{387}',
    '\u{958}'..='\u{95f}',
    '\u{2000}'..='\u{2001}',
    '\u{2126}'..='\u{2126}',
    '\u{212a}'..='\u{212b}',
    '\u{2329}'..='\u{232a}',
    '\u{f900}'..='\u{fa0d}',
    '\u{fa70}'..='\u{fad9}',
    '\u{fb2a}'..='\u{fb36}',
    '\u{2f800}'..='\u{2fa1d}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_use_pass() {
        for name in ["gpt-5", "meta/llama 3:8b", "sim/delay-2s", "модель", "模型", "café", "q\u{301}", &"x".repeat(256)]
        {
            assert_eq!(fault(name), None, "{name:?}");
        }
    }

    #[test]
    fn names_that_two_readers_could_take_differently_are_refused() {
        for name in [
            "",
            " gpt",
            "gpt ",
            "gpt\u{a0}",
            "gpt\u{200b}",
            "\u{feff}gpt",
            "g\0pt",
            "gpt\n",
            "g\u{7f}pt",
            "g\u{85}pt",
            "cafe\u{301}",
            "\u{212a}imi",
            "\u{f900}",
            &"x".repeat(257),
        ] {
            assert!(fault(name).is_some(), "{name:?}");
        }
    }
}
