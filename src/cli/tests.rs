//! The command line: what is understood, what is printed, and how a process ends.

use std::collections::BTreeMap;

use super::*;

fn run(arguments: &[&str]) -> (Option<Exit>, String, String) {
    let cli = Cli::try_parse_from(std::iter::once(&"tollgate").chain(arguments)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = cli.run(&BTreeMap::new(), &mut out, &mut err);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn without_a_command_it_serves() {
    assert!(matches!(Cli::read(["tollgate"]).unwrap().chosen(), Command::Serve));
    assert!(matches!(Cli::read(["tollgate", "--config", "x"]).unwrap().chosen(), Command::Serve));
    assert!(matches!(Cli::read(["tollgate", "serve"]).unwrap().chosen(), Command::Serve));
}

#[test]
fn the_file_is_the_one_named_first() {
    let path = |arguments: &[&str], env: &[(&str, &str)]| {
        let env: BTreeMap<String, String> = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Cli::read(arguments).unwrap().config_path(&env).display().to_string()
    };
    let set = [("TOLLGATE_CONFIG", "e.toml")];
    assert_eq!(path(&["tollgate"], &[]), "config.toml");
    assert_eq!(path(&["tollgate"], &[("TOLLGATE_CONFIG", "")]), "config.toml");
    assert_eq!(path(&["tollgate"], &set), "e.toml");
    assert_eq!(path(&["tollgate", "check", "--config", "c.toml"], &set), "c.toml");
    assert_eq!(path(&["tollgate", "--config", "c.toml", "check"], &set), "c.toml");
}

#[test]
fn unusable_arguments_end_with_64_and_help_with_0() {
    assert_eq!(Cli::read(["tollgate", "serv"]).unwrap_err(), Exit::Unusable);
    assert_eq!(Cli::read(["tollgate", "keys"]).unwrap_err(), Exit::Unusable);
    assert_eq!(Cli::read(["tollgate", "simulate", "--listen", "here"]).unwrap_err(), Exit::Unusable);
    assert_eq!(Cli::read(["tollgate", "--version"]).unwrap_err(), Exit::Well);
}

#[test]
fn help_shows_examples_and_exit_codes() {
    use clap::CommandFactory;
    let help = <Cli as CommandFactory>::command().render_long_help().to_string();
    for part in ["Examples:", "Exit codes: 0 ended well", "check", "schema", "keys", "simulate", "$TOLLGATE_CONFIG"] {
        assert!(help.contains(part), "{part}\n{help}");
    }
    <Cli as CommandFactory>::command().debug_assert();
}

#[test]
fn help_for_the_simulator_has_every_word_that_it_knows() {
    use clap::CommandFactory;
    let mut cli = <Cli as CommandFactory>::command();
    let help = cli.find_subcommand_mut("simulate").unwrap().render_help().to_string();
    for word in faults::WORDS {
        let model = format!("{}{}", faults::PREFIX, word.written());
        assert!(help.contains(&model) && help.contains("--listen"), "{model}\n{help}");
    }
}

#[test]
fn check_tells_what_the_shipped_file_means() {
    let (exit, out, err) = run(&["check", "--config", "config.toml"]);
    assert_eq!((exit, err.as_str()), (Some(Exit::Well), ""));
    insta::assert_snapshot!(out, @r"
    config.toml is good.

    ports
      clients   http://127.0.0.1:8080/v1
      admin     http://127.0.0.1:9090/status
      at most   10000 connections, bodies of 64MiB
      drain     5s still accepting, then at most 10m
      silence   hello 10s, head 10s, body_idle 30s, write_stall 1m, keep_alive 75s

    tenants
      demo (plan demo, also of calls without a key)
        requests    600/min (at most 600 at once)
        tokens      1M/min (at most 1M at once)
        concurrent  100
        reserves    learned output

    upstreams
      openai (openai): simulated in place of https://api.openai.com/v1, API key from environment variable OPENAI_API_KEY
        time-outs   connect 5s, first_byte 15m, idle 10m, total none
        connections 1024 at most, closed after 30s unused or when 10m old

    routes, most specific first
      * -> openai (output cap 4096)

    records: standard output
    log: text, info and above
    metric series: at most 2697

    worth knowing
      - upstream openai: environment variable OPENAI_API_KEY is not set: the built-in simulator answers
    ");
}

#[test]
fn check_ends_with_64_where_there_are_faults() {
    let (exit, out, err) = run(&["check", "--config", "tests/fixtures/config/nothing.toml"]);
    assert_eq!(exit, Some(Exit::Unusable));
    assert!(out.is_empty() && err.contains("nothing.toml:1:1: no tenant"), "{err}");
}

#[test]
fn schema_is_json() {
    let (exit, out, _) = run(&["schema"]);
    assert_eq!(exit, Some(Exit::Well));
    assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().is_object());
}

#[test]
fn serve_and_simulate_are_left_to_main() {
    assert_eq!(run(&["serve"]).0, None);
    assert_eq!(run(&["simulate"]).0, None);
}
