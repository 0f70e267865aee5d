//! From the text of `tasks.toml` to tasks, with a complaint for everything that does not fit.
//!
//! Not here: what a task means for a user's events (`super`).

use std::collections::BTreeMap;
use std::sync::Arc;

use augur_domain::time::parse_duration_ms;
use augur_domain::{TaskKind, Timestamp, ValueType, event_name};
use toml::de::DeTable;

use super::{HeldBack, Population, Task, TaskContext};
use crate::schema::Filter;
use crate::schema::complaints::{Complaints, did_you_mean};
use crate::taxonomy::fields::{Fields, refuse_unknown_keys};

/// Most tasks of a file.
const MAX_TASKS: usize = 100;
/// Most names in one list.
const MAX_NAMES: usize = 256;
/// Longest description.
const MAX_DESCRIPTION_BYTES: usize = 1_000;
/// Longest name of a task: that of a model.
const MAX_NAME_BYTES: usize = 64;

const ROOT_KEYS: [&str; 2] = ["version", "task"];
const TASK_KEYS: [&str; 18] = [
    "name",
    "description",
    "kind",
    "event",
    "where",
    "property_types",
    "horizon",
    "active",
    "has_done",
    "has_not_done",
    "group",
    "cutoffs",
    "every",
    "test_share",
    "test_from",
    "seed",
    "family",
    "positive_weight",
];
const EXCLUDE: &str = "exclude";
const KINDS: [(&str, TaskKind); 2] = [("conversion", TaskKind::Conversion), ("churn", TaskKind::Churn)];
const TYPES: [(&str, ValueType); 3] =
    [("number", ValueType::Number), ("text", ValueType::Text), ("boolean", ValueType::Boolean)];

/// Reads everything that can be read; the rest become complaints.
pub(super) fn read(text: &str, context: TaskContext<'_>, complaints: &mut Complaints<'_>) -> Vec<Task> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map_or(0, |span| span.start);
        complaints.add(place, error.message().replace('\n', ", "), "valid TOML");
    }
    if !errors.is_empty() {
        return Vec::new();
    }
    let root = document.get_ref();
    refuse_unknown_keys(root, &ROOT_KEYS, complaints);
    let mut fields = Fields { table: root, start: 0, complaints };
    fields.version();
    let mut tasks: BTreeMap<Arc<str>, Task> = BTreeMap::new();
    fields.each_table("task", MAX_TASKS, |place, table| {
        let mut reader = Reader { fields: table, context };
        let Some(task) = reader.task() else { return };
        let name = Arc::clone(&task.name);
        if tasks.insert(Arc::clone(&name), task).is_some() {
            reader.fields.complaints.add(place, format!("task `{name}` is declared twice"), "each task once");
        }
    });
    tasks.into_values().collect()
}

struct Reader<'t, 'c, 'a> {
    fields: Fields<'t, 'c, 'a>,
    context: TaskContext<'t>,
}

