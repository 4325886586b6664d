//! Walks through the JSON of an answer or of one event as it arrives in pieces, and keeps what [`shape`](super::shape) asks for.
//!
//! Must not know SSE, nor what becomes of the findings. It never holds more of the text than one short word
//! (256 bytes), never recurses, takes linear time, and is lenient: what does not follow the grammar of brackets, keys and
//! strings ends the walk for this document, and everything else is skipped unjudged.

use memchr::memchr2;

use super::counts::{Anomaly, Counts};
use super::shape::{Act, Node};

mod found;
pub(crate) mod number;
pub(crate) mod text;
mod word;

use found::Aside;
use found::Choice;
pub(crate) use found::{Choices, EventFound, Found, Kind, Mark, Varying};
use word::{WORD, Word};

/// The longest model name that is kept, in bytes.
const MODEL: usize = 128;
/// The deepest place that a dialect knows; what lies deeper is skipped by counting brackets.
const DEEPEST: usize = 12;
/// How many varying places of an event are remembered; see [`Mark`].
pub(crate) const MARKS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value must come.
    Value,
    /// A value or the end of the list.
    FirstValue,
    /// A key or the end of the object.
    FirstKey,
    /// A key must come.
    Key,
    Colon,
    /// A comma or an end must come.
    After,
    Str,
    Scalar,
    /// Inside a value that is skipped.
    Tree,
    /// The document is complete.
    Closed,
    /// The document is not JSON.
    Lost,
}

/// What is done with the content of the string in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Skip,
    Count,
    Word,
}

/// The walk itself: one per answer, taken up anew for every event.
#[derive(Debug)]
pub(crate) struct Walk {
    root: Node,
    state: State,
    /// What the value that comes, or is being read, is for.
    act: Act,
    sink: Sink,
    is_key: bool,
    escape: text::Escape,
    stack: [Node; DEEPEST],
    depth: usize,
    /// Open brackets of the value that is skipped.
    tree: u64,
    counts: Counts,
    choice: Choice,
    word: Word,
    /// Bytes of the document before the slice in hand.
    base: u64,
    marks: [Mark; MARKS],
    /// May be above [`MARKS`]: then some are missing.
    mark_count: usize,
    mark_start: u64,
    pub(crate) event: EventFound,
    pub(crate) found: Found,
}

impl Walk {
    pub(crate) fn new(root: Node) -> Walk {
        Walk {
            root,
            state: State::Value,
            act: Act::Enter(root),
            sink: Sink::Skip,
            is_key: false,
            escape: text::Escape::None,
            stack: [root; DEEPEST],
            depth: 0,
            tree: 0,
            counts: Counts::default(),
            choice: Choice::default(),
            word: Word::new(),
            base: 0,
            marks: [Mark { what: Varying::Pad, start: 0, end: 0 }; MARKS],
            mark_count: 0,
            mark_start: 0,
            event: EventFound::default(),
            found: Found::default(),
        }
    }

    /// Ends the document in hand, finished or not, and begins another; the findings stay.
    pub(crate) fn restart(&mut self) {
        self.count_delta();
        self.state = State::Value;
        self.act = Act::Enter(self.root);
        self.escape = text::Escape::None;
        self.is_key = false;
        self.depth = 0;
        self.tree = 0;
        self.base = 0;
        self.mark_count = 0;
        self.event = EventFound::default();
    }

