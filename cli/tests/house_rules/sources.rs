//! How a source file is laid out: it says what it is for, stays small, and holds no left-overs.
//!
//! Not here: formatting (rustfmt) and everything that clippy can see.

use crate::Breach;

/// Most lines of one file before its tests begin.
const MAX_PRODUCTION_LINES: usize = 600;

/// The one place of the server that may name OpenTelemetry.
const TELEMETRY: &str = "server/src/telemetry";

/// Pure halves of crates that also do I/O: clippy's bans hold for whole crates, so here the text is read.
const PURE_HALVES: &[&str] = &[
    "feature-store/src/aggregate/",
    "feature-store/src/schema/",
    "feature-store/src/state/",
    "models/src/artifact",
    "models/src/calibrate",
    "models/src/metrics",
    "models/src/scorer",
];

/// What the answers of pure code must not depend on.
const IMPURE: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "HashMap",
    "HashSet",
    "std::fs",
    "std::thread",
    ".exp(",
    ".exp2(",
    ".ln(",
    ".ln_1p(",
    ".log2(",
    ".log10(",
    ".powf(",
    ".powi(",
    ".tanh(",
    ".mul_add(",
];

/// The one file that may say `unsafe`: an allocator that counts for a test cannot be written without.
const UNSAFE: &str = "decision/tests/allocations/main.rs";

/// This folder has samples of bad sleeps in texts.
const SAMPLES: &str = "cli/tests/house_rules/";

/// Every breach of the file rules in one file.
pub(crate) fn breaches(path: &str, text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    breaches.extend(missing_purpose(path, text));
    breaches.extend(too_long(path, text));
    breaches.extend(leftovers(path, text));
    if !path.starts_with(SAMPLES) {
        breaches.extend(unexplained_sleeps(path, text));
        breaches.extend(unsafe_code(path, text));
    }
    breaches.extend(stray_telemetry(path, text));
    breaches.extend(impurities(path, text));
    breaches
}

fn missing_purpose(path: &str, text: &str) -> Option<Breach> {
    let first = text.lines().next().unwrap_or_default();
    (!first.starts_with("//! ")).then(|| {
        Breach::new(
            "purpose",
            format!("{path}:1"),
            "the file does not open with `//!`",
            "say in its first line what the file is for, and after it what is not here",
        )
    })
}

fn too_long(path: &str, text: &str) -> Option<Breach> {
    let is_test = path.ends_with("/tests.rs") || path.split('/').any(|part| part == "tests");
    let lines = production_lines(text);
    (!is_test && lines > MAX_PRODUCTION_LINES).then(|| {
        Breach::new(
            "length",
            path,
            format!("{lines} lines of production code; at most {MAX_PRODUCTION_LINES}"),
            "split it by what changes together",
        )
    })
}

/// Lines before the inline test module. An attribute on anything else hides nothing from the count.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let begins_tests = |at: &usize| {
        let after = lines.iter().skip(at + 1).find(|line| !line.trim_start().starts_with("#["));
        let inline = after.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'));
        lines.get(*at).is_some_and(|line| *line == "#[cfg(test)]") && inline
    };
    (0..lines.len()).find(begins_tests).unwrap_or(lines.len())
}

fn leftovers(path: &str, text: &str) -> Vec<Breach> {
    // Joined here, so that this file does not find itself.
    const MACROS: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let comment = line.split_once("//").map_or("", |(_, comment)| comment);
        let in_code = MACROS.into_iter().filter(|word| code(line).contains(word));
        let in_comment = MARKS
            .into_iter()
            .filter(|word| comment.split(|c: char| !c.is_ascii_alphanumeric()).any(|found| found == *word));
        for word in in_code.chain(in_comment) {
            breaches.push(Breach::new(
                "left-over",
                format!("{path}:{}", number + 1),
                format!("`{word}` was left behind"),
                "finish it, or return a typed error that names the next step",
            ));
        }
    }
    breaches
}

