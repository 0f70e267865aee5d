//! Tables as the checks see them: the rows at one decision point, in the order in which they are asked, and what values
//! there can be.
//!
//! Not here: what is found (`gaps`, `overlaps`, `shadowed`).

use augur_domain::Timestamp;
use augur_domain::ValueType;
use augur_domain::time::format_duration_ms;
use augur_expression::{Cases, Covered, Domain, Example, Outside, Slot};

use super::{Lint, LintedRule};
use crate::experiment::NO_ARM;
use crate::names::Input;
use crate::rule::{Hit, Mode};
use crate::snapshot::Point;

/// Comparisons of rows that one question about one table may take: what needs more is not told. Enough to look for rows
/// that never act among the first 2 000 or so.
const MAX_STEPS: usize = 5_000_000;

impl Lint<'_> {
    /// All rows of the table with this index.
    pub(super) fn rows(&self, table: usize) -> &[LintedRule<'_>] {
        let before = self.file.tables.iter().take(table).map(|table| table.rows.len());
        let from = self.file.rules.len() + before.sum::<usize>();
        let count = self.file.tables.get(table).map_or(0, |table| table.rows.len());
        self.rules.get(from..from + count).unwrap_or_default()
    }

    /// The rows of the table that act at `point`, in the order in which they are asked. Rows that read what the point
    /// declares otherwise than the first one where they hold are left out.
    pub(super) fn rows_at(&self, table: usize, point: &Point) -> Vec<&LintedRule<'_>> {
        let holds = |row: &&LintedRule<'_>| {
            row.info.mode != Mode::Off
                && row.info.validity.until.is_none_or(|until| until > self.context.now)
                && row.holds_at(&point.name)
                && self.reads_alike(row, point)
        };
        let mut rows: Vec<_> = self.rows(table).iter().filter(holds).collect();
        if self.file.tables.get(table).is_some_and(|table| table.hit != Hit::First) {
            // Stable: rows of equal priority stay in the table's order.
            rows.sort_by_key(|row| std::cmp::Reverse(row.info.priority));
        }
        rows
    }

    fn reads_alike(&self, row: &LintedRule<'_>, point: &Point) -> bool {
        let slots = row.info.when.as_ref().map_or(&[][..], |when| when.slots());
        slots.iter().all(|slot| match self.policy.inputs.get(*slot) {
            Some(Input::Context(declared)) => point.declared.contains(declared),
            _ => true,
        })
    }

    /// What the value in `slot` can be.
    pub(super) fn domain(&self, slot: Slot) -> Domain {
        let names = |names: Vec<String>| if names.is_empty() { Domain::Any } else { Domain::Texts(names) };
        match self.policy.inputs.get(slot) {
            Some(Input::Feature(index, ValueType::Number | ValueType::Duration)) => {
                let values = self.context.features.get(*index).copied().unwrap_or_default();
                let (least, greatest) = (values.least, values.greatest);
                Domain::Between(least.unwrap_or(f64::NEG_INFINITY), greatest.unwrap_or(f64::INFINITY))
            }
            Some(Input::Score(_)) => Domain::Between(0.0, 1.0),
            Some(Input::Segment(model)) => names(self.segment_names(*model)),
            Some(Input::Context(declared) | Input::Trait(declared)) => match &declared.values {
                Some(values) => names(values.iter().map(ToString::to_string).collect()),
                None if declared.value_type == ValueType::Duration => Domain::Between(0.0, f64::INFINITY),
                None => Domain::Any,
            },
            Some(Input::Experiment(index)) => {
                let experiment = self.policy.experiments.experiments.get(*index);
                let arms = experiment.into_iter().flat_map(|experiment| &experiment.arms);
                names(arms.map(|arm| arm.name.to_string()).chain([NO_ARM.to_owned()]).collect())
            }
            Some(Input::Now) => Domain::Between(self.context.now.unix_ms() as f64, f64::INFINITY),
            Some(Input::Feature(..) | Input::TimeZone) | None => Domain::Any,
        }
    }

    /// The names of segments that the model with this index can give, if a version is loaded.
    pub(super) fn segment_names(&self, model: usize) -> Vec<String> {
        let scorer = self.policy.models.get(model).and_then(|model| model.scorer());
        scorer.map_or_else(Vec::new, |scorer| scorer.segments().iter().map(ToString::to_string).collect())
    }

    fn is_whole(&self, slot: Slot) -> bool {
        match self.policy.inputs.get(slot) {
            Some(Input::Feature(index, ValueType::Number)) => {
                self.context.features.get(*index).is_some_and(|values| values.is_whole)
            }
            _ => self
                .value_type(slot)
                .is_some_and(|value_type| matches!(value_type, ValueType::Timestamp | ValueType::Duration)),
        }
    }

    fn value_type(&self, slot: Slot) -> Option<ValueType> {
        Some(match self.policy.inputs.get(slot)? {
            Input::Feature(_, value_type) => *value_type,
            Input::Context(declared) | Input::Trait(declared) => declared.value_type,
            Input::Score(_) => ValueType::Number,
            Input::Segment(_) | Input::TimeZone | Input::Experiment(_) => ValueType::Text,
            Input::Now => ValueType::Timestamp,
        })
    }

    /// Up to `most` examples of where `region` holds and none of `rows` does; `None` if there are none, or it cannot be
    /// told.
    pub(super) fn examples<'r>(
        &self,
        region: &Cases,
        rows: impl IntoIterator<Item = &'r Cases>,
        most: usize,
    ) -> Option<Vec<String>> {
        let outside =
            region.outside(rows, Covered::Perhaps, most, &mut { MAX_STEPS }, &|slot| self.is_whole(slot));
        let Outside::Some(examples) = outside else { return None };
        Some(examples.iter().map(|example| self.sentence(example)).collect())
    }

    fn sentence(&self, example: &[(Slot, Example)]) -> String {
        let told = example.iter().filter(|(_, value)| *value != Example::Any);
        let told: Vec<String> = told
            .map(|(slot, value)| {
                let path = self.policy.inputs.path(*slot);
                let value = match value {
                    Example::Any => "anything".to_owned(),
                    Example::Missing => return format!("no `{path}`"),
                    Example::Boolean(value) => value.to_string(),
                    Example::Text(text) => format!("'{text}'"),
                    Example::Number(number) => self.number(*slot, *number),
                };
                format!("`{path}` = {value}")
            })
            .collect();
        if told.is_empty() { "whatever there is".to_owned() } else { told.join(", ") }
    }

    fn number(&self, slot: Slot, number: f64) -> String {
        match self.value_type(slot) {
            Some(ValueType::Timestamp) => Timestamp::from_unix_ms(number as i64).to_string(),
            Some(ValueType::Duration) => format_duration_ms(number as i64),
            _ => number.to_string(),
        }
    }
}