    /// Takes the next piece of the document; says how much of it was looked at: what follows a document's end is not.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at = match self.state {
                State::Value | State::FirstValue => self.value(byte, at),
                State::FirstKey | State::Key => self.key(bytes, at),
                State::Colon => self.colon(byte, at),
                State::After => self.after(byte, at),
                State::Str => self.string(bytes, at),
                State::Scalar => self.scalar(bytes, at),
                State::Tree => self.tree(bytes, at),
                State::Closed | State::Lost => break,
            };
        }
        self.base = self.base.saturating_add(bytes.len() as u64);
        at
    }

    /// Whether the document is complete.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether the document, as far as it came, may still turn out to be an object with empty `choices` and a usage.
    pub(crate) fn may_be_usage_chunk(&self) -> bool {
        match self.state {
            State::Lost => false,
            State::Closed => self.event.choices == Choices::Empty && self.event.usage,
            // The root is no object.
            state if self.depth == 0 && state != State::Value => false,
            _ => self.event.choices != Choices::Filled,
        }
    }

    /// Decoded bytes of generated text so far, those of the unfinished document included.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.found.text.saturating_add(self.event.delta_that_counts()).max(self.found.whole_text)
    }

    /// The varying places of this document; none if there are too many to remember.
    pub(crate) fn marks(&self) -> Option<&[Mark]> {
        self.marks.get(..self.mark_count)
    }

    fn value(&mut self, byte: u8, at: usize) -> usize {
        if is_space(byte) {
            return at + 1;
        }
        if byte == b']' && self.state == State::FirstValue {
            return self.close(byte, at);
        }
        self.begin_element();
        match byte {
            b'"' => self.begin_string(at),
            b'{' | b'[' => self.begin_container(byte),
            b'0'..=b'9' | b'-' | b't' | b'f' | b'n' => {
                self.begin_scalar(byte, at);
                return at;
            }
            _ => self.state = State::Lost,
        }
        at + 1
    }

    /// Any element at all makes `choices` filled.
    fn begin_element(&mut self) {
        match self.act {
            Act::Enter(Node::Choice) => self.event.choices = Choices::Filled,
            Act::Image => self.found.images = self.found.images.saturating_add(1),
            _ => {}
        }
    }

    fn begin_container(&mut self, open: u8) {
        let node = match self.act {
            Act::Enter(node) => Some(node),
            Act::TextOrBlocks if open == b'[' => Some(Node::Blocks),
            _ => None,
        };
        match node.filter(|node| node.is_array() == (open == b'[')) {
            Some(node) if self.push(node) => {
                self.state = if open == b'[' { State::FirstValue } else { State::FirstKey };
                if open == b'[' {
                    self.act = node.element();
                }
                self.enter(node);
            }
            _ => {
                self.note_misplaced();
                self.tree = 1;
                self.state = State::Tree;
            }
        }
    }

    fn enter(&mut self, node: Node) {
        match node {
            Node::Usage => {
                self.event.usage |= self.depth == 2;
                self.event.usage_anywhere = true;
                self.counts = Counts::default();
            }
            Node::ChoiceUsage | Node::SvgUsage => {
                self.event.usage_anywhere = true;
                self.counts = Counts::default();
            }
            Node::Choice => self.choice = Choice::default(),
            _ => {}
        }
    }

    /// A value that is neither null nor of the kind that belongs here.
    fn note_misplaced(&mut self) {
        match self.act {
            Act::Enter(Node::Usage) => {
                self.event.usage |= self.depth == 1;
                self.event.usage_anywhere = true;
                self.found.anomalies.add(Anomaly::WrongType);
            }
            Act::Enter(Node::Choices) => self.event.choices = Choices::Filled,
            Act::Count(_) => self.counts.note(Anomaly::WrongType),
            Act::Error => self.event.error = true,
            _ => {}
        }
    }

    fn push(&mut self, node: Node) -> bool {
        let Some(place) = self.stack.get_mut(self.depth) else { return false };
        *place = node;
        self.depth += 1;
        true
    }

    /// The innermost open container.
    fn top(&self) -> Option<Node> {
        self.stack.get(self.depth.checked_sub(1)?).copied()
    }

    fn key(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(&byte) = bytes.get(at) else { return at };
        if is_space(byte) {
            return at + 1;
        }
        if byte == b'}' && self.state == State::FirstKey {
            return self.close(byte, at);
        }
        if byte != b'"' {
            self.state = State::Lost;
            return at + 1;
        }
        let start = at + 1;
        let rest = bytes.get(start..).unwrap_or_default();
        if let Some(length) = memchr2(b'"', b'\\', rest)
            && rest.get(length) == Some(&b'"')
        {
            self.look_up(rest.get(..length).unwrap_or_default());
            return start + length + 1;
        }
        self.is_key = true;
        self.sink = Sink::Word;
        self.word.clear();
        self.state = State::Str;
        start
    }

    fn look_up(&mut self, key: &[u8]) {
        self.act = self.top().map_or(Act::Skip, |node| node.member(key));
        self.state = State::Colon;
    }

    fn colon(&mut self, byte: u8, at: usize) -> usize {
        match byte {
            b':' => self.state = State::Value,
            byte if is_space(byte) => {}
            _ => self.state = State::Lost,
        }
        at + 1
    }

    fn after(&mut self, byte: u8, at: usize) -> usize {
        match byte {
            b',' => match self.top() {
                Some(node) if node.is_array() => {
                    self.act = node.element();
                    self.state = State::Value;
                }
                Some(_) => self.state = State::Key,
                None => self.state = State::Lost,
            },
            b']' | b'}' => return self.close(byte, at),
            byte if is_space(byte) => {}
            _ => self.state = State::Lost,
        }
        at + 1
    }

    fn close(&mut self, byte: u8, at: usize) -> usize {
        match self.top() {
            Some(node) if node.is_array() == (byte == b']') => {
                self.leave(node);
                self.depth -= 1;
                self.end_value();
            }
            _ => self.state = State::Lost,
        }
        at + 1
    }

    fn leave(&mut self, node: Node) {
        match node {
            Node::Usage => {
                let settled = self.counts.settle();
                self.found.note(&settled);
            }
            Node::ChoiceUsage => {
                let settled = self.counts.settle();
                self.found.note_aside(&settled, Aside::Choice);
            }
            Node::SvgUsage => {
                let settled = self.counts.settle();
                self.found.note_aside(&settled, Aside::Svg);
            }
            Node::Choice => self.found.progress.note(self.choice),
            Node::Choices if self.event.choices == Choices::Unseen => self.event.choices = Choices::Empty,
            _ => {}
        }
    }

    /// A value is complete; with the outermost one, the document is.
    fn end_value(&mut self) {
        if self.depth > 0 {
            self.state = State::After;
            return;
        }
        self.state = State::Closed;
        self.count_delta();
        self.found.failure |= self.event.error || self.event.kind == Kind::Failed;
        if self.event.kind == Kind::Drawn {
            self.found.images = self.found.images.saturating_add(1);
        }
    }

    fn count_delta(&mut self) {
        self.found.text = self.found.text.saturating_add(self.event.delta_that_counts());
        self.event.delta = 0;
    }

    fn tree(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(found) = text::bracket_or_quote(bytes, at) else { return bytes.len() };
        match bytes.get(found) {
            Some(b'"') => {
                self.sink = Sink::Skip;
                self.state = State::Str;
            }
            Some(b'{' | b'[') => self.tree = self.tree.saturating_add(1),
            _ => {
                self.tree = self.tree.saturating_sub(1);
                if self.tree == 0 {
                    self.end_value();
                }
            }
        }
        found + 1
    }

    fn mark(&mut self, what: Varying, start: u64, end: u64) {
        if let Some(place) = self.marks.get_mut(self.mark_count) {
            *place = Mark { what, start, end };
        }
        self.mark_count = self.mark_count.saturating_add(1);
    }

    /// Says that this document has a varying place for which there is no mark.
    fn mark_none(&mut self) {
        self.mark_count = MARKS + 1;
    }

    fn position(&self, at: usize) -> u64 {
        self.base.saturating_add(at as u64)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests;