fn unexplained_sleeps(path: &str, text: &str) -> Vec<Breach> {
    let lines: Vec<&str> = text.lines().collect();
    let mut breaches = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if !sleeps(code(line)) {
            continue;
        }
        let above = lines.iter().take(number).rev().take_while(|line| line.trim_start().starts_with("//"));
        let explained = above.chain([line]).any(|line| {
            line.split_once("sleep:")
                .is_some_and(|(before, why)| before.contains("//") && !why.trim().is_empty())
        });
        if !explained {
            breaches.push(Breach::new(
                "sleep",
                format!("{path}:{}", number + 1),
                "sleeps without a reason",
                "wait for the event itself, or say why in a comment `// sleep: <reason>` on this line or above it",
            ));
        }
    }
    breaches
}

fn sleeps(code: &str) -> bool {
    let names = ["thread::sleep", "time::sleep", "::{sleep"];
    if names.iter().any(|name| code.contains(name)) {
        return true;
    }
    code.match_indices("sleep(").any(|(at, _)| {
        let before = code.get(..at).unwrap_or_default();
        let called = before.chars().next_back();
        !before.ends_with("fn ") && !called.is_some_and(|c| c.is_alphanumeric() || "_.:\"`".contains(c))
    })
}

fn stray_telemetry(path: &str, text: &str) -> Vec<Breach> {
    if !path.starts_with("server/src/") || path.starts_with(TELEMETRY) {
        return Vec::new();
    }
    let named = text.lines().enumerate().filter(|(_, line)| code(line).contains("opentelemetry"));
    named
        .map(|(number, _)| {
            Breach::new(
                "telemetry",
                format!("{path}:{}", number + 1),
                "names OpenTelemetry",
                format!("use `tracing` here; only {TELEMETRY}.rs knows the exporter"),
            )
        })
        .collect()
}

