//! `augur demo`: the whole product on a simulated shop, in one process and one minute.
//!
//! Everything that a user of Augur would do over the network goes over the network here. Not here: the parts
//! themselves; this file only plays them in order and tells what came of it (`story`).

mod story;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use augur_loadtest::open_loop::Arrivals;
use augur_loadtest::v1::value::Kind;
use augur_loadtest::{Client, Shop, ingest, open_loop, shop, v1};

use augur_server::offline::{Task, TaskKind, check_tasks};
use augur_server::{App, Clock, Config, Running, SystemClock};
use tokio_util::sync::CancellationToken;

use super::{replay, train};
use crate::data::Directory;
use crate::output::Output;
use crate::{Error, Outcome, progress};
use story::{Replay, Story};

/// Days that the simulated shop has been open.
const SHOP_DAYS: u32 = 120;
const DECISIONS_IN_FLIGHT: usize = 512;

/// See the whole product in one minute: a simulated shop, features, two models, decisions, their replay.
///
/// Starts a server in this process on a port of its own, sends 120 days of simulated shoppers through the public
/// gRPC API, trains a conversion and a churn model on what was stored, decides for every shopper with an open-loop
/// client, and decides everything again from the log. Needs nothing else.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  augur demo
  augur demo --users 20000 --rate 5000 --data big-shop
  augur demo --json | python3 -m json.tool")]
pub(crate) struct Args {
    /// Where to keep the shop; a new directory among the temporary ones unless given. Must not hold data yet.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Simulated shoppers, at least 100: fewer teach a model nothing.
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    users: u32,
    /// Another seed is another shop.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Decisions asked for per second.
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
}

/// Answers counted as they come.
#[derive(Debug, Default)]
struct Answers {
    actions: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
}

