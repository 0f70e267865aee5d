//! Which task `augur train` is for: a declared one, or conversion or churn as the options say.
//!
//! Not here: what a task means (the feature store), or fitting.

use std::path::PathBuf;

use augur_loadtest::domain::time::{DAY_MS, format_duration_ms, parse_duration_ms};
use augur_server::Config;
use augur_server::offline::{HeldBack, Span, Task, TaskKind, check_tasks, nearest_task};

use super::FamilyName;
use crate::Error;

/// What to foretell, of whom, as of when.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Task")]
pub(crate) struct TaskArgs {
    /// What to foretell: a task of `tasks.toml`, or, where the file declares none of that name, `conversion` or `churn` as
    /// the options below say. Options win over what is declared.
    #[arg(long, value_name = "NAME", required_unless_present_any = ["table", "labels"])]
    pub(super) task: Option<String>,
    /// The file of tasks; that of the configuration unless given.
    #[arg(long, value_name = "FILE", conflicts_with = "table")]
    tasks: Option<PathBuf>,
    /// The event that decides the label. Of a conversion, `purchase` unless declared; of churn, any event.
    #[arg(long, value_name = "NAME", conflicts_with = "table")]
    event: Option<String>,
    /// How far ahead a conversion may come; `7d` unless declared. Of labels of your own, how far they look ahead: those
    /// whose horizon reaches into the time held back are left out.
    #[arg(long, value_parser = parse_duration_ms, conflicts_with = "table")]
    pub(super) horizon: Option<i64>,
    /// How long the silence of a churned user is; `14d` unless declared.
    #[arg(long, value_parser = parse_duration_ms, conflicts_with = "table")]
    inactive: Option<i64>,
    /// Only users with an event within this time before the cutoff; `30d` where nothing is declared.
    #[arg(long, value_parser = parse_duration_ms, conflicts_with = "table")]
    active: Option<i64>,
    /// How many cutoffs, at least 2; 6 unless declared.
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=365), conflicts_with = "table")]
    cutoffs: Option<u16>,
    /// Time between cutoffs; the horizon unless declared.
    #[arg(long, value_parser = parse_duration_ms, value_name = "TIME", conflicts_with = "table")]
    cutoff_every: Option<i64>,
}

impl TaskArgs {
    /// The task; options of another kind are refused, not ignored. `config` is told of another file of tasks.
    pub(super) fn resolve(&self, config: &mut Config) -> Result<Task, Error> {
        if let Some(path) = &self.tasks {
            config.data.tasks = Some(path.clone());
        }
        let declared = check_tasks(config, &FamilyName::words())?;
        let name = self.task.as_deref().unwrap_or_default();
        let of_kind = [TaskKind::Conversion, TaskKind::Churn].into_iter().find(|kind| kind.as_str() == name);
        let found = declared.iter().find(|task| &*task.name == name).cloned();
        let mut task =
            found.or_else(|| of_kind.map(Task::of_kind)).ok_or_else(|| unknown(name, &declared))?;
        self.apply(&mut task)?;
        Ok(task)
    }

    fn apply(&self, task: &mut Task) -> Result<(), Error> {
        let foreign = |option: &str, expected| {
            let problem = format!("{option} does not belong to a task of kind {}", task.kind.as_str());
            Err(Error::Usage { problem, expected })
        };
        match task.kind {
            TaskKind::Conversion if self.inactive.is_some() => {
                return foreign("--inactive", "`--horizon`, e.g. `--horizon 7d`");
            }
            TaskKind::Churn if self.horizon.is_some() => {
                return foreign("--horizon", "`--inactive`, e.g. `--inactive 14d`");
            }
            TaskKind::Conversion | TaskKind::Churn => {}
        }
        if let Some(event) = &self.event {
            task.set_event(event);
        }
        task.horizon_ms = self.horizon.or(self.inactive).unwrap_or(task.horizon_ms);
        task.population.active_within_ms = self.active.or(task.population.active_within_ms);
        task.cutoffs = self.cutoffs.unwrap_or(task.cutoffs);
        task.every_ms = self.cutoff_every.or(task.every_ms);
        Ok(())
    }
}

