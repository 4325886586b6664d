//! Reads the `input` of responses, their counting and compaction, and of decisions.
//!
//! Must not know what is done with it. What refers to something kept is answered as an id that nobody knows.

use super::super::answer::Speaker;
use super::super::refusal::Refusal;
use super::super::request::{Content, Prompt};
use serde::Deserialize;
use serde_json::Value;

/// A text, or a list of items.
#[derive(Deserialize)]
#[serde(untagged, expecting = "'input' must be a string or a list of items")]
pub(in super::super) enum Input {
    Text(String),
    Items(Vec<Item>),
}

#[derive(Deserialize)]
pub(in super::super) struct Item {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    #[serde(default)]
    content: Content,
    /// The result of a function.
    #[serde(default)]
    output: Content,
    /// The arguments of an earlier call.
    arguments: Option<String>,
}

impl Input {
    /// What the user said, message by message.
    pub(in super::super) fn asked(&self) -> Vec<&str> {
        match self {
            Input::Text(text) => vec![text],
            Input::Items(items) => {
                let asked = items.iter().filter(|item| item.role.as_deref() == Some("user"));
                asked.map(|item| item.content.text.as_str()).collect()
            }
        }
    }
}

/// Parameters that name something kept.
#[derive(Default, Deserialize)]
pub(in super::super) struct State {
    previous_response_id: Option<Value>,
    conversation: Option<Value>,
    background: Option<bool>,
}

impl State {
    /// Refuses what names something kept, as an id that is not known, and answers that are to be given later.
    pub(in super::super) fn check(&self) -> Result<(), Refusal> {
        if let Some(id) = &self.previous_response_id {
            return Err(Refusal::previous_response(id.as_str().unwrap_or_default()));
        }
        if let Some(conversation) = &self.conversation {
            let id = conversation.as_str().or_else(|| conversation.get("id")?.as_str());
            return Err(Refusal::conversation(id.unwrap_or_default()));
        }
        if self.background == Some(true) {
            let message = "The simulator does not answer later. Leave 'background' out.";
            return Err(Refusal::unsupported("background", message));
        }
        Ok(())
    }
}

/// Takes the input into `prompt`; what the user said last, and who spoke last.
pub(in super::super) fn read<'a>(input: &'a Input, prompt: &mut Prompt) -> Result<(&'a str, Speaker), Refusal> {
    let items = match input {
        Input::Text(text) => {
            prompt.message("user", &Content { text: text.clone(), other_parts: 0 });
            return Ok((text, Speaker::Other));
        }
        Input::Items(items) => items,
    };
    let mut asked = "";
    for item in items {
        if item.kind.as_deref() == Some("item_reference") {
            return Err(Refusal::item(item.id.as_deref().unwrap_or_default()));
        }
        prompt.message(item.role.as_deref().unwrap_or_default(), &item.content);
        prompt.text(&item.output.text);
        prompt.text(item.arguments.as_deref().unwrap_or_default());
        if item.role.as_deref() == Some("user") {
            asked = &item.content.text;
        }
    }
    let last = items.last().ok_or_else(|| Refusal::value("input", "Invalid 'input': the list is empty."))?;
    let is_result = last.kind.as_deref() == Some("function_call_output");
    Ok((asked, if is_result { Speaker::Tool } else { Speaker::Other }))
}