fn unsafe_code(path: &str, text: &str) -> Vec<Breach> {
    if path == UNSAFE {
        return Vec::new();
    }
    let begins = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern", "(unsafe_code"];
    let named = text.lines().enumerate();
    let named = named.filter(|(_, line)| begins.iter().any(|begin| code(line).contains(begin)));
    named
        .map(|(number, _)| {
            Breach::new(
                "unsafe",
                format!("{path}:{}", number + 1),
                "unsafe code",
                format!("write it safely; {UNSAFE} alone may not, for its allocator"),
            )
        })
        .collect()
}

fn impurities(path: &str, text: &str) -> Vec<Breach> {
    if path.ends_with("/tests.rs") || !PURE_HALVES.iter().any(|half| path.starts_with(half)) {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    for (number, line) in text.lines().take(production_lines(text)).enumerate() {
        for word in IMPURE.iter().filter(|word| code(line).contains(**word)) {
            breaches.push(Breach::new(
                "purity",
                format!("{path}:{}", number + 1),
                format!("`{word}` in code whose answers must be the same everywhere, always"),
                "take it as an argument, use a BTreeMap, or use augur_domain::math",
            ));
        }
    }
    breaches
}

/// The part of a line before a comment. Good enough for these rules: a `//` inside a string hides the rest.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

fn rules(path: &str, text: &str) -> Vec<&'static str> {
    breaches(path, text).iter().map(|breach| breach.rule).collect()
}

#[test]
fn a_good_file_passes() {
    let text = "//! Adds.\n\n/// Sum.\npub fn add(a: u8, b: u8) -> u16 { u16::from(a) + u16::from(b) }\n";
    assert_eq!(breaches("domain/src/add.rs", text), []);
}

#[test]
fn a_file_without_a_purpose_is_told() {
    assert_eq!(rules("domain/src/add.rs", "pub fn add() {}\n"), ["purpose"]);
    assert_eq!(rules("domain/src/add.rs", ""), ["purpose"]);
    assert_eq!(rules("domain/src/add.rs", "use std::fmt;\n//! Late.\n"), ["purpose"]);
}

#[test]
fn a_long_file_is_told_and_its_tests_do_not_count() {
    let long = |lines: usize, tests: &str| format!("//! Long.\n{}{tests}", "fn f() {}\n".repeat(lines - 1));
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn g() {}\n".repeat(900));
    assert!(breaches("server/src/a.rs", &long(600, &tests)).is_empty());
    assert_eq!(rules("server/src/a.rs", &long(601, "")), ["length"]);
    assert_eq!(rules("server/src/a.rs", &long(601, &tests)), ["length"]);
    let hidden = long(700, "").replacen("fn f() {}", "#[cfg(test)]\nmod tests;\nfn f() {}", 1);
    assert_eq!(rules("server/src/a.rs", &hidden), ["length"], "an early `mod tests;` hides nothing");
    assert!(breaches("server/tests/a.rs", &long(700, "")).is_empty());
}

#[test]
fn leftovers_are_told_with_their_line() {
    for left in [concat!("todo", "!()"), concat!("unimplemented", "!(\"x\")"), concat!("dbg", "!(a)")] {
        let found = breaches("a/src/b.rs", &format!("//! B.\nfn f() {{ {left} }}\n"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "a/src/b.rs:2");
    }
    assert_eq!(rules("a/src/b.rs", concat!("//! B.\n// FIX", "ME: later\n")), ["left-over"]);
}

#[test]
fn a_sleep_needs_a_reason() {
    for call in [
        "std::thread::sleep(PAUSE);",
        "tokio::time::sleep(PAUSE).await;",
        "use std::thread::sleep;",
        "tokio::time::sleep_until(at).await;",
        "sleep(PAUSE);",
        "std::thread::sleep(PAUSE); // sleep:",
        "let why = \"sleep: no comment\"; std::thread::sleep(PAUSE);",
    ] {
        assert_eq!(rules("a/src/b.rs", &format!("//! B.\n{call}\n")), ["sleep"], "{call}");
    }
    for call in [
        "// sleep: the peer offers no event to wait for\nstd::thread::sleep(PAUSE);",
        "std::thread::sleep(PAUSE); // sleep: paced load",
        "clock.sleep(PAUSE);",
        "fn sleep(pause: Duration) {}",
    ] {
        assert_eq!(breaches("a/src/b.rs", &format!("//! B.\n{call}\n")), [], "{call}");
    }
}

#[test]
fn telemetry_outside_its_module_is_told() {
    let text = "//! B.\nuse opentelemetry::trace::Tracer;\n";
    assert_eq!(rules("server/src/wiring.rs", text), ["telemetry"]);
    assert_eq!(breaches("server/src/telemetry.rs", text), []);
    assert_eq!(breaches("server/src/wiring.rs", "//! No opentelemetry here.\n"), []);
}

#[test]
fn unsafe_code_is_told_wherever_it_is_but_in_one_test() {
    for line in ["unsafe { f() }", "unsafe fn f() {}", "#[expect(unsafe_code, reason = \"r\")]"] {
        assert_eq!(rules("a/src/b.rs", &format!("//! B.\n{line}\n")), ["unsafe"], "{line}");
        assert_eq!(breaches(UNSAFE, &format!("//! B.\n{line}\n")), []);
    }
    assert_eq!(breaches("a/src/b.rs", "//! B.\n// Nothing unsafe {here}.\n"), []);
}

#[test]
fn impure_words_in_pure_halves_are_told() {
    let text = "//! B.\n// HashMap would be wrong.\nlet age = x.exp();\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}\n";
    assert_eq!(rules("models/src/scorer.rs", text), ["purity"]);
    assert_eq!(rules("feature-store/src/aggregate/decayed.rs", text), ["purity"]);
    assert_eq!(breaches("models/src/registry.rs", text), []);
    assert_eq!(breaches("models/src/scorer/tests.rs", text), []);
}