fn unknown(name: &str, declared: &[Task]) -> Error {
    let names: Vec<&str> = declared.iter().map(|task| &*task.name).collect();
    let hint = nearest_task(name, declared);
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    Error::Argument {
        argument: "--task",
        found: name.to_owned(),
        expected: format!("conversion, churn or a task that is declared ({}){hint}", names.join(", ")),
    }
}

/// Too little is stored for one cutoff to train on and one to measure on.
pub(super) fn too_short(span: Option<Span>, task: &Task) -> Error {
    let days = span.map_or(0, |span| span.last.millis_since(span.first) / DAY_MS);
    let (what, next_step) = match (task.held_back, task.kind) {
        (HeldBack::From(_), _) => (
            "horizon, with cutoffs before `test_from` and after it",
            "choose another `test_from`, or more cutoffs",
        ),
        (_, TaskKind::Conversion) => ("horizon", "import more history, or choose a shorter `--horizon`"),
        (_, TaskKind::Churn) => {
            ("time of inactivity", "import more history, or choose a shorter `--inactive`")
        }
    };
    Error::TooLittle {
        problem: format!("the stored events span {days} days"),
        expected: format!("more than twice the {} of {what}", format_duration_ms(task.horizon_ms)),
        next_step,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: super::super::Args,
    }

    fn task(words: &str) -> Result<Task, Error> {
        let line = format!("augur --data d {words}");
        let args = Line::try_parse_from(line.split(' ')).unwrap().args;
        args.task.resolve(&mut Config::default())
    }

    #[test]
    fn options_of_the_other_kind_are_refused() {
        for (words, option) in
            [("--task churn --horizon 7d", "--horizon"), ("--task conversion --inactive 7d", "--inactive")]
        {
            let error = task(words).unwrap_err().to_string();
            assert!(error.starts_with(option), "{error}");
        }
        assert_eq!(task("--task churn").unwrap().horizon_ms, 14 * DAY_MS);
        let conversion = task("--task conversion --event add_to_cart --horizon 2d --active 9d").unwrap();
        assert_eq!(conversion.positive_class(), "add_to_cart within 2d");
        assert_eq!(conversion.population.active_within_ms, Some(9 * DAY_MS));
        assert!(task("--task churm").unwrap_err().to_string().contains("conversion, churn or a task"));
    }

    #[test]
    fn options_win_over_what_is_declared() {
        let dir = tempfile::tempdir().unwrap();
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../config");
        for name in ["features.toml", "events.toml"] {
            std::fs::copy(format!("{shipped}/{name}"), dir.path().join(name)).unwrap();
        }
        let tasks = dir.path().join("tasks.toml");
        std::fs::write(&tasks, "version = 1\n[[task]]\nname = \"big\"\nkind = \"conversion\"\nwhere = \"properties.value > 50.0\"\nhorizon = \"3d\"\nseed = 9\nfamily = \"forest\"\n").unwrap();
        let mut config = Config::default();
        config.data.features = dir.path().join("features.toml");
        config.data.events = Some(dir.path().join("events.toml"));
        let line = format!("augur --data d --task big --tasks {} --horizon 5d", tasks.display());
        let args = Line::try_parse_from(line.split(' ')).unwrap().args;
        let task = args.task.resolve(&mut config).unwrap();
        assert_eq!(
            (task.horizon_ms, task.seed, task.condition()),
            (5 * DAY_MS, 9, Some("properties.value > 50.0"))
        );
        let line = format!("augur --data d --task bigg --tasks {}", tasks.display());
        let args = Line::try_parse_from(line.split(' ')).unwrap().args;
        let told = args.task.resolve(&mut config).unwrap_err().to_string();
        assert!(told.contains("did you mean `big`?"), "{told}");
    }

    #[test]
    fn too_little_history_names_the_option_of_the_kind() {
        for (words, option) in [("--task churn", "--inactive"), ("--task conversion", "--horizon")] {
            let error = too_short(None, &task(words).unwrap());
            assert!(error.next_step().unwrap().contains(option), "{error}");
        }
    }
}