impl Reader<'_, '_, '_> {
    fn task(&mut self) -> Option<Task> {
        let known: Vec<&str> = TASK_KEYS.iter().copied().chain([EXCLUDE]).collect();
        refuse_unknown_keys(self.fields.table, &known, self.fields.complaints);
        let name = self.fields.required_name("name", task_name);
        if !self.fields.table.contains_key("kind") {
            self.fields.complain(
                "kind",
                "`kind` is missing",
                "`kind = \"conversion\"` or `kind = \"churn\"`",
            );
        }
        let kind = self.fields.choice("kind", &KINDS);
        self.fields.choice("group", &[("user", ())]);
        let base = Task::of_kind(kind?);
        let event = self.fields.name("event", canonical_name);
        self.check_event("event", event.as_ref());
        let event = event.or_else(|| base.event.clone());
        let condition = self.condition(event.as_ref());
        let horizon_ms = self.length("horizon");
        if horizon_ms.is_none() && !self.fields.table.contains_key("horizon") {
            self.fields.complain(
                "horizon",
                "`horizon` is missing",
                "how far a label looks ahead, `horizon = \"7d\"`",
            );
        }
        let population = Population {
            active_within_ms: self.length("active"),
            has_done: self.events("has_done"),
            has_not_done: self.events("has_not_done"),
        };
        if let Some(both) = population.has_done.iter().find(|name| population.has_not_done.contains(name)) {
            let message = format!("`{both}` is in `has_done` too: nobody is left");
            self.fields.complain("has_not_done", message, "another event");
        }
        let cutoffs = self.fields.whole("cutoffs", 2, 365).and_then(|count| u16::try_from(count).ok());
        Some(Task {
            name: name.unwrap_or_default(),
            description: self.fields.text("description", MAX_DESCRIPTION_BYTES),
            event,
            condition,
            horizon_ms: horizon_ms.unwrap_or(base.horizon_ms),
            population,
            cutoffs: cutoffs.unwrap_or(base.cutoffs),
            every_ms: self.length("every"),
            held_back: self.held_back().unwrap_or(base.held_back),
            seed: self.fields.whole("seed", 0, u32::MAX).map_or(base.seed, u64::from),
            family: self.family(),
            positive_weight: self.positive_weight().unwrap_or(base.positive_weight),
            exclude: self.exclude(),
            ..base
        })
    }

    fn length(&mut self, key: &'static str) -> Option<i64> {
        let text = self.fields.name(key, |text| {
            let expected = "a whole number and a unit, like `30m`, `12h` or `7d`";
            parse_duration_ms(text).map(|_| text.into()).map_err(|_| expected.to_owned())
        })?;
        parse_duration_ms(&text).ok()
    }

    fn events(&mut self, key: &'static str) -> Vec<Arc<str>> {
        let mut names = self.fields.names(key, MAX_NAMES, canonical_name);
        for name in &names {
            self.check_event(key, Some(name));
        }
        names.sort_unstable();
        names
    }

    /// A name that will never come is a slip of the pen.
    fn check_event(&mut self, key: &str, name: Option<&Arc<str>>) {
        let Some(name) = name else { return };
        let place = self.fields.table.get(key).map_or(self.fields.start, |value| value.span().start);
        match self.context.taxonomy.event(name) {
            Some(event) if event.name == *name => {}
            Some(event) => {
                let message = format!("`{name}` is another name of `{}`", event.name);
                self.fields.complaints.add(
                    place,
                    message,
                    format!("the name that is stored, `{}`", event.name),
                );
            }
            None if self.context.taxonomy.events().next().is_some() => {
                let hint = did_you_mean(name, self.context.taxonomy.events().map(|event| &*event.name));
                if self.context.taxonomy.refuses_unknown_events() || !hint.is_empty() {
                    let message = format!("no event `{name}` is declared");
                    self.fields.complaints.add_with_hint(place, message, "an event of the taxonomy", hint);
                }
            }
            None => {}
        }
    }

    fn condition(&mut self, event: Option<&Arc<str>>) -> Option<Filter> {
        let types = self.property_types(event);
        let value = self.fields.table.get("where")?;
        let (Some(source), Some(event)) = (value.get_ref().as_str(), event) else {
            self.fields.complain(
                "where",
                "`where` needs an `event` whose properties it reads",
                "text in quotes, and `event`",
            );
            return None;
        };
        let types: Arc<[(Arc<str>, ValueType)]> = types.into_iter().collect();
        match Filter::compile(source, types, std::slice::from_ref(event)) {
            Ok(condition) => Some(condition),
            Err(error) => {
                let written = self.fields.complaints.source(value.span());
                let quotes = written.len() - written.trim_start_matches(['"', '\'']).len();
                let verbatim = written.get(quotes..).is_some_and(|rest| rest.starts_with(source));
                let within = if verbatim { quotes.saturating_add(error.offset) } else { 0 };
                let place = value.span().start.saturating_add(within);
                self.fields.complaints.add_with_hint(place, error.message, error.expected, error.hint);
                None
            }
        }
    }

    /// What the taxonomy says of the event's properties, and `property_types` beside it.
    fn property_types(&mut self, event: Option<&Arc<str>>) -> BTreeMap<Arc<str>, ValueType> {
        let declared =
            event.and_then(|event| self.context.taxonomy.properties_of(event)).into_iter().flatten();
        let stored = |value_type| match value_type {
            ValueType::Timestamp | ValueType::Duration => ValueType::Number,
            other => other,
        };
        let mut types: BTreeMap<Arc<str>, ValueType> =
            declared.map(|(name, value_type)| (Arc::clone(name), stored(value_type))).collect();
        self.fields.with_table("property_types", |table| {
            for (name, value) in table.table {
                let word = value.get_ref().as_str().unwrap_or_default();
                match TYPES.iter().find(|(known, _)| *known == word) {
                    Some((_, value_type)) => {
                        types.insert(name.get_ref().as_ref().into(), *value_type);
                    }
                    None => {
                        let message = format!("property `{}` is a `{word}`", name.get_ref());
                        table.complaints.add(value.span().start, message, "number, text or boolean");
                    }
                }
            }
        });
        types
    }

    fn held_back(&mut self) -> Option<HeldBack> {
        let from = self.fields.name("test_from", |text| {
            let instant = Timestamp::parse_rfc3339(text).map(|_| text.into());
            instant.ok_or_else(|| "an instant like `2026-03-01T00:00:00Z`".to_owned())
        });
        if self.fields.table.contains_key("test_from") && self.fields.table.contains_key("test_share") {
            self.fields.complain("test_share", "`test_share` beside `test_from`", "one of the two");
        }
        let share = self.fields.number("test_share");
        if let Some(share) = share
            && !(0.01..=0.9).contains(&share)
        {
            self.fields.complain("test_share", format!("`test_share` is {share}"), "0.01 to 0.9");
            return None;
        }
        from.and_then(|text| Timestamp::parse_rfc3339(&text))
            .map(HeldBack::From)
            .or(share.map(HeldBack::Share))
    }

    fn family(&mut self) -> Option<Arc<str>> {
        let choices: Vec<(&str, usize)> = self.context.families.iter().copied().zip(0..).collect();
        let place = self.fields.choice("family", &choices)?;
        self.context.families.get(place).map(|word| Arc::from(*word))
    }

    fn positive_weight(&mut self) -> Option<f64> {
        let weight = self.fields.number("positive_weight")?;
        if !(1e-3..=1e3).contains(&weight) {
            self.fields.complain(
                "positive_weight",
                format!("`positive_weight` is {weight}"),
                "0.001 to 1000",
            );
        }
        Some(weight)
    }

    fn exclude(&mut self) -> Vec<Arc<str>> {
        let mut names = self.fields.names(EXCLUDE, MAX_NAMES, |text| Ok(text.into()));
        for name in names.iter().filter(|name| self.context.features.slot(name).is_none()) {
            let known = self.context.features.features().iter().map(|feature| &*feature.name);
            let hint = did_you_mean(name, known);
            let place = self.fields.table.get(EXCLUDE).map_or(self.fields.start, |value| value.span().start);
            let message = format!("there is no feature `{name}`");
            self.fields.complaints.add_with_hint(place, message, "features that are declared", hint);
        }
        names.sort_unstable();
        names
    }
}

fn canonical_name(name: &str) -> Result<Arc<str>, String> {
    match event_name::canonical(name) {
        Some(canonical) if canonical == name && !name.is_empty() => Ok(name.into()),
        Some(canonical) if !name.is_empty() => Err(format!("its canonical name, `{canonical}`")),
        _ => Err("the canonical name of an event, like `add_to_cart`".to_owned()),
    }
}

fn task_name(name: &str) -> Result<Arc<str>, String> {
    let fits = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if fits {
        Ok(name.into())
    } else {
        Err("1 to 64 of a-z, 0-9, `_` and `-`: it names the model".to_owned())
    }
}
