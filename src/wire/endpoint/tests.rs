//! Paths and methods: what the table matches, and what it must not.

use proptest::prelude::*;

use super::*;

fn found(method: &Method, path: &str) -> Result<(Endpoint, Option<String>), NotServed> {
    find(method, path).map(|found| (found.endpoint, found.model_id.map(Cow::into_owned)))
}

#[test]
fn the_table_is_in_the_order_of_the_endpoints() {
    for (place, row) in TABLE.iter().enumerate() {
        assert_eq!(row.endpoint as usize, place, "{}", row.path);
    }
}

#[test]
fn every_endpoint_is_found_with_and_without_v1_and_with_slashes_repeated_or_at_the_end() {
    for endpoint in Endpoint::ALL.into_iter().filter(|&endpoint| endpoint != Endpoint::Model) {
        let method = if endpoint.class() == Class::Inference { Method::POST } else { Method::GET };
        let path = endpoint.path();
        let doubled = path.replace('/', "//");
        for raw in [
            format!("/v1/{path}"),
            format!("/{path}"),
            format!("//v1/{path}"),
            format!("/v1//{path}"),
            format!("//{path}"),
            format!("/v1/{path}/"),
            format!("/{path}//"),
            format!("/v1/{doubled}"),
        ] {
            assert_eq!(found(&method, &raw), Ok((endpoint, None)), "{raw}");
        }
    }
}

#[test]
fn b1_nothing_else_is_normalised_into_a_match() {
    for raw in [
        "",
        "/",
        "//",
        "/v1",
        "/v1/",
        "v1/models",
        "/v1/v1/models",
        "/v2/models",
        "/v1x/models",
        "/v1/../admin",
        "/v1/../v1/models",
        "/v1/./models",
        "/v1/%2e%2e/x",
        "/v1/%2e/models",
        "/V1/models",
        "/v1/Models",
        "/V1/Chat",
        "/v1/chat/Completions",
        "/v1/chat%2Fcompletions",
        "/v1%2Fchat/completions",
        "/%76%31/models",
        "/v1/models;x",
        "/v1/chat;x/completions",
        "/v1/chat/completions;x=1",
        "/v1/chat/completions%00",
        "/v1/chat/completions\0",
        "/v1/chat\\completions",
        "\\v1\\models",
        "/v1/chat/completions%3Fa",
        "/v1/chat/completions?a=1",
        "/v1/chat%252Fcompletions",
        "/v1/chat",
        "/v1/models%2Fgpt",
        "/v1/models/../admin",
        "/v1/models/%2e%2e/admin",
        "/v1/models/a/%2E%2E/b",
        "/v1/models/.",
        "/v1/models/a\\b",
        "/v1/models/a%5Cb",
        "/v1/models/a%00b",
        "/v1/models/a%0ab",
        "/v1/models/a%",
        "/v1/models/a%2",
        "/v1/models/a%zz",
        "/v1/models/a%+1",
        "/v1/models/a%ff",
        "/v1/models/%20a",
        "/metrics",
        "/tokenize",
        "/v1/load_lora_adapter",
        "/healthz",
        "/v1/organization/users",
        "/v1/projects",
        "/v1/webhook_endpoints",
        "/v1/safety/x",
        "/v1/responses/a/b",
        "/v1/responses/a/cancel/b",
    ] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(found(&method, raw), Err(NotServed::UnknownPath), "{method} {raw}");
        }
    }
}

#[test]
fn a_model_id_is_decoded_once_and_may_hold_slashes() {
    for (raw, id) in [
        ("/v1/models/gpt-5", "gpt-5"),
        ("/models/gpt-5/", "gpt-5"),
        ("/v1//models//gpt-5", "gpt-5"),
        ("/v1/models/meta%2Fllama%203:8b", "meta/llama 3:8b"),
        ("/v1/models/meta/llama", "meta/llama"),
        ("/v1/models/a%252Fb", "a%2Fb"),
        ("/v1/models/%D0%BC", "м"),
        ("/v1/models/a;x", "a;x"),
        ("/v1/models/..a", "..a"),
        ("/v1/models/models", "models"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(found(&method, raw), Ok((Endpoint::Model, Some(id.to_owned()))), "{raw}");
        }
    }
    assert_eq!(found(&Method::GET, &format!("/v1/models/{}", "x".repeat(257))), Err(NotServed::UnknownPath));
}

