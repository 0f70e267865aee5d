//! The functions of the language. The list is closed: each is pure, total or `Undefined`, and cheap.
//!
//! Not here: operators (`check`).

use augur_domain::ValueType;
use augur_domain::time::parse_duration_ms;
use augur_domain::time_zone::{self, TimeZone};

use crate::CompileError;
use crate::check::Checker;
use crate::fold::fold_number;
use crate::suggest;
use crate::syntax::{Kind, Node};
use crate::tree::{Boolean, LocalPart, Millis, Number, Text, Tree};

/// Every function with an example of its use.
const FUNCTIONS: [(&str, &str); 8] = [
    ("abs", "abs(features.balance)"),
    ("duration", "duration('24h')"),
    ("has", "has(features.last_order)"),
    ("local_hour", "local_hour(now, 'Europe/Berlin')"),
    ("local_weekday", "local_weekday(now, 'Europe/Berlin')"),
    ("max", "max(features.visits, 1)"),
    ("min", "min(features.visits, 10)"),
    ("seconds", "seconds(now - features.last_order)"),
];

impl Checker<'_> {
    pub(crate) fn call(
        &mut self,
        function: &str,
        arguments: &[Node],
        start: usize,
    ) -> Result<Tree, CompileError> {
        match (function, arguments) {
            ("has", [path]) => self.presence(path),
            ("duration", [text]) => duration(text),
            ("seconds", [length]) => match self.check(length)? {
                Tree::Duration(length) => {
                    let constant = length.is_constant();
                    let tree = Number::Seconds(Box::new(length));
                    Ok(Tree::Number(fold_number(tree, constant, start)?))
                }
                other => Err(CompileError::new(
                    length.start,
                    format!("`seconds` does not take a {}", other.value_type()),
                    format!("a {}", ValueType::Duration),
                )),
            },
            ("abs", [operand]) => {
                let operand = self.number(operand, "`abs`")?;
                let constant = operand.is_constant();
                Ok(Tree::Number(fold_number(Number::Absolute(Box::new(operand)), constant, start)?))
            }
            ("min" | "max", [left, right]) => {
                let user = if function == "min" { "`min`" } else { "`max`" };
                let operands = Box::new([self.number(left, user)?, self.number(right, user)?]);
                let constant = operands.iter().all(Number::is_constant);
                let tree =
                    if function == "min" { Number::Least(operands) } else { Number::Greatest(operands) };
                Ok(Tree::Number(fold_number(tree, constant, start)?))
            }
            ("local_hour" | "local_weekday", [at, zone]) => {
                let part = if function == "local_hour" { LocalPart::Hour } else { LocalPart::Weekday };
                self.local(part, function, at, zone)
            }
            _ => Err(refuse(function, arguments.len(), start)),
        }
    }

    fn local(
        &mut self,
        part: LocalPart,
        function: &str,
        at: &Node,
        zone: &Node,
    ) -> Result<Tree, CompileError> {
        let unfit = |node: &Node, found: &Tree, wanted: ValueType| {
            let message = format!("`{function}` does not take a {}", found.value_type());
            CompileError::new(node.start, message, format!("a {wanted}"))
        };
        let instant = match self.check(at)? {
            Tree::Timestamp(instant) => instant,
            other => return Err(unfit(at, &other, ValueType::Timestamp)),
        };
        let zone = match self.check(zone)? {
            Tree::Text(Text::Constant(name)) if TimeZone::named(&name).is_none() => {
                let names: Vec<&str> = time_zone::names().collect();
                let message = format!("there is no time zone `{name}`");
                return Err(CompileError::new(zone.start, message, "an IANA name such as 'Europe/Berlin'")
                    .with_hint(suggest::hint(&name, &names)));
            }
            Tree::Text(name) => name,
            other => return Err(unfit(zone, &other, ValueType::Text)),
        };
        self.reads_time_zones = true;
        Ok(Tree::Number(Number::Local { part, at: Box::new(instant), zone: Box::new(zone) }))
    }

    fn presence(&mut self, path: &Node) -> Result<Tree, CompileError> {
        let Kind::Path(name) = &path.kind else {
            let message = "`has` asks whether a name has a value";
            return Err(CompileError::new(path.start, message, "a name, e.g. `has(features.last_order)`"));
        };
        let (slot, _) = self.resolve(name, path.start)?;
        Ok(Tree::Boolean(Boolean::Present(slot)))
    }
}

fn duration(argument: &Node) -> Result<Tree, CompileError> {
    let Kind::Text(text) = &argument.kind else {
        let message = "`duration` takes a text literal only";
        return Err(CompileError::new(argument.start, message, "e.g. `duration('24h')`"));
    };
    match parse_duration_ms(text) {
        Ok(length_ms) => Ok(Tree::Duration(Millis::Constant(length_ms))),
        Err(complaint) => {
            let (message, expected) = complaint.split_once("; expected ").unwrap_or((&complaint, ""));
            Err(CompileError::new(argument.start, message, expected))
        }
    }
}

fn refuse(function: &str, arguments: usize, start: usize) -> CompileError {
    if let Some((_, example)) = FUNCTIONS.iter().find(|(name, _)| *name == function) {
        let plural = if arguments == 1 { "" } else { "s" };
        let message = format!("`{function}` does not take {arguments} argument{plural}");
        return CompileError::new(start, message, format!("e.g. `{example}`"));
    }
    let names = FUNCTIONS.map(|(name, _)| name);
    CompileError::new(
        start,
        format!("`{function}` is not a function"),
        format!("one of {}", names.join(", ")),
    )
    .with_hint(suggest::hint(function, &names))
}