impl Answers {
    fn count(&mut self, answer: &v1::DecideResponse) {
        *self.actions.entry(answer.action.clone()).or_default() += 1;
        if let Some(reason) = answer.reasons.first() {
            *self.reasons.entry(reason.code.clone()).or_default() += 1;
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args, output: Output) -> Result<Outcome, Error> {
    let plan = decision_plan(args);
    plan.check()?;
    let path = match &args.data {
        Some(path) => path.clone(),
        None => kept_temporary_directory()?,
    };
    let directory = Directory::open_or_create(&path)?;
    let config = demo_config(&directory)?;
    let story = super::block_on(play(args, &plan, &path, config))?;
    output.report(&story, Story::tell)?;
    Ok(if story.all_went_well() { Outcome::Fine } else { Outcome::Refused })
}

fn kept_temporary_directory() -> Result<PathBuf, Error> {
    let made = tempfile::Builder::new().prefix("augur-demo-").tempdir();
    Ok(made.map_err(Error::file("create", &std::env::temp_dir()))?.keep())
}

/// The directory's own configuration, on ports that nobody else has.
fn demo_config(directory: &Directory) -> Result<Config, Error> {
    let mut config = directory.config()?;
    if config.data.dir.join("store").exists() {
        return Err(Error::Argument {
            argument: "--data",
            found: config.data.dir.display().to_string(),
            expected: "a directory without data, because the demo tells only what it did itself".to_owned(),
        });
    }
    config.server.listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    config.server.http_listen = None;
    Ok(config)
}

async fn play(args: &Args, plan: &open_loop::Plan, path: &Path, config: Config) -> Result<Story, Error> {
    let now = SystemClock::new().now();
    let mut shop =
        Shop::new(shop::Plan { seed: args.seed, shoppers: args.users as usize, days: SHOP_DAYS, now })?;

    let sent = async |running: &Running| send_events(&endpoint(running), &mut shop).await;
    let ingest = super::serving(config.clone(), CancellationToken::new(), sent).await?;

    let (directory, seed) = (config.clone(), args.seed);
    let models = tokio::task::spawn_blocking(move || train_models(directory, seed)).await;
    let models = models.map_err(|_| Error::Stopped { what: "training" })??;

    let decided = async |running: &Running| decide_for_all(&endpoint(running), shop, plan).await;
    let (decide, answers) = super::serving(config.clone(), CancellationToken::new(), decided).await?;

    let stored = config.data.dir.clone();
    let verified = tokio::task::spawn_blocking(move || replay::verified(&stored, None, 0, None)).await;
    let verified = verified.map_err(|_| Error::Stopped { what: "the replay" })??;
    Ok(Story {
        data: path.to_owned(),
        users: args.users,
        days: SHOP_DAYS,
        ingest,
        models,
        decide,
        decisions_by_action: answers.actions,
        decisions_by_reason: answers.reasons,
        replay: Replay::of(&verified),
    })
}

fn endpoint(running: &Running) -> String {
    format!("http://{}", running.address)
}

async fn send_events(endpoint: &str, shop: &mut Shop) -> Result<ingest::Report, Error> {
    let client = Client::connect(endpoint, 1).await?;
    let plan = ingest::Plan { batch_events: 1_000, ..ingest::Plan::default() };
    let bar = progress::counter("events through gRPC");
    let report = ingest::run(&client, shop, &plan, |totals| bar.set_position(totals.events)).await?;
    bar.finish_and_clear();
    Ok(report)
}

fn train_models(config: Config, seed: u64) -> Result<Vec<train::Report>, Error> {
    let mut tasks = check_tasks(&config, &train::FamilyName::words())?;
    if tasks.is_empty() {
        tasks = [TaskKind::Churn, TaskKind::Conversion].map(Task::of_kind).to_vec();
    }
    let app = App::open(config, SystemClock::new())?;
    let order = |task: &Task| train::Order {
        source: train::Source::Task(task.clone()),
        quality: train::quality::QualityArgs::default(),
        learning: train::Learning::with_seed(seed),
        by: "augur demo".to_owned(),
        promote: true,
        trigger: None,
    };
    let orders: Vec<train::Order> = tasks.iter().map(order).collect();
    let reports = orders.iter().map(|order| train::train(&app, order)).collect();
    app.close()?;
    reports
}

fn decision_plan(args: &Args) -> open_loop::Plan {
    open_loop::Plan {
        requests: u64::from(args.users),
        warm_up: 0,
        rate_per_second: args.rate,
        arrivals: Arrivals::Poisson,
        max_in_flight: DECISIONS_IN_FLIGHT,
        seed: args.seed,
    }
}

/// One decision per shopper: on the cart page for those with something in the cart, else in the weekly e-mail run.
async fn decide_for_all(
    endpoint: &str,
    shop: Shop,
    plan: &open_loop::Plan,
) -> Result<(open_loop::Report, Answers), Error> {
    let client = Client::connect(endpoint, 2).await?;
    let send = move |index: u64| {
        let request = decide_request(&shop, usize::try_from(index).unwrap_or(usize::MAX));
        let mut decisions = client.decisions();
        async move { Ok(decisions.decide(request).await?.into_inner()) }
    };
    let answers = Arc::new(Mutex::new(Answers::default()));
    let counted = Arc::clone(&answers);
    let bar = progress::bar("decisions through gRPC", plan.requests);
    let moved = bar.clone();
    let report = open_loop::run(
        plan,
        send,
        move |_, answer| counted.lock().unwrap_or_else(PoisonError::into_inner).count(&answer),
        move |done| moved.set_position(done),
    )
    .await?;
    bar.finish_and_clear();
    let answers = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((report, answers))
}

fn decide_request(shop: &Shop, index: usize) -> v1::DecideRequest {
    let cart_value = shop.cart_value(index).unwrap_or(0.0);
    let (point, context) = if cart_value > 0.0 {
        let country = shop.country(index).unwrap_or_default().to_owned();
        let value = |kind| v1::Value { kind: Some(kind) };
        let context = [
            ("cart_value".to_owned(), value(Kind::Number(cart_value))),
            ("country".to_owned(), value(Kind::Text(country))),
        ];
        ("cart_page", BTreeMap::from(context))
    } else {
        ("weekly_email", BTreeMap::new())
    };
    v1::DecideRequest {
        subject: shop.subject(index),
        decision_point: point.to_owned(),
        context,
        ..v1::DecideRequest::default()
    }
}
