//! From source text to [`Node`]s: CEL's grammar by the `cel` crate, then everything outside the subset refused.
//!
//! Not here: bounds that must hold before parsing (`scan`) and types (`check`).

use std::fmt::Display;
use std::thread;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators};

use crate::CompileError;
use crate::scan::{self, Token};
use crate::syntax::{Arithmetic, Binary, Comparison, Kind, Node};

/// The most nodes an expression may have.
pub(crate) const MAX_NODES: usize = 1_000;
/// The deepest an expression may nest, which is also how deep checking and evaluation recurse.
pub(crate) const MAX_DEPTH: usize = 64;
/// Numbers are doubles: whole numbers past this are no longer all exact.
const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// The generated parser needs up to 190 KiB of stack per bracket in an unoptimised build, so the deepest source
/// that `scan` lets through takes 7 MiB: more than a default thread has. Parsing therefore gets a stack of its
/// own; its pages are only touched by sources that need them.
const PARSER_STACK_BYTES: usize = 24 * 1024 * 1024;

/// Parses `source`.
///
/// # Errors
/// Bad syntax, anything outside the subset, or a bound passed; with its place.
pub(crate) fn parse(source: &str) -> Result<Node, CompileError> {
    let scanned = scan::scan(source)?;
    thread::scope(|scope| joined(parser_thread(scope, || parse_bounded(&environment(), source, &scanned)))?)
}

/// Parses many sources with few threads: making one costs as much as a short parse.
pub(crate) fn parse_all(sources: &[&str]) -> Vec<Result<Node, CompileError>> {
    const MAX_THREADS: usize = 4;
    const WORTH_A_THREAD: usize = 64;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = (sources.len() / WORTH_A_THREAD).clamp(1, processors.min(MAX_THREADS));
    let share = sources.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let shares = sources.chunks(share).map(|share| {
            let parser = parser_thread(scope, move || {
                let environment = environment();
                let each = |source: &&str| parse_bounded(&environment, source, &scan::scan(source)?);
                share.iter().map(each).collect::<Vec<_>>()
            });
            (share, parser)
        });
        let shares: Vec<_> = shares.collect();
        // Should the parser give up on one of them, the others are parsed all the same.
        let one_by_one = |share: &[&str]| share.iter().map(|source| parse(source)).collect();
        let parsed =
            shares.into_iter().map(|(share, parser)| joined(parser).unwrap_or_else(|_| one_by_one(share)));
        parsed.flatten().collect()
    })
}

/// Begins `work` where there is stack enough for the generated parser.
fn parser_thread<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<thread::ScopedJoinHandle<'scope, T>> {
    let builder = thread::Builder::new().name("expression-parser".to_owned());
    builder.stack_size(PARSER_STACK_BYTES).spawn_scoped(scope, work)
}

/// What the parser's thread came to.
fn joined<T>(parser: std::io::Result<thread::ScopedJoinHandle<'_, T>>) -> Result<T, CompileError> {
    match parser.map(thread::ScopedJoinHandle::join) {
        Ok(Ok(parsed)) => Ok(parsed),
        Ok(Err(_panic)) => Err(CompileError::new(0, "the parser gave up on this expression", "")
            .with_hint("report it, and rewrite the expression meanwhile")),
        Err(error) => Err(CompileError::new(0, format!("no thread for the parser: {error}"), "")),
    }
}

/// The default environment has no macros: calls like `xs.exists(..)` stay calls and are refused as such.
fn environment() -> cel::Env {
    cel::Env::default().with_optional_support(false)
}

fn parse_bounded(environment: &cel::Env, source: &str, tokens: &[Token]) -> Result<Node, CompileError> {
    let parsed = environment.parser().parse_with_source_info(source);
    let (tree, places) = parsed.map_err(|errors| explain(source, tokens, &errors.errors))?;
    Converter { source, places: &places, nodes: 0 }.convert(&tree, 1)
}

