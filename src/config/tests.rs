//! The shipped file, the examples, and broken files with their whole diagnosis.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::upstream::BaseUri;

const FIXTURES: &str = "tests/fixtures/config";
const SHIPPED: &str = "config.toml";

/// A file that is good: what a test adds stands at its end.
const GOOD: &str = "
[server]
anonymous = \"demo\"
[plans.demo]
requests = \"60/min\"
[tenants.demo]
plan = \"demo\"
[upstreams.sim]
provider = \"simulator\"
[[routes]]
models = [\"*\"]
to = [\"sim\"]
";

fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn try_text(text: &str) -> Result<Config, Faults> {
    parse("config.toml", text, Path::new(FIXTURES), &env(&[]))
}

fn good(text: &str) -> Config {
    try_text(text).unwrap_or_else(|faults| panic!("{faults}\nin\n{text}"))
}

fn broken(text: &str) -> String {
    match try_text(text) {
        Ok(_) => panic!("no fault in\n{text}"),
        Err(faults) => faults.to_string(),
    }
}

/// Compares with a file beside the fixture; `TOLLGATE_WRITE_EXPECTED=1` writes it instead, for a person to read.
fn assert_expected(path: &Path, found: &str) {
    if std::env::var("TOLLGATE_WRITE_EXPECTED").is_ok() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "{} differs", path.display());
}

fn fixtures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    files.sort();
    files
}

#[test]
fn every_broken_file_is_told_whole_and_in_order() {
    let env = env(&[("KEY", "sk-live"), ("EMPTY", ""), ("TWO_LINES", "a\nb")]);
    let files = fixtures();
    assert!(files.len() >= 10);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let faults = parse(name, &text, Path::new(FIXTURES), &env).expect_err(name);
        let lines: Vec<(usize, usize)> = faults.0.iter().map(|f| (f.place.line, f.place.column)).collect();
        assert!(lines.is_sorted(), "{name}: {lines:?}");
        assert_expected(&path.with_extension("txt"), &format!("{faults}\n"));
        assert!(!faults.to_string().contains("0123456789"), "{name} repeats a secret");
    }
}

#[test]
fn the_shipped_file_is_the_one_that_was_designed() {
    let text = std::fs::read_to_string(SHIPPED).unwrap();
    assert!(text.starts_with("# Tollgate: who may call, what they may spend, where calls go.\n"));
    assert_eq!(text.lines().count(), 30);
}

#[test]
fn the_shipped_file_calls_openai_with_a_key_and_the_simulator_without() {
    for (value, simulated) in [(Some("sk-live"), false), (None, true), (Some(""), true), (Some("  "), true)] {
        let variables: Vec<_> = value.iter().map(|value| ("OPENAI_API_KEY", *value)).collect();
        let config = load(Path::new(SHIPPED), &env(&variables)).unwrap();
        let upstream = &config.upstreams[0];
        assert_eq!(upstream.simulated, simulated, "{value:?}");
        assert_eq!(upstream.base, BaseUri::parse("https://api.openai.com/v1").unwrap());
        let authorization = upstream.authorization.as_ref().map(|header| header.to_str().unwrap());
        assert_eq!(authorization, (!simulated).then_some("Bearer sk-live"));
        assert_eq!(config.notices.len(), usize::from(simulated), "{:?}", config.notices);
        assert!(!simulated || config.notices[0].contains("OPENAI_API_KEY"));
        assert_eq!(config.anonymous.as_deref(), Some("demo"));
        let limits = &config.tenants[0].limits;
        assert_eq!(limits.requests, [rate::rate("600/min").unwrap()]);
        assert_eq!(limits.tokens, [rate::rate("1M/min").unwrap()]);
        assert_eq!(limits.concurrent, Some(100));
        assert_eq!(&*config.routes.find("gpt-5-mini").unwrap().route.deployment.upstream.name, "openai");
    }
}

#[test]
fn every_example_loads() {
    for entry in std::fs::read_dir("deploy/examples").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            let config = load(&path, &env(&[("LLM_API_KEY", "k"), ("OPENAI_API_KEY", "k")]))
                .unwrap_or_else(|faults| panic!("{faults}"));
            assert!(config.notices.is_empty(), "{}: {:?}", path.display(), config.notices);
        }
    }
}

