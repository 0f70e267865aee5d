//! ONNX models of `ai.onnx.ml`: columns through `Imputer` and `Scaler` into one linear or tree classifier.
//!
//! The graph is followed from its inputs; a value is a list of columns, a score or a probability, and every node that says
//! something else is refused by its index. Arithmetic on columns is `f32`, as in onnxruntime. Not here: the messages
//! (`proto`), or what the two kinds of model do (`ensemble`, `linear`).

mod columns;
mod ensemble;
mod linear;
mod proto;
mod wire;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{ColumnNames, ForeignModel};
use crate::Error;
use crate::artifact::{Body, MAX_INPUTS};
use crate::calibrate::Calibrator;
use columns::Column;
use proto::{Model, Operation};

const FLOAT: u64 = 1;
const DOUBLE: u64 = 11;
/// Element types that become `f32` without loss of meaning: `f32`, small integers, booleans, `f64`.
const ELEMENTS: [u64; 8] = [FLOAT, 2, 3, 5, 6, 7, 9, DOUBLE];
/// Versions of `ai.onnx.ml` whose linear and tree operators mean what they mean here.
const OPERATORS: RangeInclusive<u64> = 1..=5;
const FLOATS: &str = "columns of numbers";

/// What is known of a value of the graph.
#[derive(Debug, Clone)]
enum Value {
    Columns(Vec<Column>),
    /// A margin without a link, of a regressor.
    Margin(Scored),
    /// The probabilities of both classes.
    Probability(Scored),
    /// Class names and what is made of them: nothing for us.
    Label,
}

/// A body whose margin is the logit of the probability.
#[derive(Debug, Clone)]
struct Scored {
    body: Body,
    positive: Option<String>,
    notes: Vec<String>,
}

pub(super) fn read(bytes: &[u8], names: &ColumnNames) -> Result<ForeignModel, Error> {
    let model = Model::read(bytes)?;
    if !OPERATORS.contains(&model.operators) {
        let problem = format!("asks for version {} of the operators of ai.onnx.ml", model.operators);
        return Err(whole(problem, "versions 1 to 5"));
    }
    let mut values = inputs(&model, names)?;
    for node in &model.nodes {
        let made = follow(node, &values, &model.constants)?;
        for (output, value) in node.outputs.iter().zip(made) {
            values.insert(*output, value);
        }
    }
    let told = model.outputs.iter().filter_map(|name| values.get(name));
    let mut scored =
        told.filter_map(|value| if let Value::Probability(scored) = value { Some(scored) } else { None });
    let scored = scored.next_back().cloned().ok_or_else(|| {
        let expected = "an output of class probabilities; a regressor needs a `Sigmoid` behind it";
        whole("no output of the graph is a probability".to_owned(), expected)
    })?;
    let mut details =
        vec![("producer", model.producer.to_owned()), ("operators", model.operators.to_string())];
    details.extend(scored.positive.map(|label| ("class", label)));
    Ok(ForeignModel {
        format: "onnx",
        details,
        body: scored.body,
        calibrator: Calibrator::Identity,
        notes: scored.notes,
    })
}

fn whole(problem: String, expected: &str) -> Error {
    Error::Foreign { format: "ONNX", place: "graph".to_owned(), problem, expected: expected.to_owned() }
}

/// The columns of each input of the graph. An input of several columns has no names for them: `order` gives them.
fn inputs<'a>(model: &Model<'a>, names: &ColumnNames) -> Result<BTreeMap<&'a str, Value>, Error> {
    let fed = model.inputs.iter().filter(|input| !model.constants.contains(&input.name));
    let (mut values, mut ordered) = (BTreeMap::new(), names.order.iter());
    for input in fed {
        if !ELEMENTS.contains(&input.element) {
            let problem = format!("input `{}` is of element type {}", input.name, input.element);
            return Err(whole(problem, FLOATS));
        }
        let width = match (input.width.and_then(|width| usize::try_from(width).ok()), names.order.len()) {
            (Some(width), _) => width,
            (None, count) if count > 0 && model.inputs.len() == 1 => count,
            (None, _) => {
                let problem = format!("input `{}` does not tell how many columns it has", input.name);
                return Err(whole(problem, "a fixed number of columns, or their names in `order`"));
            }
        };
        if width == 0 || width > MAX_INPUTS {
            return Err(whole(format!("input `{}` has {width} columns", input.name), "1 to 4096 columns"));
        }
        let columns = (0..width).map(|at| {
            let own = match ordered.next() {
                Some(name) => name.clone(),
                None if width == 1 && names.order.is_empty() => input.name.to_owned(),
                None => {
                    let problem = format!("column {at} of input `{}` has no name", input.name);
                    return Err(whole(
                        problem,
                        "as many names in `order` of the features map as there are columns",
                    ));
                }
            };
            Ok(Column::new(names.of(&own)))
        });
        values.insert(input.name, Value::Columns(columns.collect::<Result<_, _>>()?));
    }
    match ordered.next() {
        Some(name) => {
            Err(whole(format!("`order` names `{name}`, which is one column too many"), "one name per column"))
        }
        None => Ok(values),
    }
}