/// The first syntax error in this language's words.
fn explain(source: &str, tokens: &[Token], errors: &[cel::ParseError]) -> CompileError {
    // Errors about incomplete trees follow from syntax errors, but may stand before them.
    let grammar = errors.iter().find(|error| error.msg.starts_with("Syntax error"));
    let Some(first) = grammar.or(errors.first()) else {
        return CompileError::new(0, "the expression cannot be parsed", "");
    };
    let offset = offset_of(source, first.pos);
    let index = tokens.partition_point(|token| token.end <= offset);
    let Some(token) = tokens.get(index) else {
        let last = tokens.last().map_or(0, |token| token.end);
        // Brackets match, so after a whole value only a choice can be unfinished.
        let unfinished_choice = tokens.last().is_some_and(Token::ends_value);
        let expected = if unfinished_choice { "`:` and the other value" } else { expected_after(None) };
        return CompileError::new(last, "the expression ends too early", expected);
    };
    let text = token.text(source);
    if first.msg.starts_with("reserved identifier") {
        return CompileError::new(token.start, format!("`{text}` is a reserved word"), "another name");
    }
    let before = index.checked_sub(1).and_then(|previous| tokens.get(previous));
    let after_value = before.is_some_and(Token::ends_value);
    let literal =
        text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '\'' | '"')) && text != ".";
    if first.msg.starts_with("invalid") || (literal && !after_value) {
        return CompileError::new(
            token.start,
            format!("`{text}` is not a valid literal"),
            "a number like 12 or 0.5, or a text like 'DE' with escapes like \\n and \\u00e9",
        );
    }
    if let Some(word) = before.filter(|word| matches!(word.text(source), "not" | "NOT")) {
        let message = format!("`{}` is not an operator", word.text(source));
        return CompileError::new(word.start, message, "").with_hint("did you mean `!`?");
    }
    let hint = match text {
        "and" | "AND" => "did you mean `&&`?",
        "or" | "OR" => "did you mean `||`?",
        _ => "",
    };
    CompileError::new(token.start, format!("`{text}` is out of place"), expected_after(before))
        .with_hint(hint)
}

fn expected_after(token: Option<&Token>) -> &'static str {
    if token.is_some_and(Token::ends_value) {
        "an operator, a closing bracket or the end"
    } else {
        "a value: a name, a literal, `(` or `[`"
    }
}

/// The byte offset of the parser's (line, column), both from 1, columns in characters.
fn offset_of(source: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or_default().saturating_sub(1);
    let column = usize::try_from(column).unwrap_or_default().saturating_sub(1);
    let line_start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let tail = source.get(line_start..).unwrap_or_default();
    line_start + tail.char_indices().nth(column).map_or(tail.len(), |(index, _)| index)
}

struct Converter<'a> {
    source: &'a str,
    places: &'a SourceInfo,
    nodes: usize,
}