#[test]
fn the_example_has_two_tenants_two_plans_and_keys() {
    let config = load(Path::new("deploy/examples/compatible.toml"), &env(&[("LLM_API_KEY", "k")])).unwrap();
    let plans: Vec<&str> = config.tenants.iter().map(|tenant| &*tenant.plan).collect();
    assert_eq!(plans, ["experiments", "product"]);
    assert!(config.tenants.iter().all(|tenant| !tenant.keys.is_empty()));
    assert_eq!(config.tenants[1].keys[1].expires, Some(1_893_456_000));
    assert_eq!(config.records, [RecordSink::Stdout, RecordSink::File("usage.jsonl".into())]);
    let small = config.routes.find("small").unwrap();
    assert_eq!(small.route.deployment.renamed("small").as_deref(), Some("Qwen/Qwen3-8B"));
}

#[test]
fn the_example_of_prices_has_them_to_the_last_digit() {
    let config = load(Path::new("deploy/examples/prices.toml"), &env(&[("OPENAI_API_KEY", "k")])).unwrap();
    let find = |model: &str| config.prices.find("openai", model);
    let of = |model: &str| -> Vec<String> {
        find(model).unwrap().stated().map(|(key, price)| format!("{key} {price}")).collect()
    };
    assert_eq!(of("gpt-5-mini"), ["input 0.25", "cached_input 0.025", "output 2"]);
    assert_eq!(of("gpt-5"), ["input 1.25", "cached_input 0.125", "output 10"]);
    assert_eq!(of("whisper-1"), ["per_second 0.0001"]);
    assert!(find("gpt-4o").is_none() && config.prices.find("other", "whisper-1").is_none());
    let route = config.routes.find("gpt-5").unwrap().route;
    assert!(std::sync::Arc::ptr_eq(&route.prices, &config.prices));
    assert_eq!(config.tag.as_ref().unwrap(), "x-team");
    let policy = &config.tenants[0].policy;
    assert_eq!((policy.max_output_tokens, policy.max_choices), (Some(8192), Some(4)));
    assert_eq!(policy.excess, crate::tenant::policy::Excess::Clamped);
    assert_eq!(policy.service_tiers.as_deref(), Some(&["default".into(), "flex".into()][..]));
}

#[test]
fn a_price_never_passes_through_a_float() {
    let price = |written: &str| {
        let config = good(&format!("{GOOD}[prices.m]\ninput = {written}\n"));
        config.prices.find("sim", "m").unwrap().input.unwrap().to_string()
    };
    // As floats, none of these would come back.
    for written in ["0.1", "\"0.1\"", "1e-1", "100_000e-6", "0.1000000000000000000000000"] {
        assert_eq!(price(written), "0.1", "{written}");
    }
    assert_eq!(price("123456.123456789012"), "123456.123456789012");
    assert_eq!(price("\"0.000000000001\""), "0.000000000001");
    assert_eq!(price("2"), "2");
    assert_eq!(price("0x10"), "16");
}

#[test]
fn a_routed_model_without_a_price_is_worth_knowing_where_there_are_prices() {
    let routed = GOOD.replace("models = [\"*\"]", "models = [\"gpt-5\", \"o3\", \"text-*\"]");
    assert!(!good(&routed).notices.iter().any(|notice| notice.contains("price")));
    let priced = good(&format!("{routed}[prices.\"gpt-*\"]\ninput = 1\n"));
    let about: Vec<&String> = priced.notices.iter().filter(|notice| notice.contains("price")).collect();
    assert_eq!(about, ["model o3 at upstream sim: it has no price, so its calls have no cost"]);
}

#[test]
fn a_clamp_with_nothing_to_clamp_is_worth_knowing() {
    let text = GOOD.replace("[plans.demo]", "[plans.demo]\nclamp = true");
    assert!(good(&text).notices.contains(&"plan demo: `clamp` has no effect without `max_output_tokens`".to_owned()));
}

