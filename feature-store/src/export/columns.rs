//! Rows turned into columns, one batch at a time.
//!
//! Not here: files.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, StringDictionaryBuilder,
    TimestampMillisecondBuilder,
};
use arrow_array::types::Int8Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use augur_domain::feature::FeatureInfo;
use augur_domain::value::ValueType;
use augur_domain::{FeatureSet, FeatureVector};

use crate::TrainingRow;

/// Column of the user's key in hexadecimal.
const USER: &str = "user";
/// Column of the instant, in ms, UTC.
const AT: &str = "at";
/// Column of the outcome.
const LABEL: &str = "label";
/// Column of the label's place among those asked for.
const LABEL_INDEX: &str = "label_index";
/// What follows a feature's name in the name of its column of statuses.
const STATUS: &str = "__status";

pub(super) struct Columns {
    schema: SchemaRef,
    rows: usize,
    users: StringBuilder,
    times: TimestampMillisecondBuilder,
    labels: Float64Builder,
    indexes: Int64Builder,
    features: Vec<Feature>,
}

struct Feature {
    values: Values,
    statuses: Option<StringDictionaryBuilder<Int8Type>>,
}

enum Values {
    Numbers(Float64Builder),
    Texts(StringBuilder),
    Booleans(BooleanBuilder),
}

impl Columns {
    /// Fails, saying why, when two columns would have one name.
    pub(super) fn new(features: &FeatureSet, with_status: bool) -> Result<Self, String> {
        let mut fields = vec![
            Field::new(USER, DataType::Utf8, false),
            Field::new(AT, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
            Field::new(LABEL, DataType::Float64, true),
            Field::new(LABEL_INDEX, DataType::Int64, false),
        ];
        for info in features.features() {
            let values = Values::of(info);
            fields.push(Field::new(&*info.name, values.data_type(), true));
            if with_status {
                let words = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
                fields.push(Field::new(format!("{}{STATUS}", info.name), words, false));
            }
        }
        let mut names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        names.sort_unstable();
        if let Some(twice) =
            names.windows(2).find_map(|pair| pair.first().filter(|name| pair.last() == Some(name)))
        {
            return Err(format!("feature `{twice}` has the name of another column; rename it"));
        }
        let feature = |info| Feature {
            values: Values::of(info),
            statuses: with_status.then(StringDictionaryBuilder::new),
        };
        Ok(Self {
            features: features.features().iter().map(feature).collect(),
            schema: Arc::new(Schema::new(fields)),
            rows: 0,
            users: StringBuilder::new(),
            times: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            labels: Float64Builder::new(),
            indexes: Int64Builder::new(),
        })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Rows since the last [`Self::take`].
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn push(&mut self, row: &TrainingRow) {
        self.rows += 1;
        self.users.append_value(row.user.to_string());
        self.times.append_value(row.at.unix_ms());
        self.labels.append_option(row.outcome);
        self.indexes.append_value(i64::try_from(row.label).unwrap_or(i64::MAX));
        for (slot, feature) in self.features.iter_mut().enumerate() {
            feature.values.push(slot, &row.features);
            if let Some(statuses) = &mut feature.statuses {
                statuses.append_option(row.features.values.get(slot).map(|value| value.status.as_str()));
            }
        }
    }

    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.users.finish()),
            Arc::new(self.times.finish()),
            Arc::new(self.labels.finish()),
            Arc::new(self.indexes.finish()),
        ];
        for feature in &mut self.features {
            columns.push(feature.values.finish());
            if let Some(statuses) = &mut feature.statuses {
                columns.push(Arc::new(statuses.finish()));
            }
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

impl Values {
    fn of(info: &FeatureInfo) -> Self {
        match info.value_type {
            ValueType::Text => Self::Texts(StringBuilder::new()),
            ValueType::Boolean => Self::Booleans(BooleanBuilder::new()),
            ValueType::Number | ValueType::Timestamp | ValueType::Duration => {
                Self::Numbers(Float64Builder::new())
            }
        }
    }

    const fn data_type(&self) -> DataType {
        match self {
            Self::Numbers(_) => DataType::Float64,
            Self::Texts(_) => DataType::Utf8,
            Self::Booleans(_) => DataType::Boolean,
        }
    }

    fn push(&mut self, slot: usize, features: &FeatureVector) {
        let usable = features.usable(slot);
        match self {
            Self::Numbers(numbers) => numbers.append_option(usable),
            Self::Texts(texts) => texts.append_option(usable.and_then(|_| features.text(slot))),
            Self::Booleans(booleans) => booleans.append_option(usable.map(|value| value > 0.5)),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Numbers(numbers) => Arc::new(numbers.finish()),
            Self::Texts(texts) => Arc::new(texts.finish()),
            Self::Booleans(booleans) => Arc::new(booleans.finish()),
        }
    }
}
