//! Reads `src/` as a reviewer would and holds it to the house's rules: who may know whom, what stands where, which words are used.
//!
//! Must not run anything of it. Comments count only where a rule is about words.

use std::path::{Path, PathBuf};

/// A file of `src/`.
struct Source {
    /// Such as `gateway/meter.rs`.
    path: String,
    /// As it is.
    text: String,
    /// Without comments, blank lines and test modules; each line with its number from 1.
    code: Vec<(usize, String)>,
}

impl Source {
    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// Places where the code says one of these, as `path:line: text`.
    fn saying(&self, words: &[&str]) -> Vec<String> {
        let says = |line: &str| words.iter().any(|word| line.contains(word));
        let hits = self.code.iter().filter(|(_, line)| says(line));
        hits.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("/testing.rs")
}

/// Every file of `src/`, tests too.
fn everything() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.sort();
    assert!(files.len() > 50, "src/ was not found: {files:?}");
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Source {
    let text = std::fs::read_to_string(path).unwrap();
    let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    let code = code_of(&text);
    Source { path, text, code }
}

/// Every file of `src/` that is not a test.
fn sources() -> Vec<Source> {
    everything().into_iter().filter(|source| !is_test_file(&source.path)).collect()
}

/// What is compiled into the program: modules and items under `#[cfg(test)]` are left out by their indentation.
fn code_of(text: &str) -> Vec<(usize, String)> {
    let mut code = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let trimmed = line.trim();
        if trimmed == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            let closing = format!("{indent}}}");
            for (_, line) in lines.by_ref() {
                if line == closing
                    || line.starts_with(indent)
                        && line.trim_end().ends_with(';')
                        && !line[indent.len()..].starts_with(' ')
                {
                    break;
                }
            }
            continue;
        }
        if trimmed.is_empty() || trimmed.starts_with("//") {
            continue;
        }
        let line = line.split(" // ").next().unwrap();
        code.push((index + 1, line.to_owned()));
    }
    code
}