#[test]
fn an_origin_is_written_as_browsers_send_it() {
    let with = |list: &str| GOOD.replace("[server]", &format!("[server]\nallow_origins = {list}"));
    let origins = |list: &str| good(&with(list)).server.allow_origins;
    assert_eq!(origins("[]"), [""; 0]);
    let all =
        ["*", "https://app.example", "http://localhost:3000", "http://[::1]:8080", "chrome-extension://abc", "app://-"];
    assert_eq!(origins(&format!("{all:?}")), all);
    for (origin, hint) in [
        ("https://app.example/", "no path: \"https://app.example\""),
        ("https://app.example:443", "\"https://app.example\""),
        ("http://app.example:80", "\"http://app.example\""),
        ("https://App.example", "small letters"),
        ("https://app.example/chat", "the origin of a web page"),
        ("https://*.example", "the origin of a web page"),
        ("https://user@app.example", "the origin of a web page"),
        ("app.example", "the origin of a web page"),
        ("null", "the origin of a web page"),
        ("https://", "the origin of a web page"),
    ] {
        let faults = try_text(&with(&format!("[{origin:?}]"))).unwrap_err().to_string();
        assert!(faults.contains("server.allow_origins") && faults.contains(hint), "{origin}: {faults}");
    }
    assert!(try_text(&with("\"*\"")).unwrap_err().to_string().contains("a list in square brackets"));
}

#[test]
fn what_is_seldom_meant_on_the_public_port_is_worth_knowing() {
    let noticed = |server: &str, word: &str| {
        let notices = good(&GOOD.replace("[server]", &format!("[server]\n{server}"))).notices;
        notices.iter().any(|notice| notice.contains(word))
    };
    assert!(noticed("max_memory = \"63MiB\"", "server.max_memory"));
    assert!(!noticed("max_memory = \"64MiB\"", "server.max_memory"));
    assert!(!noticed("max_memory = 0", "server.max_memory"));
    assert!(noticed("allow_origins = [\"*\"]", "any web page"));
    assert!(!noticed("allow_origins = [\"https://app.example\"]", "any web page"));
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = good(GOOD);
    let seconds = Duration::from_secs;
    assert_eq!(
        config.server,
        ServerConfig {
            listen: "127.0.0.1:8080".parse().unwrap(),
            anonymous_anywhere: false,
            allow_origins: Vec::new(),
            max_body: 64 << 20,
            max_upload: 256 << 20,
            form_spool: 16 << 20,
            max_connections: 10_000,
            max_memory: 0,
            drain_delay: seconds(5),
            drain_deadline: seconds(600),
            lenient_keys: false,
            server_timing: false,
            reveal_upstream: false,
            timeouts: ServerTimeouts {
                hello: seconds(10),
                head: seconds(10),
                body_idle: seconds(30),
                write_stall: seconds(60),
                keep_alive: seconds(75),
            },
        }
    );
    assert_eq!(config.admin.listen, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(config.records, [RecordSink::Stdout]);
    assert_eq!(config.metrics.max_tenants, 500);
    assert_eq!(config.log, LogConfig { format: LogFormat::Text, level: LogLevel::Info, calls: false });
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.timeouts, crate::upstream::Timeouts::default());
    assert_eq!(upstream.pool, crate::upstream::PoolLimits::default());
    assert_eq!((upstream.max_connections, upstream.usage_in_stream, upstream.simulated), (1024, true, true));
    let matched = config.routes.find("any").unwrap();
    assert_eq!((matched.route.max_output_tokens, matched.route.enforce_cap), (4096, false));
    assert_eq!(config.tenants[0].models, None);
}

#[test]
fn kept_state_is_resolved_and_shown() {
    let more = "state = \"pass\"\nstateful = \"home\"\n[upstreams.home]\nprovider = \"simulator\"\n[upstreams.rest]\nprovider = \"simulator\"\n";
    let text = format!("{GOOD}{more}")
        .replace("anonymous = \"demo\"\n", "anonymous = \"demo\"\nunknown_paths = \"rest\"\n")
        .replace("[tenants.demo]\n", "[tenants.demo]\nstateful = \"home\"\n");
    let config = good(&text);
    assert!(config.notices.is_empty(), "{:?}", config.notices);
    let shown = config.redacted();
    assert_eq!(shown["server"]["unknown_paths"], "rest");
    assert_eq!(shown["tenants"]["demo"]["stateful"], "home");
    assert_eq!((&shown["routes"][0]["state"], &shown["routes"][0]["stateful"]), (&"pass".into(), &"home".into()));
    assert_eq!(shown["upstreams"]["home"]["shared_state"], false);
    let plain = good(GOOD);
    assert_eq!(
        (&plain.redacted()["server"]["unknown_paths"], &plain.redacted()["routes"][0]["state"]),
        (&"refuse".into(), &"auto".into())
    );
    assert!(config.series_bound() > plain.series_bound());

    let idle = good(&text.replace("state = \"pass\"", "state = \"strip\""));
    assert_eq!(idle.notices, ["route *: `stateful` has no effect without state = \"pass\""]);
}

