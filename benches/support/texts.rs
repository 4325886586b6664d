//! The requests and answers that are measured, shaped as OpenAI's are.

use bytes::Bytes;

/// A chat request of about 500 bytes; `stream` says whether it asks for a stream, without usage in it.
pub(crate) fn chat(stream: bool) -> Bytes {
    let content = "What does a gateway between an application and a language model do, and what does it cost in time? \
                   Answer in one short paragraph, then name the two things that it must never do.";
    let streamed = if stream { r#""stream":true,"# } else { "" };
    Bytes::from(format!(
        r#"{{"model":"bench-model",{streamed}"messages":[{{"role":"system","content":"You are a helpful assistant that answers in one short paragraph and never invents a source."}},{{"role":"user","content":"{content}"}}],"temperature":0.7,"max_tokens":256,"user":"user-1234"}}"#
    ))
}

/// A chat answer of about 600 bytes, with its usage.
pub(crate) fn answer() -> Bytes {
    let content = "It checks who calls and what they may spend, sends the call where it belongs, and writes down what it \
                   took. It must never change what it was not asked to change, and never wait where it can refuse.";
    Bytes::from(format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench-model-1","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":57,"completion_tokens":41,"total_tokens":98,"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}"#
    ))
}

/// The events of a streamed chat answer: `number` with text, then the finish, the usage where it is asked for, and `[DONE]`.
pub(crate) fn events(number: usize, usage: bool) -> Vec<Bytes> {
    let event = |rest: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\
             \"model\":\"bench-model-1\",\"system_fingerprint\":\"fp_bench\",{rest}}}\n\n"
        ))
    };
    let choice = |delta: &str, finish: &str| {
        event(&format!(r#""choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]"#))
    };
    let mut events: Vec<Bytes> =
        (0..number).map(|n| choice(&format!(r#"{{"content":" word{}"}}"#, n % 1_000), "null")).collect();
    events.push(choice("{}", "\"stop\""));
    if usage {
        let total = number + 57;
        events.push(event(&format!(
            r#""choices":[],"usage":{{"prompt_tokens":57,"completion_tokens":{number},"total_tokens":{total}}}"#
        )));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}