#[test]
fn azures_spellings_mean_the_same_operations_and_name_the_model_in_the_path() {
    for (raw, endpoint) in [
        ("/openai/v1/chat/completions", Endpoint::ChatCompletions),
        ("/openai/responses", Endpoint::Responses),
        ("//openai//v1//responses/compact/", Endpoint::Compact),
        ("/openai/v1/audio/speech", Endpoint::Speech),
    ] {
        assert_eq!(found(&Method::POST, raw), Ok((endpoint, None)), "{raw}");
    }
    for (raw, endpoint, model) in [
        ("/openai/deployments/gpt-5/chat/completions", Endpoint::ChatCompletions, "gpt-5"),
        ("/openai/deployments/gpt-5/completions/", Endpoint::Completions, "gpt-5"),
        ("/openai//deployments//gpt-5//chat//completions", Endpoint::ChatCompletions, "gpt-5"),
        ("/openai/deployments/meta%2Fllama%203/embeddings", Endpoint::Embeddings, "meta/llama 3"),
        ("/openai/deployments/meta/llama/chat/completions", Endpoint::ChatCompletions, "meta/llama"),
        ("/openai/deployments/chat/chat/completions", Endpoint::ChatCompletions, "chat"),
        ("/openai/deployments/a%252Fb/images/edits", Endpoint::ImageEdits, "a%2Fb"),
        ("/openai/deployments/w/audio/transcriptions", Endpoint::Transcriptions, "w"),
    ] {
        assert_eq!(found(&Method::POST, raw), Ok((endpoint, Some(model.to_owned()))), "{raw}");
        assert_eq!(found(&Method::GET, raw), Err(NotServed::Method { allow: "POST" }), "{raw}");
    }
    assert_eq!(found(&Method::GET, "/openai/models"), Ok((Endpoint::Models, None)));
    assert_eq!(found(&Method::GET, "/openai/v1/models/m"), Ok((Endpoint::Model, Some("m".to_owned()))));
    assert_eq!(found(&Method::GET, "/openai/files"), Err(NotServed::Stateful));
    assert!(is_upgradable("/openai/v1/realtime") && is_upgradable("/openai/responses"));
    for raw in [
        "/openai",
        "/openai/v1",
        "/openai/openai/responses",
        "/OpenAI/responses",
        "/openai/v2/responses",
        "/openai/deployments",
        "/openai/deployments/gpt-5",
        "/openai/deployments/chat/completions/x",
        "/openai/deployments//embeddings",
        "/openai/deployments/../embeddings",
        "/openai/deployments/%2e%2e/embeddings",
        "/openai/deployments/a/../b/embeddings",
        "/openai/deployments/a%00b/embeddings",
        "/openai/deployments/a%zz/embeddings",
        "/openai/deployments/gpt-5/models",
        "/openai/deployments/gpt-5/Chat/Completions",
    ] {
        assert_eq!(found(&Method::POST, raw), Err(NotServed::UnknownPath), "{raw}");
    }
}

#[test]
fn an_id_without_escapes_is_not_copied() {
    let found = find(&Method::GET, "/v1/models/gpt-5").unwrap();
    assert!(matches!(found.model_id, Some(Cow::Borrowed("gpt-5"))));
}

#[test]
fn b2_other_methods_are_refused_with_those_that_are_allowed() {
    let post = Err(NotServed::Method { allow: "POST" });
    let get = Err(NotServed::Method { allow: "GET, HEAD" });
    let lower = Method::from_bytes(b"post").unwrap();
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, lower] {
        assert_eq!(found(&method, "/v1/chat/completions"), post, "{method}");
        assert_eq!(found(&method, "/v1/models"), get, "{method}");
    }
    assert_eq!(found(&Method::GET, "/v1/responses"), post);
    assert_eq!(found(&Method::HEAD, "/v1/embeddings"), post);
    assert_eq!(found(&Method::POST, "/v1/models/gpt-5"), get);
    assert_eq!(found(&Method::HEAD, "/v1/models"), Ok((Endpoint::Models, None)));
}

#[test]
fn operations_on_kept_state_are_refused_by_name() {
    for (method, raw) in [
        (Method::POST, "/v1/assistants"),
        (Method::GET, "/v1/threads/t1/messages"),
        (Method::POST, "/v1/conversations"),
        (Method::POST, "/files"),
        (Method::GET, "/v1/files/f1/content"),
        (Method::POST, "/v1/uploads"),
        (Method::GET, "/v1/vector_stores/"),
        (Method::POST, "/v1/batches"),
        (Method::POST, "/v1/fine_tuning/jobs"),
        (Method::POST, "/v1/evals"),
        (Method::POST, "/v1/videos"),
        (Method::GET, "/v1/realtime"),
        (Method::POST, "/v1/realtime/client_secrets"),
        (Method::POST, "/v1/audio/voices"),
        (Method::GET, "/v1/chat/completions"),
        (Method::GET, "/v1/chat/completions/c1"),
        (Method::DELETE, "/v1/chat/completions/c1"),
        (Method::GET, "/v1/chat/completions/c1/messages"),
        (Method::GET, "/v1/responses/resp_1"),
        (Method::DELETE, "/responses/resp_1"),
        (Method::POST, "/v1/responses/resp_1/cancel"),
        (Method::GET, "/v1/responses/resp_1/input_items"),
        (Method::DELETE, "/v1/models/ft:gpt"),
    ] {
        assert_eq!(found(&method, raw), Err(NotServed::Stateful), "{method} {raw}");
    }
}

#[test]
fn websockets_are_known_at_two_paths() {
    for raw in ["/v1/responses", "/responses/", "//v1//realtime", "/realtime"] {
        assert!(is_upgradable(raw), "{raw}");
    }
    for raw in ["/v1/responses/r1", "/v1/chat/completions", "/", "/v1", "/Realtime", "/v1/realtime%2F"] {
        assert!(!is_upgradable(raw), "{raw}");
    }
}

proptest! {
    #[test]
    fn any_path_is_answered_and_a_match_is_the_tables_spelling(raw in "(/{0,2}(v1|chat|completions|responses|models|[a-zA-Z%./;\\\\]{0,6}))*/{0,2}") {
        if let Ok(found) = find(&Method::POST, &raw) {
            let words: Vec<_> = raw.split('/').filter(|word| !word.is_empty()).collect();
            let words = words.strip_prefix(&["v1"]).unwrap_or(&words);
            prop_assert_eq!(words.join("/"), found.endpoint.path());
        }
    }

    #[test]
    fn an_encoded_id_comes_back_as_it_was(id in "[a-zA-Z0-9/:% é.-]{1,40}") {
        let encoded: String = id.bytes().map(|b| format!("%{b:02X}")).collect();
        let path = format!("/v1/models/{encoded}");
        match find(&Method::GET, &path) {
            Ok(found) => prop_assert_eq!(found.model_id.as_deref(), Some(id.as_str())),
            Err(fault) => {
                prop_assert_eq!(fault, NotServed::UnknownPath);
                prop_assert!(model_name::fault(&id).is_some() || id.split('/').any(|s| s == "." || s == ".."));
            }
        }
    }
}
