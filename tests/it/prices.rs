//! Holds the gateway to what it says that calls cost: record and counter are the exact sum, and nothing is free by accident.
//!
//! The expected costs are worked out by hand from the usage that the fixtures state.

use serde_json::Value;
use tollgate::usage::money::Usd;

use crate::support::gateway::sum;
use crate::support::{MockUpstream, Script, TestGateway, fixture, standard};

const PRICES: &str = r#"
[prices."gpt-5-mini"]
input = 0.25
cached_input = 0.025
output = 2.00
tiers = { flex = 0.5, priority = 2.0 }
[prices."gpt-*"]
input = 1.25
output = "10.00"
[prices."mock/text-*"]
input = 0.02
[prices."text-*"]
input = 99
"#;

fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Name a river."}}]}}"#)
}

/// The one record of one call, as the line that was written.
async fn record(prices: &str, path: &str, body: &str, script: Script) -> (Value, String) {
    let upstream = MockUpstream::playing(script).await;
    let gateway = TestGateway::start(&(standard(&upstream) + prices));
    gateway.post(path, body).await;
    let record = gateway.records(1).await.remove(0);
    let cost = record["cost_usd"].as_number().map(|cost| cost.to_string()).unwrap_or_default();
    (record, cost)
}

#[tokio::test]
async fn the_cost_of_a_call_is_in_its_record_to_the_last_digit() {
    let answer = |tier: &str| {
        let text = String::from_utf8(fixture("chat_response.json")).unwrap();
        let told = text.replace("\"service_tier\": \"default\"", &format!("\"service_tier\": \"{tier}\""));
        Script::json(200, told.replace("\"cached_tokens\": 0", "\"cached_tokens\": 16"))
    };
    for (model, tier, cost) in [
        // 3 · 0.25 + 16 · 0.025 + 7 · 2, in millionths
        ("gpt-5-mini", "default", "0.00001515"),
        ("gpt-5-mini", "flex", "7.575e-6"),
        ("gpt-5-mini", "priority", "0.0000303"),
        // 19 · 1.25 + 7 · 10
        ("gpt-5", "flex", "0.00009375"),
    ] {
        let (record, found) = record(PRICES, "/v1/chat/completions", &chat(model), answer(tier)).await;
        assert_eq!(found, cost, "{model} {tier}: {record}");
        assert_eq!(record["price_version"].as_str().map(str::len), Some(8), "{record}");
    }
}

#[tokio::test]
async fn a_stream_and_an_estimate_have_a_cost_too() {
    let body = r#"{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"Name a river."}]}"#;
    let (told, cost) =
        record(PRICES, "/v1/chat/completions", body, Script::stream([fixture("chat_stream_with_usage.sse")])).await;
    assert_eq!((told["usage_source"].as_str(), &*cost), (Some("reported"), "0.00009375"));
    let (guessed, cost) =
        record(PRICES, "/v1/chat/completions", body, Script::stream([fixture("chat_stream_no_usage.sse")])).await;
    let (input, output) = (guessed["input_tokens"].as_u64().unwrap(), guessed["output_tokens"].as_u64().unwrap());
    assert_eq!(guessed["usage_source"], "estimated");
    let expected = format!("{}e-8", input * 125 + output * 1_000);
    assert_eq!(Usd::parse(&cost), Usd::parse(&expected), "{guessed}");
}

#[tokio::test]
async fn the_upstreams_own_price_wins() {
    let body = r#"{"model":"text-embedding-3-small","input":"Name a river."}"#;
    let script = Script::json(200, fixture("embeddings_response_float.json"));
    let (record, cost) = record(PRICES, "/v1/embeddings", body, script).await;
    assert_eq!(Usd::parse(&cost), Usd::parse("0.0000001"), "{record}");
}

#[tokio::test]
async fn a_model_without_a_price_has_no_cost_and_is_counted_as_such() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    let gateway = TestGateway::start(&(standard(&upstream) + PRICES));
    gateway.post("/v1/chat/completions", chat("o3")).await;
    gateway.post("/v1/chat/completions", chat("text-davinci")).await;
    for record in gateway.records(2).await {
        assert!(record["cost_usd"].is_null() && record["price_version"].is_null(), "{record}");
        assert_eq!(record["usage_source"], "reported");
    }
    let metrics = gateway.metrics().await;
    assert_eq!(sum(&metrics, "tollgate_cost_microusd_total", &[]), 0.0);
    assert_eq!(sum(&metrics, "tollgate_usage_unpriced_total", &[("reason", "model")]), 1.0);
    // It is an embedding's price: nothing is known of output.
    assert_eq!(sum(&metrics, "tollgate_usage_unpriced_total", &[("reason", "part")]), 1.0);
}

#[tokio::test]
async fn without_prices_nobody_asks_and_a_refused_call_costs_nothing() {
    let (told, _) =
        record("", "/v1/chat/completions", &chat("gpt-5"), Script::json(200, fixture("chat_response.json"))).await;
    assert!(told["cost_usd"].is_null());
    let upstream = MockUpstream::playing(Script::json(500, r#"{"error":{"message":"no"}}"#)).await;
    let gateway = TestGateway::start(&(standard(&upstream) + PRICES));
    gateway.post("/v1/chat/completions", chat("o3")).await;
    let record = gateway.records(1).await.remove(0);
    assert!(record["cost_usd"].is_null() && record["usage_source"].is_null(), "{record}");
    assert_eq!(gateway.metric("tollgate_usage_unpriced_total", &[]).await, 0.0);
}

#[tokio::test]
async fn the_counter_is_the_sum_of_the_records_and_never_a_millionth_behind() {
    let upstream = MockUpstream::playing(Script::json(200, fixture("chat_response.json"))).await;
    // 19 · 0.0001 + 7 · 0.03 millionths: 4.7 calls to one.
    let prices = "[prices.\"*\"]\ninput = 0.0001\noutput = 0.03\n";
    let gateway = TestGateway::start(&(standard(&upstream) + prices));
    const CALLS: usize = 40;
    for _ in 0..CALLS {
        gateway.post("/v1/chat/completions", chat("gpt-5")).await;
    }
    let records = gateway.records(CALLS).await;
    let costs = records.iter().map(|record| Usd::parse(&record["cost_usd"].as_number().unwrap().to_string()).unwrap());
    let exact = costs.fold(Usd::ZERO, Usd::saturating_add);
    assert_eq!(exact, Usd::parse("0.000008476").unwrap());
    let labels = [("tenant", "acme"), ("route", "*")];
    assert_eq!(gateway.metric("tollgate_cost_microusd_total", &labels).await, exact.micros().0 as f64);
}
