//! Looks through the `input` of a call of Responses for what names objects that the provider keeps: items, and files.
//!
//! A reading of its own, after the strict one, as only few routes ask. Must not know what becomes of such a call.

use std::ops::Range;

use super::Peek;
use super::cursor::Cursor;
use super::fault::BodyFault;
use super::keys::Unescaped;
use super::value::literal;

/// The parameter by which a call reads kept state, if it does: `previous_response_id`, `conversation`, `background`,
/// `item_reference` or `file_id`. `body` is what was read.
///
/// An item without anything but an id is a reference, as its type may be left out. A `file_id` names a file to be read
/// wherever it stands, but for the citations of an earlier answer.
#[must_use]
pub fn reads_kept_state(peek: &Peek, body: &[u8]) -> Option<&'static str> {
    let state = &peek.state;
    if state.previous_response_id {
        return Some("previous_response_id");
    }
    if state.conversation {
        return Some("conversation");
    }
    if state.background {
        return Some("background");
    }
    in_input(body, state.input_span.as_ref()?)
}

/// A container around the place where we are.
#[derive(Clone, Copy, Default)]
struct Nest {
    is_object: bool,
    /// Whether it is an item of the input.
    is_item: bool,
    has_id: bool,
    has_file: bool,
    /// Whether its type is one that only tells of a file.
    cites: bool,
    /// Whether it has a key other than `id` and `type`.
    has_more: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    Other,
    Id,
    Type,
    File,
}

fn in_input(body: &[u8], span: &Range<usize>) -> Option<&'static str> {
    // The strict reading went over it before, so there is no fault to come.
    walk(Cursor::new(body.get(span.clone())?)).ok().flatten()
}

