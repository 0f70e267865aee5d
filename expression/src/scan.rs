//! The pass before the parser: cuts the source into tokens and bounds it.
//!
//! The parser recurses once per nesting level and builds chains of operators as deep trees, so a hostile source
//! must be refused here, by a loop, before it can reach the stack. What no expression of the subset can contain
//! (other characters, prefixed or unclosed texts, unbalanced brackets) is refused here too, because a plain
//! complaint is easy to give at this point and hard to recover from a parser's.
//! Not here: grammar.

use crate::CompileError;

/// The longest accepted source in bytes.
pub(crate) const MAX_SOURCE_BYTES: usize = 8 * 1024;
/// How many brackets may be open at once.
pub(crate) const MAX_OPEN_BRACKETS: usize = 32;
/// How many operators other than `&&` and `||` may chain into one term, those of brackets inside it among them.
pub(crate) const MAX_CHAINED_OPERATORS: usize = 128;

/// What a token is, as far as bounds and complaints need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A name, a keyword or a literal: something that can end a value.
    Atom,
    /// `(` or `[`.
    Open,
    /// `)` or `]`.
    Close,
    /// `,`.
    Comma,
    /// Any operator, with `.`, `?` and `:` among them.
    Operator,
}

/// A token's class and its bytes in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) class: Class,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether a value can end with this token.
    pub(crate) fn ends_value(&self) -> bool {
        matches!(self.class, Class::Atom | Class::Close)
    }
}

/// Cuts `source` into tokens.
///
/// # Errors
/// A source that is empty or too long, a character or text outside the subset, brackets that do not match or go
/// too deep, or too long a chain of operators.
pub(crate) fn scan(source: &str) -> Result<Vec<Token>, CompileError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(CompileError::new(
            MAX_SOURCE_BYTES,
            format!("the expression is {} bytes long", source.len()),
            format!("at most {MAX_SOURCE_BYTES}"),
        )
        .with_hint("split it into several rules"));
    }
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(token) = next_token(source, offset)? {
        offset = token.end;
        tokens.push(token);
    }
    if tokens.is_empty() {
        return Err(CompileError::new(0, "the expression is empty", "e.g. `features.visits > 3`"));
    }
    bound(source, &tokens)?;
    Ok(tokens)
}

fn next_token(source: &str, from: usize) -> Result<Option<Token>, CompileError> {
    let start = skip_blank(source, from);
    let rest = source.get(start..).unwrap_or_default();
    let Some(first) = rest.chars().next() else {
        return Ok(None);
    };
    let (class, length) = match first {
        'a'..='z' | 'A'..='Z' | '_' => (Class::Atom, word(rest, start)?),
        '0'..='9' => (Class::Atom, number(rest)),
        '.' if rest.get(1..).is_some_and(|tail| tail.starts_with(|c: char| c.is_ascii_digit())) => {
            (Class::Atom, number(rest))
        }
        '\'' | '"' => (Class::Atom, text(rest, start, first)?),
        '(' | '[' => (Class::Open, 1),
        ')' | ']' => (Class::Close, 1),
        ',' => (Class::Comma, 1),
        _ => (Class::Operator, operator(rest, start)?),
    };
    // `in` is the one operator that is spelled like a name.
    let class = if rest.get(..length) == Some("in") { Class::Operator } else { class };
    Ok(Some(Token { class, start, end: start + length }))
}

/// The first byte at or after `from` that is neither blank nor in a `//` comment.
fn skip_blank(source: &str, from: usize) -> usize {
    let mut offset = from;
    loop {
        let rest = source.get(offset..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']).len();
        offset += blank;
        let rest = source.get(offset..).unwrap_or_default();
        if !rest.starts_with("//") {
            return offset;
        }
        offset += rest.find('\n').unwrap_or(rest.len());
    }
}

fn word(rest: &str, start: usize) -> Result<usize, CompileError> {
    let length = run_length(rest, |c| c.is_ascii_alphanumeric() || c == '_');
    if rest.get(length..).is_some_and(|tail| tail.starts_with(['\'', '"'])) {
        let prefix = rest.get(..length).unwrap_or_default();
        return Err(CompileError::new(
            start,
            format!("`{prefix}` stands before a text"),
            "an operator between them, or a plain text like 'DE'",
        ));
    }
    Ok(length)
}

/// Digits with what may follow them in CEL; the parser judges the details.
fn number(rest: &str) -> usize {
    let mut previous = ' ';
    let hexadecimal = rest.starts_with("0x");
    run_length(rest, |c| {
        let exponent_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E') && !hexadecimal;
        previous = c;
        c.is_ascii_alphanumeric() || c == '.' || exponent_sign
    })
}

fn text(rest: &str, start: usize, quote: char) -> Result<usize, CompileError> {
    let unclosed = || {
        CompileError::new(
            start,
            "the text that starts here is not closed",
            format!("`{quote}` on the same line"),
        )
    };
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            '\n' | '\r' => return Err(unclosed()),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => {
                let end = index + 1;
                if end == 2 && rest.get(end..).is_some_and(|tail| tail.starts_with(quote)) {
                    return Err(CompileError::new(
                        start,
                        "a text in triple quotes is outside the language",
                        "a text in single or double quotes",
                    ));
                }
                return Ok(end);
            }
            _ => {}
        }
    }
    Err(unclosed())
}

