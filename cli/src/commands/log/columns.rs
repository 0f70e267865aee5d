//! Decisions turned into columns, a batch at a time: one column per feature, lists for candidates and reasons,
//! dictionaries for what repeats.
//!
//! Not here: files (`export`).

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, ListBuilder, StringBuilder, StringDictionaryBuilder,
    TimestampMillisecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use augur_loadtest::domain::{DecisionRecord, FeatureSet, Reason, Timestamp, Value, ValueType};

type Words = StringDictionaryBuilder<Int32Type>;

/// What stands before a feature's or a reward's name in the name of its column; the column of context.
const FEATURE: &str = "feature.";
const REWARD: &str = "reward.";
const CONTEXT: &str = "context";

/// Columns of records whose features are those of one feature set.
pub(super) struct Columns {
    schema: SchemaRef,
    rows: usize,
    sequences: UInt64Builder,
    decision_ids: StringBuilder,
    user_keys: StringBuilder,
    instants: TimestampMillisecondBuilder,
    /// `decision_point`, `policy_id`, `action`, `channel`, `category`, `rung`, `canary_arm`.
    words: [Words; 7],
    /// `value`, `propensity`.
    numbers: [Float64Builder; 2],
    /// `expires_at`, `holds_until`.
    ends: [TimestampMillisecondBuilder; 2],
    seeds: UInt64Builder,
    watermarks: UInt64Builder,
    /// `read_us`, `decide_us`.
    times: [UInt32Builder; 2],
    /// `user_erased`.
    erased: BooleanBuilder,
    /// By rule, in the order of the rules.
    rewards: Vec<Float64Builder>,
    /// `reasons`, `models`, `candidates`, `candidate_reasons`, `assignments`, `context`.
    lists: [ListBuilder<Words>; 6],
    /// `candidate_values`, `candidate_probabilities`, `score_margins`, `scores`.
    number_lists: [ListBuilder<Float64Builder>; 4],
    features: Vec<Feature>,
}

enum Feature {
    Number(Float64Builder),
    Text(StringBuilder),
    Boolean(BooleanBuilder),
}

const WORDS: [&str; 7] =
    ["decision_point", "policy_id", "action", "channel", "category", "rung", "canary_arm"];
const NUMBERS: [&str; 2] = ["value", "propensity"];
const ENDS: [&str; 2] = ["expires_at", "holds_until"];
const TIMES: [&str; 2] = ["read_us", "decide_us"];
const LISTS: [&str; 6] = ["reasons", "models", "candidates", "candidate_reasons", "assignments", CONTEXT];
const NUMBER_LISTS: [&str; 4] = ["candidate_values", "candidate_probabilities", "score_margins", "scores"];

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn list(items: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(items, true)))
}

fn instants() -> TimestampMillisecondBuilder {
    TimestampMillisecondBuilder::new().with_timezone("UTC")
}

