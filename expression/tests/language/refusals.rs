//! What is refused: each with its place, words and next step, exactly.

use augur_domain::ValueType::{self, Boolean, Number};

use crate::shop::compile;

/// Source, then the complaint as `column: text`, column in bytes from 1.
fn table(expected: ValueType, rows: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (source, complaint) in rows {
        let got = match compile(source, expected) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{}: {error}", error.offset + 1),
        };
        if got != *complaint {
            let shown: String = source.chars().take(60).collect();
            wrong.push(format!("{shown}\n  got      {got}\n  expected {complaint}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn types() {
    table(
        Boolean,
        &[
            (
                "now - features.last_order > 24",
                "27: `>` cannot compare a duration with a number; expected two values of one type; write a length of time as `duration('24h')`, or take its `seconds(..)`",
            ),
            (
                "features.session_length > 60",
                "25: `>` cannot compare a duration with a number; expected two values of one type; write a length of time as `duration('24h')`, or take its `seconds(..)`",
            ),
            (
                "60 < features.session_length",
                "4: `<` cannot compare a number with a duration; expected two values of one type; write a length of time as `duration('24h')`, or take its `seconds(..)`",
            ),
            (
                "user.country == 49",
                "14: `==` cannot compare a text with a number; expected two values of one type",
            ),
            (
                "features.visits == 'many'",
                "17: `==` cannot compare a number with a text; expected two values of one type",
            ),
            (
                "now > duration('1d')",
                "5: `>` cannot compare a timestamp with a duration; expected two values of one type",
            ),
            (
                "user.subscribed == 1",
                "17: `==` cannot compare a boolean with a number; expected two values of one type",
            ),
            ("user.country > 'DE'", "14: `>` does not order texts; expected `==` or `!=`"),
            ("user.subscribed < context.returning", "17: `<` does not order booleans; expected `==` or `!=`"),
            ("features.visits && user.subscribed", "1: `&&` does not take a number; expected a boolean"),
            ("user.subscribed || user.country", "20: `||` does not take a text; expected a boolean"),
            ("!features.visits", "2: `!` does not take a number; expected a boolean"),
            ("-user.country == 1", "2: `-` does not take a text; expected a number"),
            (
                "now + now > now",
                "5: `+` does not take a timestamp and a timestamp; expected two numbers, two durations, or a timestamp and a duration",
            ),
            (
                "features.last_order * 2 > now",
                "21: `*` does not take a timestamp and a number; expected two numbers",
            ),
            (
                "user.country + 'x' == 'y'",
                "14: `+` does not take a text and a text; expected two numbers, two durations, or a timestamp and a duration",
            ),
            (
                "duration('1d') - 3 > duration('1h')",
                "16: `-` does not take a duration and a number; expected two numbers, two durations, two timestamps, or a timestamp and a duration; write a length of time as `duration('24h')`, or take its `seconds(..)`",
            ),
            (
                "duration('1d') * 3 > duration('1h')",
                "16: `*` does not take a duration and a number; expected two numbers; write a length of time as `duration('24h')`, or take its `seconds(..)`",
            ),
            (
                "duration('1d') - now > now",
                "16: `-` does not take a duration and a timestamp; expected two numbers, two durations, two timestamps, or a timestamp and a duration",
            ),
            (
                "features.visits",
                "1: the expression is a number; expected a boolean; compare it, e.g. `.. > 0`",
            ),
            (
                "user.country",
                "1: the expression is a text; expected a boolean; compare it, e.g. `.. == 'DE'`",
            ),
            (
                "now",
                "1: the expression is a timestamp; expected a boolean; compare it, e.g. `now - .. > duration('24h')`",
            ),
            (
                "features.session_length",
                "1: the expression is a duration; expected a boolean; compare it, e.g. `.. > duration('24h')`",
            ),
            (
                "features.visits > 1 ? 1 : 2",
                "1: the expression is a number; expected a boolean; compare it, e.g. `.. > 0`",
            ),
            ("features.visits ? true : false", "1: `? :` does not take a number; expected a boolean"),
            (
                "user.subscribed ? 1 : 'x'",
                "23: the branches of `? :` are a number and a text; expected two values of one type",
            ),
            ("features.visits in ['a']", "21: the list holds a text; expected number literals"),
            ("user.country in ['DE', 3]", "24: the list holds a number; expected text literals"),
            (
                "user.country in ['DE', user.language]",
                "24: the list holds something that is not a literal; expected text literals",
            ),
            (
                "features.visits in [1, features.balance]",
                "24: the list holds something that is not a literal; expected number literals",
            ),
            ("now in [now]", "5: `in` does not look for a timestamp; expected a number or a text"),
            (
                "features.visits in 3",
                "20: `in` asks for a list; expected literals in brackets, e.g. `['DE', 'FR']`",
            ),
            ("features.visits in []", "20: the list is empty; expected at least one literal"),
            (
                "[1, 2] == [1, 2]",
                "1: a list can only stand after `in`; expected e.g. `user.country in ['DE', 'FR']`",
            ),
        ],
    );
    table(
        Number,
        &[
            (
                "user.subscribed",
                "1: the expression is a boolean; expected a number; choose numbers by it, e.g. `.. ? 1 : 0`",
            ),
            (
                "now - features.last_order",
                "1: the expression is a duration; expected a number; use `seconds(..)`",
            ),
            ("abs(now)", "5: `abs` does not take a timestamp; expected a number"),
            ("min(features.visits, user.country)", "22: `min` does not take a text; expected a number"),
            ("seconds(features.visits)", "9: `seconds` does not take a number; expected a duration"),
            ("seconds(now)", "9: `seconds` does not take a timestamp; expected a duration"),
            ("1 / 0", "3: this operation on constants has no result: division by zero"),
            (
                "features.visits + 5 % (3 - 3)",
                "21: this operation on constants has no result: division by zero",
            ),
            (
                "1e308 * 10",
                "7: this operation on constants has no result: a number beyond the range of doubles",
            ),
            (
                "9007199254740993",
                "1: `9007199254740993` cannot be held exactly; expected a whole number between -9007199254740992 and 9007199254740992",
            ),
        ],
    );
}

#[test]
fn names_and_functions() {
    table(
        Boolean,
        &[
            (
                "features.purchase_30d > 1",
                "1: `features.purchase_30d` is not a known name; did you mean `features.purchases_30d`?",
            ),
            ("churn > 0.5", "1: `churn` is not a known name; did you mean `scores.churn`?"),
            ("weather.rain", "1: `weather.rain` is not a known name"),
            (
                "features > 1",
                "1: `features` is a group of names, not a value; expected one of its members, e.g. `features.balance`",
            ),
            (
                "features.visits.x > 1",
                "1: `features.visits.x` is not a known name; did you mean `features.visits`?",
            ),
            (
                "user.subscribed && mn(1, 2) > 1",
                "20: `mn` is not a function; expected one of abs, duration, has, local_hour, local_weekday, max, min, seconds; did you mean `min`?",
            ),
            (
                "size(user.country) > 1",
                "1: `size` is not a function; expected one of abs, duration, has, local_hour, local_weekday, max, min, seconds",
            ),
            ("min(1) > 1", "1: `min` does not take 1 argument; expected e.g. `min(features.visits, 10)`"),
            ("has() || true", "1: `has` does not take 0 arguments; expected e.g. `has(features.last_order)`"),
            (
                "has(1 + 1)",
                "5: `has` asks whether a name has a value; expected a name, e.g. `has(features.last_order)`",
            ),
            (
                "has(features.vists)",
                "5: `features.vists` is not a known name; did you mean `features.visits`?",
            ),
            (
                "duration('a day') > duration('1h')",
                "10: `a day` is not a length of time; expected a positive whole number and a unit, like `250ms`, `30s`, `15m`, `12h` or `7d`",
            ),
            (
                "duration('500d') > duration('1h')",
                "10: `500d` is out of range; expected between `1ms` and `400d`",
            ),
            (
                "duration(user.country) > duration('1h')",
                "10: `duration` takes a text literal only; expected e.g. `duration('24h')`",
            ),
            (
                "context.channel == 'emial'",
                "20: `context.channel` is never 'emial'; expected one of 'email', 'push', 'web'; did you mean `email`?",
            ),
            (
                "'sms' != context.channel",
                "1: `context.channel` is never 'sms'; expected one of 'email', 'push', 'web'",
            ),
            (
                "context.channel in ['web', 'fax']",
                "28: `context.channel` is never 'fax'; expected one of 'email', 'push', 'web'",
            ),
        ],
    );
}

#[test]
fn outside_the_subset() {
    table(
        Boolean,
        &[
            (
                "[1, 2].exists(x, x > 1)",
                "14: the method call `.exists(..)` is outside the language; expected names, literals, the operators && || ! == != < <= > >= + - * / % in ?:, and the functions abs, duration, has, local_hour, local_weekday, max, min, seconds",
            ),
            (
                "user.country.matches('D.*')",
                "21: the method call `.matches(..)` is outside the language; expected names, literals, the operators && || ! == != < <= > >= + - * / % in ?:, and the functions abs, duration, has, local_hour, local_weekday, max, min, seconds",
            ),
            (
                "user.country[0] == 'D'",
                "13: an index into a list is outside the language; expected names, literals, the operators && || ! == != < <= > >= + - * / % in ?:, and the functions abs, duration, has, local_hour, local_weekday, max, min, seconds",
            ),
            (
                "user.country == null",
                "17: `null` is outside the language; expected names, literals, the operators && || ! == != < <= > >= + - * / % in ?:, and the functions abs, duration, has, local_hour, local_weekday, max, min, seconds; ask for presence with `has(name)`",
            ),
            (
                "features.visits > 3u",
                "19: an unsigned number is outside the language; expected names, literals, the operators && || ! == != < <= > >= + - * / % in ?:, and the functions abs, duration, has, local_hour, local_weekday, max, min, seconds",
            ),
            (
                "user.country == b'DE'",
                "17: `b` stands before a text; expected an operator between them, or a plain text like 'DE'",
            ),
            (
                "user.country == r'DE'",
                "17: `r` stands before a text; expected an operator between them, or a plain text like 'DE'",
            ),
            (
                "user.country == '''DE'''",
                "17: a text in triple quotes is outside the language; expected a text in single or double quotes",
            ),
            (
                "{'a': 1}.a > 0",
                "1: `{` has no meaning here; expected a name, a literal or an operator; maps are outside the language",
            ),
            (
                ".now > features.last_order",
                "2: `.` selects from something that is not a name; write a dotted name like `features.visits`",
            ),
            (
                "(1).x > 2",
                "4: `.` selects from something that is not a name; write a dotted name like `features.visits`",
            ),
            (
                "(has(user.country)).x",
                "20: `.` selects from something that is not a name; write a dotted name like `features.visits`",
            ),
        ],
    );
}

#[test]
fn syntax() {
    table(
        Boolean,
        &[
            ("", "1: the expression is empty; expected e.g. `features.visits > 3`"),
            (" // nothing\n ", "1: the expression is empty; expected e.g. `features.visits > 3`"),
            (
                "features.visits = 3",
                "17: `=` has no meaning here; expected a name, a literal or an operator; did you mean `==`?",
            ),
            (
                "user.subscribed & user.subscribed",
                "17: `&` has no meaning here; expected a name, a literal or an operator; did you mean `&&`?",
            ),
            (
                "user.subscribed | user.subscribed",
                "17: `|` has no meaning here; expected a name, a literal or an operator; did you mean `||`?",
            ),
            (
                "user.subscribed and context.returning",
                "17: `and` is out of place; expected an operator, a closing bracket or the end; did you mean `&&`?",
            ),
            ("not user.subscribed", "1: `not` is not an operator; did you mean `!`?"),
            (
                "features.visits >",
                "18: the expression ends too early; expected a value: a name, a literal, `(` or `[`",
            ),
            (
                "features.visits > > 3",
                "19: `>` is out of place; expected a value: a name, a literal, `(` or `[`",
            ),
            ("features.visits > 3)", "20: `)` closes nothing"),
            ("(features.visits > 3", "1: `(` is not closed; expected `)`"),
            ("(features.visits > 3]", "21: `]` does not close the bracket before it; expected `)`"),
            ("user.country in ['DE', 'FR'", "17: `[` is not closed; expected `]`"),
            (
                "user.country == 'DE",
                "17: the text that starts here is not closed; expected `'` on the same line",
            ),
            (
                "user.country == 'D\nE'",
                "17: the text that starts here is not closed; expected `'` on the same line",
            ),
            (
                "user.country == '\\q'",
                "17: `'\\q'` is not a valid literal; expected a number like 12 or 0.5, or a text like 'DE' with escapes like \\n and \\u00e9",
            ),
            (
                "user.country == \u{2018}DE\u{2019}",
                "17: `‘` has no meaning here; expected a name, a literal or an operator; did you mean a straight quote `'`?",
            ),
            (
                "user.country == 'é' && ü",
                "25: `ü` has no meaning here; expected a name, a literal or an operator",
            ),
            ("user.country == 'é' && vists > 3", "25: `vists` is not a known name"),
            (
                "user.subscribed\n  && features.visits >> 3",
                "39: `>` is out of place; expected a value: a name, a literal, `(` or `[`",
            ),
            ("user.subscribed ? true", "23: the expression ends too early; expected `:` and the other value"),
            (
                "features..visits > 1",
                "10: `.` is out of place; expected a value: a name, a literal, `(` or `[`",
            ),
            (
                "features.visits > 1.2.3",
                "19: `1.2.3` is not a valid literal; expected a number like 12 or 0.5, or a text like 'DE' with escapes like \\n and \\u00e9",
            ),
            (
                "features.visits > 99999999999999999999",
                "19: `99999999999999999999` is not a valid literal; expected a number like 12 or 0.5, or a text like 'DE' with escapes like \\n and \\u00e9",
            ),
            (
                "features.visits > 1e999",
                "19: `1e999` is not a valid literal; expected a number like 12 or 0.5, or a text like 'DE' with escapes like \\n and \\u00e9",
            ),
            ("if > 3", "1: `if` is a reserved word; expected another name"),
            ("min(1, 2,) > 1", "10: `)` is out of place; expected a value: a name, a literal, `(` or `[`"),
            (
                "features.visits > 1 features.visits > 2",
                "21: `features` is out of place; expected an operator, a closing bracket or the end",
            ),
            ("@", "1: `@` has no meaning here; expected a name, a literal or an operator"),
            ("user.subscribed;", "16: `;` has no meaning here; expected a name, a literal or an operator"),
            ("a b c", "3: `b` is out of place; expected an operator, a closing bracket or the end"),
        ],
    );
}

#[test]
fn bounds() {
    let brackets = |count: usize| format!("{}user.subscribed{}", "(".repeat(count), ")".repeat(count));
    assert!(compile(&brackets(32), Boolean).is_ok());
    let sum = |count: usize| format!("1{} > 0", " + features.visits".repeat(count));
    assert!(compile(&sum(61), Boolean).is_ok());
    let terms = |count: usize| format!("user.subscribed{}", " && features.visits > 1".repeat(count));
    assert!(compile(&terms(332), Boolean).is_ok());
    // Each chain alone would pass; the tree they make together is deeper.
    let chains = format!("({}) + {}", sum(70), sum(70));
    let long = format!("user.subscribed{}", " ".repeat(8_192));
    table(
        Boolean,
        &[
            (&brackets(33), "33: `(` is nested too deeply; expected at most 32 open brackets"),
            (&brackets(4_000), "33: `(` is nested too deeply; expected at most 32 open brackets"),
            (
                &sum(64),
                "3: the expression nests too deeply; expected at most 64 levels; split it into several rules",
            ),
            (&sum(400), "2307: `+` comes after too many chained operators; expected at most 128 in one term"),
            (
                &terms(334),
                "7674: the expression has too many parts; expected at most 1000; split it into several rules",
            ),
            (&chains, "2263: `+` comes after too many chained operators; expected at most 128 in one term"),
            (
                &long,
                "8193: the expression is 8207 bytes long; expected at most 8192; split it into several rules",
            ),
            (&"(".repeat(8_192), "33: `(` is nested too deeply; expected at most 32 open brackets"),
            (
                &"!".repeat(8_192),
                "129: `!` comes after too many chained operators; expected at most 128 in one term",
            ),
            (
                &"a.".repeat(4_096),
                "260: `.` comes after too many chained operators; expected at most 128 in one term",
            ),
            (
                &"user.subscribed ? ".repeat(400),
                "2321: `?` comes after too many chained operators; expected at most 128 in one term",
            ),
            (&"1+(".repeat(2_000), "99: `(` is nested too deeply; expected at most 32 open brackets"),
        ],
    );
}

/// Shapes that take the most of the parser's stack, at the deepest that is let through and far past it.
#[test]
fn no_nesting_reaches_the_end_of_the_stack() {
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("!(", "true", ")"),
        ("[", "1", "]"),
        ("min(1, ", "1", ")"),
        ("1*(1+(", "1", "))"),
        ("(true ? 1 : ", "1", ")"),
        ("true ? 1 : ", "1", ""),
        ("(1 < ", "1", " + 1 * 1 < 1 + 1)"),
        ("a.b(", "1", ")"),
        ("a[", "1", "]"),
        ("-", "1", ""),
    ] {
        for count in [15, 16, 31, 32, 33, 100, 700] {
            let source = format!("{}{inner}{}", open.repeat(count), close.repeat(count));
            if let Err(error) = compile(&source, Number) {
                assert!(!error.message.contains("gave up"), "{source}: {error}");
            }
        }
    }
}

#[test]
fn a_complaint_becomes_a_diagnostic_at_its_place_in_the_file() {
    let file = "[rule]\nwhen = \"é\"\nif = \"user.subscribed && vists > 3\"\n";
    let source = "user.subscribed && vists > 3";
    let error = compile(source, Boolean).unwrap_err();
    let diagnostic = error.into_diagnostic("policy.toml", file, file.find(source).unwrap());
    assert_eq!(diagnostic.to_string(), "policy.toml:3:26: `vists` is not a known name");
}