#[test]
fn one_value_may_stand_for_a_list_of_one() {
    let listed = good(GOOD);
    let lone = GOOD.replace("[\"*\"]", "\"*\"").replace("[\"sim\"]", "{ upstream = \"sim\" }");
    assert_eq!(good(&lone).redacted(), listed.redacted());
    assert_eq!(good(&lone.replace("\"60/min\"", "[\"60/min\"]")).redacted(), listed.redacted());
}

#[test]
fn relative_secrets_start_at_the_files_folder_and_records_at_the_working_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "sk-from-file\n").unwrap();
    let text = GOOD
        .replace("provider = \"simulator\"", "provider = \"openai\"\ncredential = { api_key = { file = \"key\" } }")
        + "[records]\nto = { file = \"usage.jsonl\" }\n";
    let path = dir.path().join("c.toml");
    std::fs::write(&path, text).unwrap();
    let config = load(&path, &env(&[])).unwrap();
    let header = config.upstreams[0].authorization.as_ref().unwrap();
    assert_eq!(header, "Bearer sk-from-file");
    assert!(header.is_sensitive());
    assert_eq!(config.records, [RecordSink::File("usage.jsonl".into())]);
    let shown = format!("{} {config:?}", config.redacted());
    assert!(!shown.contains("sk-from-file"), "{shown}");
    assert!(shown.contains(&dir.path().join("key").display().to_string()));
}

#[test]
fn a_headers_value_is_sent_and_never_shown() {
    let text = format!(
        "{GOOD}[upstreams.local]\nprovider = \"compatible\"\nbase_url = \"http://[::1]:8000/v1\"\nheaders = {{ \"X-Team\" = \"hush\" }}\n"
    );
    let config = good(&text);
    let (name, value) = &config.upstreams[0].headers[0];
    assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-team", "hush"));
    let shown = format!("{} {config:?}", config.redacted());
    assert!(!shown.contains("hush") && shown.contains("x-team") && shown.contains("http://[::1]:8000/v1"), "{shown}");
}

#[test]
fn a_left_out_upstream_is_gone_and_said() {
    let text = format!(
        "{GOOD}[upstreams.openai]\nprovider = \"openai\"\ncredential = {{ api_key = {{ env = \"NONE\" }} }}\nwithout_credential = \"leave-out\"\n"
    );
    let config = good(&text);
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams.len(), config.origins.len());
    assert!(config.notices.iter().any(|notice| notice.contains("left out")), "{:?}", config.notices);
}

#[test]
fn certificates_are_read_and_what_is_none_is_told() {
    let key = rcgen::generate_simple_self_signed(["llm.example".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), key.cert.pem()).unwrap();
    let text = GOOD.replace(
        "provider = \"simulator\"",
        "provider = \"compatible\"\nbase_url = \"https://llm.example/v1\"\nca = \"ca.pem\"",
    );
    let config = parse("c", &text, dir.path(), &env(&[])).unwrap();
    assert_eq!(&*config.origins[0].ca.as_ref().unwrap().pem, key.cert.pem().as_bytes());
    std::fs::write(dir.path().join("ca.pem"), "no certificate").unwrap();
    let faults = parse("c", &text, dir.path(), &env(&[])).unwrap_err().to_string();
    assert!(faults.contains("has no certificate in it"), "{faults}");
}

#[test]
fn anonymous_needs_a_loopback_address_or_the_word_anywhere() {
    for (listen, fits) in [
        ("127.0.0.1:0", true),
        ("127.9.9.9:80", true),
        ("[::1]:80", true),
        ("[::ffff:127.0.0.1]:80", true),
        ("0.0.0.0:80", false),
        ("[::]:80", false),
        ("10.0.0.1:80", false),
    ] {
        let text = GOOD.replace("[server]", &format!("[server]\nlisten = \"{listen}\""));
        assert_eq!(try_text(&text).is_ok(), fits, "{listen}");
        assert!(try_text(&text.replace("[server]", "[server]\nanonymous_anywhere = true")).is_ok(), "{listen}");
    }
}

#[test]
fn two_ports_on_zero_do_not_collide() {
    let text = GOOD.replace("[server]", "[server]\nlisten = \"127.0.0.1:0\"") + "[admin]\nlisten = \"127.0.0.1:0\"\n";
    assert!(try_text(&text).is_ok());
    let same = GOOD.to_owned() + "[admin]\nlisten = \"127.0.0.1:8080\"\n";
    assert!(broken(&same).contains("`admin.listen` is 127.0.0.1:8080"));
}