/// The rows of a table of which one row acts that never do, wherever they hold, because rows before them always do; with
/// the number of the one that does, if it is one.
pub(super) fn hidden_rows<'l>(lint: &'l Lint<'_>, table: usize) -> Vec<(Vec<usize>, &'l LintedRule<'l>)> {
    let mut steps = MAX_STEPS;
    let points = lint.policy.points.iter().map(|point| lint.rows_at(table, point));
    let points: Vec<Vec<&LintedRule<'_>>> = points.filter(|rows| !rows.is_empty()).collect();
    let rows = lint.rows(table).iter().filter(|row| row.yields() && row.is_live(lint.context.now));
    let mut hidden = Vec::new();
    for row in rows {
        let mut before = Some(Vec::new());
        for rows in &points {
            let Some(place) = rows.iter().position(|other| std::ptr::eq(*other, row)) else { continue };
            let earlier = rows.get(..place).unwrap_or_default();
            let by = hidden_by(lint, row, earlier, &mut steps);
            before = before.zip(by).map(|(all, by)| [all, by].concat());
        }
        if let Some(mut before) = before.filter(|before| !before.is_empty()) {
            before.sort_unstable();
            before.dedup();
            hidden.push((before, row));
        }
    }
    hidden
}

/// The numbers of the rows that take everything from `row`; of several none needs to.
fn hidden_by(
    lint: &Lint<'_>,
    row: &LintedRule<'_>,
    earlier: &[&LintedRule<'_>],
    steps: &mut usize,
) -> Option<Vec<usize>> {
    // Each is compared once by itself, and at least once with the others.
    *steps = steps.checked_sub(earlier.len())?;
    let own = row.cases.as_ref()?.within_domains(&|slot| lint.domain(slot));
    let earlier = earlier.iter().filter(|other| other.holds_as_long_as(row));
    let earlier: Vec<(usize, &Cases)> =
        earlier.filter_map(|other| Some((other.info.row.as_ref()?.row, other.cases.as_ref()?))).collect();
    if let Some((number, _)) = earlier.iter().find(|(_, cases)| own.is_within(cases)) {
        return Some(vec![*number]);
    }
    let cases = earlier.iter().map(|(_, cases)| *cases);
    let left = own.outside(cases, Covered::Surely, 1, steps, &|slot| lint.is_whole(slot));
    (left == Outside::Nothing).then(|| earlier.iter().map(|(number, _)| *number).collect())
}