impl Columns {
    /// `features` of the records to come; without them their features are left out. One column for each name in `rewards`.
    pub(super) fn new(features: Option<&FeatureSet>, rewards: &[String]) -> Self {
        let mut fields = vec![
            Field::new("sequence", DataType::UInt64, false),
            Field::new("decision_id", DataType::Utf8, false),
            Field::new("user_key", DataType::Utf8, false),
            Field::new("decided_at", instant_type(), false),
        ];
        fields.extend(WORDS.map(|name| Field::new(name, dictionary(), true)));
        fields.extend(NUMBERS.map(|name| Field::new(name, DataType::Float64, false)));
        fields.extend(ENDS.map(|name| Field::new(name, instant_type(), true)));
        fields.extend(["seed", "watermark"].map(|name| Field::new(name, DataType::UInt64, false)));
        fields.extend(TIMES.map(|name| Field::new(name, DataType::UInt32, false)));
        fields.push(Field::new("user_erased", DataType::Boolean, true));
        fields.extend(
            rewards.iter().map(|name| Field::new(format!("{REWARD}{name}"), DataType::Float64, true)),
        );
        fields.extend(LISTS.map(|name| Field::new(name, list(dictionary()), false)));
        fields.extend(NUMBER_LISTS.map(|name| Field::new(name, list(DataType::Float64), false)));
        let infos = features.map_or(&[][..], FeatureSet::features);
        for info in infos {
            let name = format!("{FEATURE}{}", info.name);
            fields.push(Field::new(name, Feature::of(info.value_type).data_type(), true));
        }
        Self {
            schema: Arc::new(Schema::new(fields)),
            rows: 0,
            sequences: UInt64Builder::new(),
            decision_ids: StringBuilder::new(),
            user_keys: StringBuilder::new(),
            instants: instants(),
            words: WORDS.map(|_| Words::new()),
            numbers: NUMBERS.map(|_| Float64Builder::new()),
            ends: ENDS.map(|_| instants()),
            seeds: UInt64Builder::new(),
            watermarks: UInt64Builder::new(),
            times: TIMES.map(|_| UInt32Builder::new()),
            erased: BooleanBuilder::new(),
            rewards: rewards.iter().map(|_| Float64Builder::new()).collect(),
            lists: LISTS.map(|_| ListBuilder::new(Words::new())),
            number_lists: NUMBER_LISTS.map(|_| ListBuilder::new(Float64Builder::new())),
            features: infos.iter().map(|info| Feature::of(info.value_type)).collect(),
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The record's features must be those that the columns were made for; `is_erased` of its user, if that is known, and one
    /// reward for each column of them.
    pub(super) fn push(&mut self, record: &DecisionRecord, is_erased: Option<bool>, rewards: &[Option<f64>]) {
        let (inputs, decision) = (&record.inputs, &record.decision);
        self.rows += 1;
        self.sequences.append_value(record.sequence);
        self.decision_ids.append_value(inputs.decision_id.to_string());
        self.user_keys.append_value(inputs.user.to_string());
        self.instants.append_value(inputs.now.unix_ms());
        let policy = record.policy.to_string();
        let words = [
            &*inputs.decision_point,
            &policy,
            &*decision.action,
            &*decision.channel,
            &*decision.category,
            decision.rung.as_str(),
            record.canary.as_ref().map_or("", |canary| canary.arm.as_str()),
        ];
        for (column, word) in self.words.iter_mut().zip(words) {
            column.append_option(Some(word).filter(|word| !word.is_empty()));
        }
        for (column, number) in self.numbers.iter_mut().zip([decision.value, decision.propensity]) {
            column.append_value(number);
        }
        for (column, end) in self.ends.iter_mut().zip([decision.expires_at, decision.holds_until]) {
            column.append_option(end.map(Timestamp::unix_ms));
        }
        self.seeds.append_value(inputs.seed);
        self.watermarks.append_value(inputs.features.watermark);
        for (column, us) in self.times.iter_mut().zip([record.observed.read_us, record.observed.decide_us]) {
            column.append_value(us);
        }
        self.erased.append_option(is_erased);
        for (column, reward) in self.rewards.iter_mut().zip(rewards) {
            column.append_option(*reward);
        }
        self.push_lists(record);
        for (slot, column) in self.features.iter_mut().enumerate() {
            column.push(record, slot);
        }
    }

    fn push_lists(&mut self, record: &DecisionRecord) {
        let (inputs, decision) = (&record.inputs, &record.decision);
        let [reasons, models, candidates, candidate_reasons, assignments, context] = &mut self.lists;
        extend(reasons, decision.reasons.iter().map(reason));
        let version = |score: &augur_loadtest::domain::decision::ScoreOutcome| match &score.model {
            Some(model) => format!("{}={}@{}", score.alias, model.name, model.version),
            None => format!("{}=", score.alias),
        };
        extend(models, decision.scores.iter().map(version));
        extend(candidates, decision.candidates.iter().map(|candidate| candidate.action.to_string()));
        extend(candidate_reasons, decision.candidates.iter().map(|candidate| reason(&candidate.reason)));
        let arm = |of: &augur_loadtest::domain::decision::Assignment| format!("{}={}", of.experiment, of.arm);
        extend(assignments, decision.assignments.iter().filter(|of| of.enrolled).map(arm));
        extend(context, inputs.context.iter().map(|(name, value)| format!("{name}={}", written(value))));
        let [values, probabilities, margins, scores] = &mut self.number_lists;
        extend_numbers(values, decision.candidates.iter().map(|candidate| candidate.value));
        extend_numbers(
            probabilities,
            decision.candidates.iter().map(|candidate| Some(candidate.probability)),
        );
        let scored = || decision.scores.iter().map(|outcome| outcome.score);
        extend_numbers(margins, scored().map(|score| score.map(|score| score.margin)));
        extend_numbers(scores, scored().map(|score| score.map(|score| score.calibrated)));
    }

    /// The batch so far; the next one begins.
    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.sequences.finish()),
            Arc::new(self.decision_ids.finish()),
            Arc::new(self.user_keys.finish()),
            Arc::new(self.instants.finish()),
        ];
        arrays.extend(self.words.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.extend(self.numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.extend(self.ends.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.push(Arc::new(self.seeds.finish()));
        arrays.push(Arc::new(self.watermarks.finish()));
        arrays.extend(self.times.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.push(Arc::new(self.erased.finish()));
        arrays.extend(self.rewards.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.extend(self.lists.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.extend(self.number_lists.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        arrays.extend(self.features.iter_mut().map(Feature::finish));
        RecordBatch::try_new(self.schema(), arrays)
    }
}

impl Feature {
    fn of(value_type: ValueType) -> Self {
        match value_type {
            ValueType::Text => Self::Text(StringBuilder::new()),
            ValueType::Boolean => Self::Boolean(BooleanBuilder::new()),
            // Times are given as numbers.
            ValueType::Number | ValueType::Timestamp | ValueType::Duration => {
                Self::Number(Float64Builder::new())
            }
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Number(_) => DataType::Float64,
            Self::Text(_) => DataType::Utf8,
            Self::Boolean(_) => DataType::Boolean,
        }
    }

    /// Null unless rules and models could have used the value.
    fn push(&mut self, record: &DecisionRecord, slot: usize) {
        let features = &record.inputs.features;
        let number = features.usable(slot);
        match self {
            Self::Number(column) => column.append_option(number),
            Self::Boolean(column) => column.append_option(number.map(|number| number != 0.0)),
            Self::Text(column) => column.append_option(features.usable_text(slot)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Number(column) => Arc::new(column.finish()),
            Self::Text(column) => Arc::new(column.finish()),
            Self::Boolean(column) => Arc::new(column.finish()),
        }
    }
}

fn extend(column: &mut ListBuilder<Words>, items: impl Iterator<Item = String>) {
    for item in items {
        column.values().append_value(item);
    }
    column.append(true);
}

fn extend_numbers(column: &mut ListBuilder<Float64Builder>, items: impl Iterator<Item = Option<f64>>) {
    for item in items {
        column.values().append_option(item);
    }
    column.append(true);
}

/// `CODE`, or `CODE: detail`.
fn reason(reason: &Reason) -> String {
    match &reason.detail {
        Some(detail) => format!("{}: {detail}", reason.code),
        None => reason.code.to_string(),
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Number(number) => number.get().to_string(),
        Value::Text(text) => text.to_string(),
    }
}