fn walk(mut cursor: Cursor<'_>) -> Result<Option<&'static str>, BodyFault> {
    let mut nests: Vec<Nest> = Vec::new();
    let mut under = Under::Other;
    loop {
        match cursor.next_token() {
            Some(b'"') => {
                let text = cursor.string()?;
                if let Some(nest) = nests.last_mut() {
                    match under {
                        Under::Id => nest.has_id = true,
                        Under::File => nest.has_file = true,
                        Under::Type if is(text.raw, "item_reference") => return Ok(Some("item_reference")),
                        Under::Type => nest.cites = cites(text.raw),
                        Under::Other => {}
                    }
                }
            }
            Some(open @ (b'{' | b'[')) => {
                let is_object = open == b'{';
                let is_item = is_object && nests.len() == 1 && nests.last().is_some_and(|nest| !nest.is_object);
                cursor.bump();
                nests.push(Nest { is_object, is_item, ..Nest::default() });
                // Both closing brackets come two after their opening ones in ASCII.
                if cursor.next_token() != Some(open + 2) {
                    under = member(&mut cursor, nests.last_mut())?;
                    continue;
                }
                cursor.bump();
                nests.pop();
            }
            Some(b'-' | b'0'..=b'9') => {
                cursor.number()?;
            }
            _ => literal(&mut cursor)?,
        }
        loop {
            let Some(nest) = nests.last_mut() else { return Ok(None) };
            if cursor.next_token() == Some(b',') {
                cursor.bump();
                under = member(&mut cursor, Some(nest))?;
                break;
            }
            cursor.bump();
            if nest.has_file && !nest.cites {
                return Ok(Some("file_id"));
            }
            if nest.is_item && nest.has_id && !nest.has_more {
                return Ok(Some("item_reference"));
            }
            nests.pop();
        }
    }
}

/// Goes past what comes before the next value: a key, in an object.
fn member(cursor: &mut Cursor<'_>, nest: Option<&mut Nest>) -> Result<Under, BodyFault> {
    let Some(nest) = nest.filter(|nest| nest.is_object) else { return Ok(Under::Other) };
    let key = cursor.key()?;
    let under = match &*key.name() {
        "id" => Under::Id,
        "type" => Under::Type,
        "file_id" => Under::File,
        _ => Under::Other,
    };
    nest.has_more |= !matches!(under, Under::Id | Under::Type);
    Ok(under)
}

/// Annotations of an earlier answer, sent back with it: they say where its words are from, and read nothing.
fn cites(kind: &[u8]) -> bool {
    ["file_citation", "container_file_citation", "file_path"].into_iter().any(|name| is(kind, name))
}

/// Whether a string as it stands, escapes and all, is this name.
fn is(raw: &[u8], name: &str) -> bool {
    std::str::from_utf8(raw).is_ok_and(|raw| Unescaped::new(raw).eq(name.chars()))
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, peek};
    use super::*;
    use crate::wire::endpoint::Endpoint;
    use proptest::prelude::*;

    fn read(members: &str) -> Option<&'static str> {
        let body = format!(r#"{{"model":"m",{members}}}"#);
        let peek = peek(Endpoint::Responses, body.as_bytes(), Rules::default()).unwrap();
        reads_kept_state(&peek, body.as_bytes())
    }

    #[test]
    fn whatever_names_a_kept_object_is_found_and_told_by_name() {
        for (members, param) in [
            (r#""input":"x","previous_response_id":"r""#, "previous_response_id"),
            (r#""input":"x","conversation":{"id":"c"}"#, "conversation"),
            (r#""input":"x","background":true"#, "background"),
            (r#""input":[{"type":"item_reference","id":"msg_1"}]"#, "item_reference"),
            (r#""input":[{"id":"msg_1"}]"#, "item_reference"),
            (r#""input":[{"id":"msg_1","type":null}]"#, "item_reference"),
            (r#""input":[{"role":"user","content":"x"},{"type":"item\u005freference","id":"m"}]"#, "item_reference"),
            (r#""input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#, "file_id"),
            (r#""input":[{"role":"user","content":[{"file_id":"f","type":"input_image","detail":"low"}]}]"#, "file_id"),
            (r#""input":[{"role":"user","content":[{"type":"input_file","file\u005fid":"f"}]}]"#, "file_id"),
            (
                r#""input":[{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","file_id":"f"}}]"#,
                "file_id",
            ),
        ] {
            assert_eq!(read(members), Some(param), "{members}");
        }
    }

    #[test]
    fn a_call_that_brings_all_that_it_needs_reads_nothing() {
        for members in [
            r#""input":"item_reference file_id""#,
            r#""input":[]"#,
            r#""instructions":"x""#,
            r#""input":"x","previous_response_id":null,"conversation":null,"background":false"#,
            r#""input":[{"type":"message","role":"assistant","id":"msg_1","content":[]}]"#,
            r#""input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"}]"#,
            r#""input":[{"role":"user","content":[{"type":"input_image","image_url":"data:x","file_id":null}]}]"#,
            r#""input":[{"role":"assistant","content":[{"type":"output_text","text":"t","annotations":[{"type":"file_citation","file_id":"f","index":1},{"file_id":"f","container_id":"c","type":"container_file_citation"}]}]}]"#,
            r#""input":[{"role":"user","content":"{\"type\":\"item_reference\",\"file_id\":\"f\"}"}]"#,
            r#""input":[{"role":"user","content":[{"type":"input_text","text":"x","extra":{"id":"a"}}]}]"#,
            r#""input":[[],{},[{}],1.5e3,true,null]"#,
        ] {
            assert_eq!(read(members), None, "{members}");
        }
        let chat = br#"{"model":"m","messages":[],"input":[{"id":"x"}]}"#;
        let chat_peek = peek(Endpoint::ChatCompletions, chat, Rules::default()).unwrap();
        assert_eq!(reads_kept_state(&chat_peek, chat), None);
    }

    proptest! {
        #[test]
        fn a_reference_is_found_among_any_items(before in "[a-z{}\\[\\],: ]{0,20}", after in 0_usize..5, depth in 0_usize..20) {
            let text = serde_json::to_string(&before).unwrap();
            let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            let more = r#",{"role":"user","content":"y"}"#.repeat(after);
            let members = format!(r#""input":[{{"role":"user","content":{text},"x":{deep}}},{{"id":"i"}}{more}]"#);
            prop_assert_eq!(read(&members), Some("item_reference"));
            let members = members.replace(r#"{"id":"i"}"#, r#"{"id":"i","role":"user"}"#);
            prop_assert_eq!(read(&members), None);
        }
    }
}