impl Converter<'_> {
    fn convert(&mut self, tree: &IdedExpr, depth: usize) -> Result<Node, CompileError> {
        let place = self.place(tree);
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = "the expression has too many parts";
            return Err(CompileError::new(place, message, format!("at most {MAX_NODES}"))
                .with_hint("split it into several rules"));
        }
        if depth > MAX_DEPTH {
            let message = "the expression nests too deeply";
            return Err(CompileError::new(place, message, format!("at most {MAX_DEPTH} levels"))
                .with_hint("split it into several rules"));
        }
        match &tree.expr {
            Expr::Literal(literal) => self.literal(literal, place),
            Expr::Ident(_) | Expr::Select(_) => self.path(tree, place),
            Expr::List(list) => {
                let elements = self.convert_all(&list.elements, depth)?;
                Ok(Node { start: place, kind: Kind::List(elements) })
            }
            Expr::Call(call) => self.call(call, place, depth),
            Expr::Map(_) | Expr::Struct(_) => Err(outside(place, "a map or message")),
            Expr::Comprehension(_) => Err(outside(place, "a macro")),
            Expr::Unspecified => Err(CompileError::new(place, "a value is missing here", "a value")),
        }
    }

    fn convert_all(&mut self, trees: &[IdedExpr], depth: usize) -> Result<Vec<Node>, CompileError> {
        trees.iter().map(|tree| self.convert(tree, depth + 1)).collect()
    }

    /// Where the token that stands for `tree` begins: an operator for a call, a dot for a selection.
    fn place(&self, tree: &IdedExpr) -> usize {
        self.places.offset_for(tree.id).map_or(0, |(start, _)| start as usize).min(self.source.len())
    }

    fn literal(&self, literal: &LiteralValue, start: usize) -> Result<Node, CompileError> {
        let kind = match literal {
            LiteralValue::Boolean(boolean) => Kind::Boolean(*boolean.inner()),
            LiteralValue::Double(double) => Kind::Number(*double.inner()),
            LiteralValue::Int(integer) => Kind::Number(exact(*integer.inner(), start)?),
            LiteralValue::String(text) => Kind::Text(text.inner().to_owned()),
            LiteralValue::UInt(_) => return Err(outside(start, "an unsigned number")),
            LiteralValue::Bytes(_) => return Err(outside(start, "a bytes literal")),
            LiteralValue::Null => {
                return Err(outside(start, "`null`").with_hint("ask for presence with `has(name)`"));
            }
        };
        Ok(Node { start, kind })
    }

    /// `a.b.c` as one dotted name that starts where `a` does.
    fn path(&self, tree: &IdedExpr, place: usize) -> Result<Node, CompileError> {
        let mut fields = Vec::new();
        let mut current = tree;
        loop {
            match &current.expr {
                Expr::Select(select) if !select.test => {
                    fields.push(select.field.as_str());
                    current = &select.operand;
                }
                Expr::Ident(root) if !root.starts_with('.') => {
                    fields.push(root);
                    fields.reverse();
                    return Ok(Node { start: self.place(current), kind: Kind::Path(fields.join(".")) });
                }
                _ => {
                    return Err(CompileError::new(
                        place,
                        "`.` selects from something that is not a name",
                        "",
                    )
                    .with_hint("write a dotted name like `features.visits`"));
                }
            }
        }
    }

    fn call(&mut self, call: &CallExpr, place: usize, depth: usize) -> Result<Node, CompileError> {
        if call.target.is_some() {
            return Err(outside(place, format_args!("the method call `.{}(..)`", call.func_name)));
        }
        if matches!(call.func_name.as_str(), operators::LOGICAL_AND | operators::LOGICAL_OR) {
            return self.logical(call, depth);
        }
        let mut operands = self.convert_all(&call.args, depth)?;
        match call.func_name.as_str() {
            operators::LOGICAL_NOT | operators::NEGATE => {
                let operand = Box::new(operands.pop().ok_or_else(|| outside(place, "this operator"))?);
                let not = call.func_name == operators::LOGICAL_NOT;
                let kind = if not { Kind::Not(operand) } else { Kind::Negate(operand) };
                Ok(Node { start: place, kind })
            }
            operators::CONDITIONAL => {
                let operands: Box<[Node; 3]> =
                    operands.try_into().map_err(|_| outside(place, "this form of `? :`"))?;
                let [condition, ..] = &*operands;
                Ok(Node { start: condition.start, kind: Kind::Choose(operands) })
            }
            operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => {
                Err(outside(place, "an index into a list"))
            }
            name => match binary(name) {
                Some(operator) => {
                    let operands: Box<[Node; 2]> =
                        operands.try_into().map_err(|_| outside(place, "this operator"))?;
                    let [left, _] = &*operands;
                    Ok(Node { start: left.start, kind: Kind::Binary { operator, at: place, operands } })
                }
                None => {
                    let start = self.function_start(name, place);
                    let function = name.to_owned();
                    Ok(Node { start, kind: Kind::Call { function, arguments: operands } })
                }
            },
        }
    }

    /// One node for a whole chain of `&&` or of `||`, which the parser hands over as a balanced tree.
    fn logical(&mut self, call: &CallExpr, depth: usize) -> Result<Node, CompileError> {
        let mut terms = Vec::new();
        self.gather(call, depth, &mut terms)?;
        let start = terms.first().map_or(0, |term| term.start);
        let all = call.func_name == operators::LOGICAL_AND;
        Ok(Node { start, kind: if all { Kind::All(terms) } else { Kind::Any(terms) } })
    }

    fn gather(&mut self, call: &CallExpr, depth: usize, terms: &mut Vec<Node>) -> Result<(), CompileError> {
        for operand in &call.args {
            match &operand.expr {
                Expr::Call(inner) if inner.func_name == call.func_name && inner.target.is_none() => {
                    self.gather(inner, depth, terms)?;
                }
                _ => terms.push(self.convert(operand, depth + 1)?),
            }
        }
        Ok(())
    }

    /// The parser places a call at its bracket; the name stands before it.
    fn function_start(&self, name: &str, bracket: usize) -> usize {
        self.source.get(..bracket).and_then(|before| before.rfind(name)).unwrap_or(bracket)
    }
}

fn exact(integer: i64, place: usize) -> Result<f64, CompileError> {
    if integer.unsigned_abs() > MAX_EXACT_INTEGER {
        return Err(CompileError::new(
            place,
            format!("`{integer}` cannot be held exactly"),
            format!("a whole number between -{MAX_EXACT_INTEGER} and {MAX_EXACT_INTEGER}"),
        ));
    }
    Ok(integer as f64)
}

fn outside(place: usize, what: impl Display) -> CompileError {
    CompileError::new(
        place,
        format!("{what} is outside the language"),
        "names, literals, the operators && || ! == != < <= > >= + - * / % in ?:, and the functions abs, duration, \
         has, local_hour, local_weekday, max, min, seconds",
    )
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        operators::ADD => Binary::Arithmetic(Arithmetic::Add),
        operators::SUBSTRACT => Binary::Arithmetic(Arithmetic::Subtract),
        operators::MULTIPLY => Binary::Arithmetic(Arithmetic::Multiply),
        operators::DIVIDE => Binary::Arithmetic(Arithmetic::Divide),
        operators::MODULO => Binary::Arithmetic(Arithmetic::Remainder),
        operators::EQUALS => Binary::Compare(Comparison::Equal),
        operators::NOT_EQUALS => Binary::Compare(Comparison::NotEqual),
        operators::LESS => Binary::Compare(Comparison::Less),
        operators::LESS_EQUALS => Binary::Compare(Comparison::LessOrEqual),
        operators::GREATER => Binary::Compare(Comparison::Greater),
        operators::GREATER_EQUALS => Binary::Compare(Comparison::GreaterOrEqual),
        operators::IN => Binary::In,
        _ => return None,
    })
}