/// The modules that a line of code names, `crate::{a, b}` included.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    for part in line.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => names.extend(list.split(',').map(word)),
            None => names.push(word(part)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn assert_none(rule: &str, hits: Vec<String>) {
    assert!(hits.is_empty(), "{rule}\n  {}", hits.join("\n  "));
}

/// "Who may know whom" of the house: what a module may use beside itself, `net`, `secret` and `telemetry`.
const ARROWS: &[(&str, &[&str])] = &[
    ("net", &[]),
    ("secret", &[]),
    ("telemetry", &[]),
    ("wire", &[]),
    ("limits", &[]),
    ("usage", &["wire"]),
    ("stream", &["usage", "wire"]),
    ("provider", &["wire"]),
    ("simulator", &["wire", "usage"]),
    ("upstream", &["provider", "wire", "simulator"]),
    ("routing", &["upstream", "usage"]),
    // The models that a tenant may use are patterns, and those are routing's.
    ("tenant", &["limits", "usage", "stream", "routing"]),
    // The model list names the simulator's own models.
    ("gateway", &["tenant", "routing", "upstream", "provider", "wire", "limits", "usage", "stream", "simulator"]),
    // `upstream` for the bounds of the one impl that hands the gateway to the server.
    ("server", &["gateway", "upstream"]),
    // A port of its own, over the same listener.
    ("admin", &["server"]),
    ("config", &["tenant", "routing", "upstream", "provider", "limits", "usage", "wire"]),
    ("cli", &["config", "limits", "provider", "simulator", "tenant", "usage"]),
];

/// These put the parts together, and know all.
const ASSEMBLERS: [&str; 3] = ["app", "main", "lib"];

const EVERYBODYS: [&str; 3] = ["net", "secret", "telemetry"];

#[test]
fn arrows_between_modules_point_one_way() {
    let mut hits = Vec::new();
    for source in sources() {
        let module = source.module().to_owned();
        if ASSEMBLERS.contains(&&*module) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            hits.push(format!("{}: module `{module}` is not in the table of arrows", source.path));
            continue;
        };
        let shared = if EVERYBODYS.contains(&&*module) { &[][..] } else { &EVERYBODYS[..] };
        for (number, line) in &source.code {
            for name in named(line) {
                if name != module && !allowed.contains(&&*name) && !shared.contains(&&*name) {
                    hits.push(format!("{}:{number}: {module} may not use {name}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert_none("an arrow that the house does not draw (2-house.md, \"Who may know whom\")", hits);
}

#[test]
fn the_table_of_arrows_has_no_way_back() {
    fn reaches(from: &str, to: &str) -> bool {
        let next = ARROWS.iter().find(|(name, _)| *name == from).map_or(&[][..], |(_, next)| next);
        next.iter().any(|name| *name == to || reaches(name, to))
    }
    for (module, _) in ARROWS {
        assert!(!reaches(module, module), "{module} reaches itself");
    }
}

#[test]
fn only_config_knows_the_file_as_it_is_written() {
    let hits =
        sources().into_iter().filter(|source| source.module() != "config").flat_map(|s| s.saying(&["config::raw"]));
    assert_none("`config::raw` is seen by `config` alone", hits.collect());
}

#[test]
fn what_is_arithmetic_knows_no_runtime_no_clock_and_no_metrics() {
    let pure = [
        "usage",
        "wire",
        "routing",
        "limits/bucket.rs",
        "limits/tree.rs",
        "limits/learned.rs",
        "limits/reservation.rs",
    ];
    let impure = ["tokio", "hyper", "metrics::", "Instant", "SystemTime", "std::fs", "std::net", "tracing::"];
    let sources = sources();
    assert_none(
        "a pure module knows a runtime, a clock or a socket",
        sources.iter().filter(|s| s.is_in(&pure)).flat_map(|s| s.saying(&impure)).collect(),
    );
}

#[test]
fn hypers_server_and_client_stay_in_their_rooms() {
    let sources = sources();
    let serving = sources.iter().filter(|s| !s.is_in(&["server", "admin", "cli/simulate.rs"]));
    assert_none(
        "hyper's server types stand only where a port is served",
        serving.flat_map(|s| s.saying(&["hyper::server"])).collect(),
    );
    let calling = sources.iter().filter(|s| !s.is_in(&["upstream"]));
    assert_none(
        "hyper's client types stand only in upstream",
        calling.flat_map(|s| s.saying(&["hyper::client"])).collect(),
    );
    let gateway = sources.iter().filter(|s| s.is_in(&["gateway"]));
    assert_none(
        "the gateway is generic over bodies and upstreams",
        gateway.flat_map(|s| s.saying(&["hyper"])).collect(),
    );
}

#[test]
fn no_file_has_more_than_400_lines_of_code() {
    let long = sources().into_iter().filter(|source| source.code.len() > 400);
    assert_none("too long", long.map(|source| format!("{}: {} lines", source.path, source.code.len())).collect());
}

#[test]
fn every_file_says_first_what_it_does() {
    let mut hits = Vec::new();
    for source in sources() {
        let mut lines = source.text.lines();
        if !lines.next().is_some_and(|line| line.starts_with("//! ") && line.len() > 20) {
            hits.push(format!("{}: its first line is not a `//!`", source.path));
        }
    }
    assert_none("a file without a word about itself", hits);
}

#[test]
fn no_file_is_called_mod_rs() {
    let all = everything();
    assert_none("foo.rs + foo/", all.iter().filter(|s| s.path.ends_with("mod.rs")).map(|s| s.path.clone()).collect());
}

#[test]
fn vendors_are_named_only_where_their_dialects_are_spoken() {
    const VENDORS: [&str; 15] = [
        "azure",
        "bedrock",
        "anthropic",
        "mistral",
        "groq",
        "openrouter",
        "deepseek",
        "gemini",
        "ollama",
        "vllm",
        "sglang",
        "llama-cpp",
        "llama_cpp",
        "cohere",
        "entra",
    ];
    let mut hits = Vec::new();
    for source in sources() {
        // The simulator plays them all.
        if source.is_in(&["provider", "credential", "wire/endpoint.rs", "simulator"]) {
            continue;
        }
        // A field of answers that is named for who invented it; read wherever it comes.
        let fields = [("usage/shape.rs", "b\"x_groq\"")];
        for (number, line) in &source.code {
            if fields.iter().any(|(path, field)| source.path == *path && line.contains(field)) {
                continue;
            }
            let words: Vec<String> =
                line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').map(str::to_ascii_lowercase).collect();
            if words.iter().any(|word| VENDORS.contains(&&**word)) {
                hits.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("a vendor's name outside of provider/, credential/ and wire/endpoint.rs", hits);
}

#[test]
fn only_respond_picks_the_status_of_our_own_errors() {
    let mut hits = Vec::new();
    for source in sources() {
        if source.module() != "gateway" || source.path == "gateway/respond.rs" {
            continue;
        }
        for (number, line) in &source.code {
            // An upstream's status may be compared with a constant.
            let picks = line.match_indices("StatusCode::").any(|(at, _)| !line[..at].ends_with("== "));
            if picks {
                hits.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("a status code outside of gateway/respond.rs", hits);
}

#[test]
fn only_telemetry_names_metrics() {
    let others = sources().into_iter().filter(|source| source.module() != "telemetry");
    let hits = others.flat_map(|source| source.saying(&["\"tollgate_", "\"gen_ai_"]));
    assert_none("a metric's name outside of telemetry", hits.collect());
}

#[test]
fn nothing_of_ours_travels_in_extensions() {
    let mut hits = Vec::new();
    for source in sources() {
        let clearing = ["extensions.clear()", "extensions = http::Extensions::new()"];
        let uses = source.saying(&["Extensions", "extensions"]);
        hits.extend(uses.into_iter().filter(|line| !clearing.iter().any(|clearing| line.contains(clearing))));
    }
    assert_none("extensions are only ever cleared", hits);
}

#[test]
fn one_thing_has_one_word() {
    // The word, and what the house calls it.
    const WORDS: [(&str, &str); 7] = [
        ("customer", "tenant"),
        ("backend", "upstream"),
        ("middleware", "stage"),
        ("whitelist", "what may pass"),
        ("blacklist", "what is dropped"),
        ("throttl", "limit"),
        ("api token", "API key"),
    ];
    let mut hits = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            // governor's and tower's own names.
            let lower = line.to_ascii_lowercase().replace("governor::middleware", "").replace("noopmiddleware", "");
            for (word, instead) in WORDS {
                if lower.contains(word) {
                    hits.push(format!("{}:{}: say {instead}, not {word}: {}", source.path, index + 1, line.trim()));
                }
            }
        }
    }
    assert_none("two words for one thing (2-house.md, \"Words\")", hits);
}

#[test]
fn nothing_is_left_undone_ignored_or_tied_to_one_machine() {
    let undone = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("#[ign", "ore"), concat!("FIX", "ME")];
    let machine = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/tm", "p/")];
    let mut files = Vec::new();
    collect(&root(), &mut files);
    collect(&root().parent().unwrap().join("tests"), &mut files);
    let mut hits = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for (index, line) in text.lines().enumerate() {
            if undone.iter().chain(&machine).any(|word| line.contains(word)) {
                hits.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
            }
        }
    }
    assert_none("undone, ignored, or a path of one machine", hits);
}
