//! `augur models diff`: two versions side by side, as text for people.
//!
//! Not here: the comparison itself (`augur_models::registry`).

use augur_models::registry::{Difference, InputChange, InputDifference};
use serde_json::Value;

use super::{Place, show};
use crate::output::{Output, table};
use crate::{Error, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's name.
    model: String,
    /// A version's number, or an alias.
    first: String,
    /// Another version's number, or an alias.
    second: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let place = args.place.open()?;
    let describe = |selector: &str| show::describe(&place, &args.model, selector);
    let difference = Difference::between(&describe(&args.first)?, &describe(&args.second)?);
    output.report(&difference, text)?;
    Ok(Outcome::Fine)
}

fn text(difference: &Difference) -> String {
    let (first, second) = difference.versions;
    if difference.same_artifact {
        return format!("{} {first} and {second} are the same artifact", difference.model);
    }
    let count = |change| difference.inputs.iter().filter(|input| input.change == change).count();
    let mut text = format!(
        "{} {first} -> {second}: {} inputs kept, {} redefined, {} added, {} removed\n",
        difference.model,
        count(InputChange::Kept),
        count(InputChange::Redefined),
        count(InputChange::Added),
        count(InputChange::Removed),
    );
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
    let (before, after) = (format!("{first}"), format!("{second}"));
    let rows: Vec<Vec<String>> = difference
        .metrics
        .iter()
        .map(|metric| {
            let (first, second) = metric.values;
            let change = first.zip(second).map(|(first, second)| second - first);
            let change = change.map_or("-".to_owned(), |change| format!("{change:+.4}"));
            vec![metric.name.clone(), figure(first), figure(second), change]
        })
        .collect();
    text.push_str(&table(&["figure", &before, &after, "change"], &rows));
    text.push('\n');
    text.push_str(&inputs(&difference.inputs, (&before, &after)));
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    for setting in &difference.settings {
        let (first, second) = (shown(&setting.values.0), shown(&setting.values.1));
        text.push_str(&format!("{}: {first} -> {second}\n", setting.name));
    }
    text
}

fn inputs(inputs: &[InputDifference], (before, after): (&str, &str)) -> String {
    let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
    let row = |input: &InputDifference| {
        vec![
            input.feature.clone(),
            input.change.as_str().to_owned(),
            figure(input.weights.0),
            figure(input.weights.1),
            figure(input.importances.0),
            figure(input.importances.1),
        ]
    };
    let rows: Vec<Vec<String>> = inputs.iter().map(row).collect();
    let weights = (format!("weight {before}"), format!("weight {after}"));
    let importances = (format!("importance {before}"), format!("importance {after}"));
    table(&["input", "", &weights.0, &weights.1, &importances.0, &importances.1], &rows)
}