#[test]
fn a_bad_value_causes_no_second_fault() {
    for (change, into) in [
        ("requests = \"60/min\"", "requests = \"60\""),
        ("plan = \"demo\"", "plan = 5"),
        ("[plans.demo]", "[plan.demo]"),
        ("[upstreams.sim]", "[upstream.sim]"),
        ("[tenants.demo]", "[tenant.demo]"),
        ("provider = \"simulator\"", "provider = \"sim\""),
        ("provider = \"simulator\"", "provide = \"simulator\""),
        ("to = [\"sim\"]", "to = [5]"),
        ("models = [\"*\"]", "models = [\"\"]"),
        ("[[routes]]", "[[route]]"),
        ("[[routes]]", "[routes]"),
        ("[server]", "[server]\nlisten = \"8080\""),
    ] {
        assert!(GOOD.contains(change), "{change}");
        let faults = try_text(&GOOD.replace(change, into)).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{change} -> {into}: {faults}");
    }
}

#[test]
fn an_unreadable_file_is_told_with_what_to_do() {
    let faults = load(Path::new("no/such.toml"), &env(&[])).unwrap_err().to_string();
    assert!(faults.starts_with("no/such.toml:1:1: cannot read the file"), "{faults}");
    assert!(faults.contains("--config"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.toml"), b"a = 1\n\xff").unwrap();
    assert!(load(&dir.path().join("c.toml"), &env(&[])).unwrap_err().to_string().contains("byte 6"));
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_fault() {
    assert!(try_text(&format!("\u{feff}{}", GOOD.replace('\n', "\r\n"))).is_ok());
}

#[test]
fn a_list_with_nothing_in_it_says_so_for_each_key() {
    let faults = broken(&(GOOD.to_owned() + "[records]\nto = []\n"));
    assert!(faults.contains("leave `to` out for standard output"), "{faults}");
}

#[test]
fn a_secret_in_the_place_of_its_source_is_not_repeated() {
    for credential in [
        "\"sk-hush\"",
        "{ api_key = \"sk-hush\" }",
        "{ api_key = { env = \"sk-hush\" } }",
        "{ api_key = { file = \"sk-hush\" } }",
    ] {
        let text = GOOD.replace("\"simulator\"", &format!("\"openai\"\ncredential = {credential}"));
        let faults = broken(&text);
        assert!(!faults.contains("hush") && faults.contains("never stands in this file"), "{faults}");
    }
}

#[test]
fn columns_count_characters() {
    let faults = try_text("\"ключ\" = 1\n[server]\n\"щит\".x = 1\n").unwrap_err();
    let places: Vec<(usize, usize)> = faults.0.iter().map(|fault| (fault.place.line, fault.place.column)).collect();
    assert!(places.contains(&(1, 1)) && places.contains(&(3, 1)), "{faults}");
}

#[test]
fn the_bench_configuration_of_a_whole_plan_loads() {
    let text = GOOD.replace("\"60/min\"", "[\"1M/s\", \"1000M/h\"]\ntokens = \"10000M/min\"\nconcurrent = 100_000");
    let limits = good(&text).tenants[0].limits.clone();
    assert_eq!(limits.requests.len(), 2);
    assert_eq!(limits.concurrent, Some(100_000));
}

#[test]
fn series_are_bounded_by_the_file_alone() {
    let base = good(GOOD).series_bound();
    let mut more = GOOD.to_owned();
    for n in 0..50 {
        more.push_str(&format!("[tenants.t{n}]\nplan = \"demo\"\n"));
    }
    let fifty = good(&more).series_bound();
    assert!(fifty > base);
    let capped = good(&format!("{more}[metrics]\nmax_tenants = 1\n")).series_bound();
    assert!(capped < fifty && capped >= base, "{base} {capped} {fifty}");
}

/// Every leaf of the reference that this version has, as `table.key`, by hand: the other source that the schema must agree with.
const BUILT: &str = "server.unknown_paths tenants.*.stateful upstreams.*.shared_state routes.state routes.stateful \
    server.listen server.anonymous server.anonymous_anywhere server.allow_origins server.max_memory server.server_timing server.reveal_upstream server.max_body server.max_upload server.form_spool server.max_connections \
    server.drain_delay server.drain_deadline server.lenient_keys server.timeouts.hello server.timeouts.head \
    server.timeouts.body_idle server.timeouts.write_stall server.timeouts.keep_alive admin.listen plans.*.requests \
    plans.*.tokens plans.*.concurrent plans.*.reserve_output plans.*.shadow tenants.*.plan tenants.*.keys.sha256 \
    tenants.*.keys.label tenants.*.keys.expires tenants.*.models upstreams.*.provider upstreams.*.base_url \
    upstreams.*.credential.api_key.env upstreams.*.credential.api_key.file upstreams.*.without_credential \
    upstreams.*.headers upstreams.*.usage_in_stream upstreams.*.on_disconnect upstreams.*.max_connections upstreams.*.pool.idle \
    upstreams.*.pool.age upstreams.*.timeouts.connect upstreams.*.timeouts.first_byte upstreams.*.timeouts.idle \
    upstreams.*.timeouts.total upstreams.*.ca routes.models routes.to.upstream routes.to.model routes.to.weight \
    routes.max_output_tokens routes.enforce_cap plans.*.max_output_tokens plans.*.clamp plans.*.max_choices \
    plans.*.service_tiers prices.*.input prices.*.cached_input prices.*.cache_write prices.*.output \
    prices.*.audio_input prices.*.audio_output prices.*.image_input prices.*.image_output prices.*.per_request \
    prices.*.per_second prices.*.per_image prices.*.tiers records.tag.header records.to.file metrics.max_tenants log.format log.level log.calls";

#[test]
fn the_schema_has_every_key_that_is_built_and_no_other() {
    let schema = schema::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let mut leaves = std::collections::BTreeSet::new();
    collect(&schema, String::new(), &mut leaves);
    let built: std::collections::BTreeSet<String> = BUILT.split_whitespace().map(str::to_owned).collect();
    assert_eq!(leaves, built);
}

fn collect(schema: &serde_json::Value, path: String, leaves: &mut std::collections::BTreeSet<String>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut inner = false;
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            assert!(property["description"].as_str().is_some_and(|doc| doc.len() > 10), "{path}.{name}");
            collect(property, join(name), leaves);
        }
        inner = true;
    }
    if schema["additionalProperties"]["properties"].is_object() {
        collect(&schema["additionalProperties"], join("*"), leaves);
        inner = true;
    }
    for nested in schema["anyOf"].as_array().into_iter().flatten().chain([&schema["items"]]) {
        if nested.is_object() && nested.to_string().contains("\"properties\"") {
            collect(nested, path.clone(), leaves);
            inner = true;
        }
    }
    if !inner && !path.is_empty() {
        leaves.insert(path);
    }
}

#[test]
fn every_default_of_the_schema_is_what_an_absent_key_means() {
    let mut stated = String::new();
    for (table, path) in [
        ("server", vec!["server"]),
        ("server.timeouts", vec!["server", "timeouts"]),
        ("admin", vec!["admin"]),
        ("log", vec!["log"]),
        ("metrics", vec!["metrics"]),
        ("records", vec!["records"]),
    ] {
        let schema = schema::schema();
        let node = path.iter().fold(&schema, |node, name| &node["properties"][name]);
        stated.push_str(&format!("[{table}]\n"));
        for (name, property) in node["properties"].as_object().unwrap() {
            if property["default"] != serde_json::Value::Null {
                stated.push_str(&format!("{name} = {}\n", property["default"]));
            }
        }
    }
    let rest = GOOD.replace("[server]\nanonymous = \"demo\"", "");
    let stated = stated.replace("[server]\n", "[server]\nanonymous = \"demo\"\n");
    let with = good(&format!("{stated}{rest}"));
    assert_eq!(with.redacted(), good(GOOD).redacted());
}

proptest! {
    #[test]
    fn no_text_breaks_the_reading(text in "\\PC{0,200}|(\\[?\\[(server|routes|plans\\.a|tenants\\.\"\")\\]?\\]\n|[a-z]{1,8} = (\"\\PC{0,8}\"|[0-9.e+-]{1,8}|\\[\\]|\\{\\})\n){0,8}") {
        let _ = try_text(&text);
    }

    #[test]
    fn any_change_of_a_byte_is_read_or_told(at in 0..1026_usize, byte in 0x20..0x7f_u8) {
        let mut text = std::fs::read(SHIPPED).unwrap();
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) {
            let result = parse("c", &text, Path::new("."), &env(&[]));
            prop_assert!(result.is_ok() || !result.unwrap_err().0.is_empty());
        }
    }
}
