//! Rules and rows of tables: what each is at the decision points where it holds.
//!
//! Not here: expressions and actions (the module above), or how rows were read (`file::table`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::ValueType;
use augur_expression::{CompileError, Parsed};

use super::{Compiler, Failure, Questions, boxed, how_to_declare, indices, listed};
use crate::check::applies;
use crate::file::{Located, MAX_TABLE_FAULTS, Policy, RuleEntry, TableEntry, Written, offset_in_file};
use crate::question::Question;
use crate::rule::{Effect, Hit, Mode, Origin, Rule, RuleInfo, TableRow};
use crate::set::Changes;
use crate::snapshot::{Candidate, Point};
use crate::table::{Row, Table};

impl Compiler<'_> {
    /// Gives every decision point the rules that hold there.
    pub(super) fn rules(&mut self, policy: &Policy) -> Vec<RuleInfo> {
        let mut told = Vec::with_capacity(policy.rules.len());
        let mut places = TablePlaces::new();
        let mut faults_of_table = (None, 0);
        for (entry, table) in policy.every_rule() {
            if table != faults_of_table.0 {
                faults_of_table = (table, self.complaints.len());
            }
            if table.is_some() && self.complaints.len() - faults_of_table.1 >= MAX_TABLE_FAULTS {
                continue;
            }
            let points = indices(policy, |point| applies(entry, point));
            let table = table.and_then(|index| Some((index, policy.tables.get(index)?)));
            let place = match table {
                Some((_, table)) => format!("table {}", table.name.value),
                None => format!("rule {}", entry.id.value),
            };
            let terms = entry.when.as_deref().unwrap_or_default();
            let questions = self.conjunction(terms, &place, entry, &points);
            let Some(then) = entry.then else { continue };
            let mut info = rule_info(entry, then, questions.values().next().cloned());
            info.row = table.map(|(_, table)| row_of(entry, table));
            for (index, when) in questions {
                let Some(point) = self.points.get_mut(index).filter(|_| info.mode != Mode::Off) else {
                    continue;
                };
                let origin = match table {
                    None => Origin::Rule,
                    Some((_, TableEntry { hit: Hit::Collect, .. })) => Origin::Row,
                    Some((number, table)) => places.enter(point, (number, index), table.hit, &info, &when),
                };
                let rule = rule_at(&info, origin, point, when);
                point.rules_of(info.mode, then).push(rule);
            }
            told.push(info);
        }
        told
    }

    /// Compiles a rule's condition for each of `points`.
    fn conjunction(
        &mut self,
        terms: &[Written],
        place: &str,
        entry: &RuleEntry,
        points: &[usize],
    ) -> Questions {
        if let [Written { cell: None, .. }] = terms {
            return self.questions(terms.first(), "when", place, points, ValueType::Boolean);
        }
        let mut parsed = Vec::with_capacity(terms.len());
        for term in terms {
            match self.parsed.get(&*term.source) {
                Some(Ok(source)) => parsed.push(source),
                Some(Err(error)) => {
                    self.complain_of_cell(term, entry, error.clone(), "", "");
                    return Questions::new();
                }
                None => return Questions::new(),
            }
        }
        let Some((parsed, starts)) = Parsed::conjunction(&parsed) else { return Questions::new() };
        let (questions, failures) = self.compiled(&parsed, place, points, ValueType::Boolean);
        for Failure { mut error, unknown_path, points } in failures {
            let index = starts.partition_point(|start| *start <= error.offset).saturating_sub(1);
            let Some(term) = terms.get(index) else { continue };
            error.offset -= starts.get(index).copied().unwrap_or(0).min(error.offset);
            self.complain_of_cell(term, entry, error, unknown_path, &listed(&points));
        }
        questions
    }

    fn complain_of_cell(
        &mut self,
        term: &Written,
        entry: &RuleEntry,
        error: CompileError,
        unknown: &str,
        points: &str,
    ) {
        let offset = offset_in_file(self.text, term, error.offset);
        let column = term.cell.as_ref().map_or("when", |cell| &*cell.column);
        let at = if points.is_empty() { String::new() } else { format!(" at {points}") };
        let message = format!("`{column}` in {}{at}: {}", entry.title(), error.message);
        let declare = how_to_declare(unknown, points);
        let hint = if error.hint.is_empty() { declare } else { error.hint };
        self.complaints.add(offset, message, error.expected, hint);
    }
}

impl Point {
    /// The list for rules of this mode and effect.
    fn rules_of(&mut self, mode: Mode, effect: Effect) -> &mut Vec<Rule> {
        match (mode, effect) {
            (Mode::Shadow | Mode::Off, _) => &mut self.shadow,
            (Mode::On, Effect::Allow) => &mut self.allow,
            (Mode::On, Effect::Deny) => &mut self.deny,
            (Mode::On, Effect::Force) => &mut self.force,
            (Mode::On, Effect::Boost) => &mut self.boost,
            (Mode::On, Effect::Set) => &mut self.set,
        }
    }
}

fn rule_info(entry: &RuleEntry, effect: Effect, when: Option<Arc<Question>>) -> RuleInfo {
    let shared = |names: &[Located<String>]| names.iter().map(|name| name.value.as_str().into()).collect();
    RuleInfo {
        id: entry.id.value.as_str().into(),
        effect,
        mode: entry.mode,
        validity: entry.validity,
        owner: entry.owner.as_deref().map(Into::into),
        reason: entry.reason.as_str().into(),
        priority: entry.priority,
        actions: shared(&entry.actions),
        points: entry.points.as_deref().map(shared),
        boost: entry.boost,
        set: boxed(&entry.set.value).collect(),
        when,
        row: None,
    }
}

fn rule_at(info: &RuleInfo, origin: Origin, point: &Point, when: Arc<Question>) -> Rule {
    let named = |candidate: &Candidate| info.actions.contains(&candidate.action.name);
    let candidates = point.candidates.iter().enumerate().filter(|(_, candidate)| named(candidate));
    let sets = info.effect == Effect::Set && info.mode == Mode::On;
    Rule {
        when,
        origin,
        effect: info.effect,
        validity: info.validity,
        reason: Arc::clone(&info.reason),
        priority: info.priority,
        candidates: candidates.clone().map(|(index, _)| index).collect(),
        boost: info.boost,
        changes: sets.then(|| Changes::new(Arc::clone(&info.set), candidates)),
    }
}

/// Where a row stands in its table.
fn row_of(entry: &RuleEntry, table: &TableEntry) -> TableRow {
    let row = entry.row().map_or(0, |(_, row)| row);
    TableRow { table: table.name.value.as_str().into(), hit: table.hit, row }
}

/// Where tables of which one row acts stand at the decision points: by the numbers of both.
struct TablePlaces(BTreeMap<(usize, usize), usize>);

impl TablePlaces {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds the row `info` to its table at `point`.
    fn enter(
        &mut self,
        point: &mut Point,
        numbers: (usize, usize),
        hit: Hit,
        info: &RuleInfo,
        when: &Arc<Question>,
    ) -> Origin {
        let table = *self.0.entry(numbers).or_insert_with(|| {
            point.tables.push(Table { hit, shadow: info.mode == Mode::Shadow, rows: Vec::new() });
            point.tables.len() - 1
        });
        let Some(entered) = point.tables.get_mut(table) else { return Origin::Row };
        let index = entered.rows.len();
        let (validity, priority) = (info.validity, info.priority);
        entered.rows.push(Row { index, when: Arc::clone(when), validity, priority });
        Origin::Hit { table, row: index }
    }
}