/// What a node gives, per output.
fn follow(
    node: &Operation<'_>,
    values: &BTreeMap<&str, Value>,
    constants: &[&str],
) -> Result<Vec<Value>, Error> {
    let known: Vec<&Value> = node.inputs.iter().filter_map(|name| values.get(name)).collect();
    if let Some(name) =
        node.inputs.iter().find(|name| !values.contains_key(*name) && !constants.contains(name))
    {
        return Err(node.fault(format!("input `{name}` comes from nowhere"), "nodes in their order"));
    }
    // Whatever is done to labels alone says nothing about probabilities.
    if !known.is_empty() && known.iter().all(|value| matches!(value, Value::Label)) {
        return Ok(vec![Value::Label; node.outputs.len()]);
    }
    if let Some(name) = node.tensor() {
        let expected = "single precision, as skl2onnx writes by default";
        return Err(node.fault(format!("`{name}` is a tensor, in double precision"), expected));
    }
    match (node.operator, known.as_slice()) {
        ("Identity" | "ZipMap", [value]) => Ok(vec![(*value).clone()]),
        ("Cast", [value]) => cast(node, value),
        ("Concat" | "FeatureVectorizer", values) => concatenated(node, values),
        ("Imputer", [Value::Columns(columns)]) => Ok(vec![Value::Columns(columns::imputed(node, columns)?)]),
        ("Scaler", [Value::Columns(columns)]) => Ok(vec![Value::Columns(columns::scaled(node, columns)?)]),
        ("LinearClassifier", [Value::Columns(columns)]) => {
            Ok(vec![Value::Label, Value::Probability(linear::classifier(node, columns)?)])
        }
        ("LinearRegressor", [Value::Columns(columns)]) => {
            Ok(vec![Value::Margin(linear::regressor(node, columns)?)])
        }
        ("TreeEnsembleClassifier", [Value::Columns(columns)]) => {
            Ok(vec![Value::Label, Value::Probability(ensemble::classifier(node, columns)?)])
        }
        ("TreeEnsembleRegressor", [Value::Columns(columns)]) => {
            Ok(vec![Value::Margin(ensemble::regressor(node, columns)?)])
        }
        ("Sigmoid", [Value::Margin(scored)]) => Ok(vec![Value::Probability(scored.clone())]),
        // Two probabilities add up to 1 already.
        ("Normalizer", [value @ Value::Probability(_)]) if node.text("norm") == Some("L1") => {
            Ok(vec![(*value).clone()])
        }
        _ => {
            let expected = "Imputer, Scaler, Concat, Cast, LinearClassifier, LinearRegressor or TreeEnsemble… with \
                            Sigmoid, Normalizer (L1), ZipMap behind it";
            Err(node.fault("cannot be scored here".to_owned(), expected))
        }
    }
}

fn cast(node: &Operation<'_>, value: &Value) -> Result<Vec<Value>, Error> {
    match (value, node.integer("to").and_then(|to| u64::try_from(to).ok())) {
        (Value::Columns(_), Some(FLOAT))
        | (Value::Margin(_) | Value::Probability(_), Some(FLOAT | DOUBLE)) => Ok(vec![value.clone()]),
        (_, to) => {
            Err(node.fault(format!("casts to type {}", to.unwrap_or_default()), "single precision, type 1"))
        }
    }
}

fn concatenated(node: &Operation<'_>, values: &[&Value]) -> Result<Vec<Value>, Error> {
    let mut all = Vec::new();
    for value in values {
        let Value::Columns(columns) = value else {
            return Err(node.fault("joins something else".to_owned(), FLOATS));
        };
        all.extend(columns.iter().cloned());
    }
    if values.len() != node.inputs.len() || all.is_empty() || all.len() > MAX_INPUTS {
        return Err(node.fault(format!("joins {} columns", all.len()), "1 to 4096 columns of the inputs"));
    }
    Ok(vec![Value::Columns(all)])
}

/// Which class is the positive one: the second of two.
fn second_class(node: &Operation<'_>, integers: &str, texts: &str) -> Result<String, Error> {
    let of_integers: Vec<String> = node.integers(integers).iter().map(ToString::to_string).collect();
    let of_texts: Vec<String> = node.texts(texts).iter().map(|text| (*text).to_owned()).collect();
    let labels = if of_integers.is_empty() { of_texts } else { of_integers };
    match labels.as_slice() {
        [_, positive] => Ok(positive.clone()),
        labels => {
            let expected = "2: a score is the probability of one class of two";
            Err(node.fault(format!("there are {} classes", labels.len()), expected))
        }
    }
}
