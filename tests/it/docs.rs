//! README tells the truth: what it names exists, and what exists is named.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory;
use tollgate::cli::Cli;
use tollgate::simulator::faults;
use tollgate::telemetry::series;
use tollgate::usage::Source;
use tollgate::usage::record::{Outcome, UsageRecord};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The code blocks of a language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks: Vec<String> =
        markdown.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned())).collect();
    assert!(!blocks.is_empty(), "no {language} block");
    blocks
}

/// What stands between single backquotes, code blocks left out.
fn quoted(markdown: &str) -> BTreeSet<String> {
    let prose: String = markdown.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys of a record, in their order.
fn keys(json: &str) -> Vec<&str> {
    let ends: Vec<usize> = json.match_indices("\":").map(|(at, _)| at).collect();
    ends.into_iter().map(|end| &json[json[..end].rfind('"').unwrap() + 1..end]).collect()
}

#[test]
fn every_metric_is_in_the_table_with_its_labels_and_no_other_is() {
    let readme = text("README.md");
    for definition in series::ALL {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{}` |", definition.name)));
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", definition.name));
        let labels: Vec<&str> = definition.labels.iter().map(|label| label_name(*label)).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        assert_eq!(row.split(" | ").nth(1), Some(&*labels), "{}", definition.name);
    }
    for name in quoted(&readme) {
        let name = name.split('{').next().unwrap();
        if name.starts_with("tollgate_") || name.starts_with("gen_ai_") {
            assert!(series::ALL.iter().any(|definition| definition.name == name), "there is no metric {name}");
        }
    }
}

fn label_name(label: series::Dimension) -> &'static str {
    match label {
        series::Dimension::Tenant => "tenant",
        series::Dimension::Route => "route",
        series::Dimension::Endpoint => "endpoint",
        series::Dimension::Upstream => "upstream",
        series::Dimension::Limit => "limit",
        series::Dimension::Words(name, _) => name,
    }
}

#[test]
fn its_commands_and_links_lead_to_files_that_exist() {
    let readme = text("README.md");
    let mut commands = 0;
    for block in blocks(&readme, "bash") {
        for line in block.lines() {
            let mut words = line.split_whitespace().skip_while(|word| word.contains('='));
            match (words.next(), words.next()) {
                (Some("bash" | "python3"), Some(script)) if !script.starts_with('-') => {
                    assert!(root().join(script).is_file(), "{line}")
                }
                (Some("cargo"), Some("run")) => assert!(root().join("config.toml").is_file(), "{line}"),
                (Some("cargo"), Some("bench")) => {
                    let name = words.nth(1).unwrap_or_else(|| panic!("no bench is named: {line}"));
                    assert!(root().join("benches").join(name).with_extension("rs").is_file(), "{line}");
                }
                (Some("cargo"), Some("build")) => assert!(line.contains("--release"), "{line}"),
                (Some("cargo"), _) => panic!("a cargo command that this test does not know: {line}"),
                _ => continue,
            }
            commands += 1;
        }
    }
    assert!(commands >= 4, "{commands}");
    let links: Vec<&str> = readme.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect();
    assert!(links.len() >= 4);
    for link in links {
        assert!(link.starts_with("https://") || root().join(link).is_file(), "{link}");
    }
    for path in quoted(&readme).iter().filter(|path| path.starts_with("src/") || path.starts_with("deploy/")) {
        assert!(root().join(path).exists(), "{path}");
    }
}

#[test]
fn the_first_two_commands_run_it_and_test_it() {
    let readme = text("README.md");
    let first: Vec<String> =
        blocks(&readme, "bash")[0].lines().map(|line| line.split("  ").next().unwrap().to_owned()).collect();
    assert_eq!(first, ["cargo run --release", "bash tests/run"]);
    let screen: Vec<&str> = readme.lines().take(20).collect();
    assert!(screen.contains(&"```bash"), "the two commands are not on the first screen");
}

#[test]
fn every_command_is_in_the_table() {
    let readme = text("README.md");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let told = [format!("`tollgate {name}`"), format!("`tollgate {name} "), format!("`tollgate [{name}] ")];
        assert!(told.iter().any(|told| readme.contains(told)), "{name}");
    }
}

#[test]
fn the_simulators_table_is_the_one_that_it_reads() {
    assert!(text("README.md").contains(&faults::markdown()), "put this into README:\n{}", faults::markdown());
}

#[test]
fn the_sample_record_has_the_keys_of_a_record() {
    let record = UsageRecord {
        time: 0,
        id: "",
        tenant: "",
        key: None,
        route: None,
        model: None,
        served_model: None,
        upstream: None,
        endpoint: "",
        stream: false,
        status: None,
        outcome: Outcome::Ok,
        attempts: 0,
        input_tokens: None,
        cached_tokens: None,
        output_tokens: None,
        reasoning_tokens: None,
        usage_source: Some(Source::Reported),
        cost_usd: None,
        price_version: None,
        first_byte_ms: None,
        duration_ms: 0,
        overhead_us: None,
        bytes_in: 0,
        bytes_out: 0,
        tag: None,
    };
    let mut line = Vec::new();
    record.write(&mut line);
    let sample = &blocks(&text("README.md"), "json")[0];
    assert_eq!(keys(sample), keys(std::str::from_utf8(&line).unwrap()));
}

#[test]
fn every_error_code_is_in_the_table() {
    let named = quoted(&text("README.md"));
    let reference = text("tests/fixtures/errors.txt");
    let codes: BTreeSet<&str> =
        reference.lines().filter_map(|line| line.trim_start().strip_prefix("code ")).map(str::trim).collect();
    assert!(codes.len() > 15, "{codes:?}");
    for code in codes {
        assert!(named.contains(code), "{code} is in tests/fixtures/errors.txt and not in README");
    }
}

#[test]
fn the_licence_holds_both_texts_that_the_manifest_names() {
    let (licence, manifest) = (text("LICENSE"), text("Cargo.toml"));
    assert!(manifest.contains("license = \"MIT OR Apache-2.0\""));
    for part in ["MIT License", "Permission is hereby granted, free of charge", "Version 2.0, January 2004"] {
        assert!(licence.contains(part), "{part}");
    }
}