fn operator(rest: &str, start: usize) -> Result<usize, CompileError> {
    const OPERATORS: [&str; 17] =
        ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "."];
    if let Some(found) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
        return Ok(found.len());
    }
    let character = rest.chars().next().unwrap_or_default();
    let hint = match character {
        '=' => "did you mean `==`?",
        '&' => "did you mean `&&`?",
        '|' => "did you mean `||`?",
        '{' | '}' => "maps are outside the language",
        '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => "did you mean a straight quote `'`?",
        _ => "",
    };
    Err(CompileError::new(
        start,
        format!("`{}` has no meaning here", character.escape_debug()),
        "a name, a literal or an operator",
    )
    .with_hint(hint))
}

fn run_length(rest: &str, mut accept: impl FnMut(char) -> bool) -> usize {
    rest.find(|character| !accept(character)).unwrap_or(rest.len())
}

/// One open bracket, or the source as a whole, and how deep a tree its contents can make.
#[derive(Default)]
struct Level {
    start: usize,
    closer: &'static str,
    /// Operators of the running part; parts end at `,`, `&&` and `||`, which do not deepen the tree.
    operators: usize,
    /// The deepest bracket closed within the running part.
    below: usize,
    /// The deepest part that has ended.
    deepest: usize,
    /// `?` and `:`, which span parts.
    choices: usize,
}

impl Level {
    fn end_part(&mut self) {
        self.deepest = self.deepest.max(self.operators + self.below);
        self.operators = 0;
        self.below = 0;
    }

    fn depth(&self) -> usize {
        self.deepest.max(self.operators + self.below) + self.choices
    }
}

fn bound(source: &str, tokens: &[Token]) -> Result<(), CompileError> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let mut selects = false;
    for token in tokens {
        let text = token.text(source);
        match token.class {
            Class::Open if outer.len() == MAX_OPEN_BRACKETS => {
                return Err(CompileError::new(
                    token.start,
                    format!("`{text}` is nested too deeply"),
                    format!("at most {MAX_OPEN_BRACKETS} open brackets"),
                ));
            }
            Class::Open => {
                let closer = if text == "(" { ")" } else { "]" };
                let inner = Level { start: token.start, closer, ..Level::default() };
                outer.push(std::mem::replace(&mut level, inner));
            }
            Class::Close => level = close(level, outer.pop(), text, token.start)?,
            Class::Comma => level.end_part(),
            Class::Operator => match text {
                "&&" | "||" => level.end_part(),
                "?" | ":" => level.choices += 1,
                // The first dot of a path is free: nearly every operand has one.
                "." if !selects => {}
                _ => level.operators += 1,
            },
            Class::Atom => {}
        }
        selects = text == "." || (selects && token.class == Class::Atom);
        if level.depth() > MAX_CHAINED_OPERATORS {
            return Err(CompileError::new(
                token.start,
                format!("`{text}` comes after too many chained operators"),
                format!("at most {MAX_CHAINED_OPERATORS} in one term"),
            ));
        }
    }
    if outer.is_empty() {
        return Ok(());
    }
    let opener = if level.closer == ")" { "(" } else { "[" };
    Err(CompileError::new(level.start, format!("`{opener}` is not closed"), format!("`{}`", level.closer)))
}

/// The level around the one that `text` closes.
fn close(level: Level, enclosing: Option<Level>, text: &str, offset: usize) -> Result<Level, CompileError> {
    let Some(mut enclosing) = enclosing else {
        return Err(CompileError::new(offset, format!("`{text}` closes nothing"), ""));
    };
    if level.closer != text {
        let message = format!("`{text}` does not close the bracket before it");
        return Err(CompileError::new(offset, message, format!("`{}`", level.closer)));
    }
    enclosing.below = enclosing.below.max(level.depth() + 1);
    Ok(enclosing)
}
