//! The plain definition of every measure: a loop over all events.
//!
//! Not here: values that are no numbers.

use augur_domain::{Timestamp, math};

use super::cases::{Case, GAP_MS, Happened};
use crate::schema::{AggregateKind, Measure, WindowStatistic};

/// The plain definition: a loop over all events. `None` where there is no value.
pub(super) fn plain(
    measure: Measure,
    events: &[Happened],
    now: Timestamp,
    start: Option<Timestamp>,
    case: &Case,
) -> Option<f64> {
    let weight = |event: &Happened| event.input(case).weight;
    let inside: Vec<&Happened> =
        events.iter().filter(|event| start.is_none_or(|start| event.at >= start)).collect();
    let weights = || inside.iter().map(|event| weight(event));
    let (count, sum) = (inside.len() as f64, weights().sum::<f64>());
    let since = |time: Option<Timestamp>| time.map(|time| now.millis_since(time) as f64 / 1_000.0);
    let by_value = || {
        let mut texts: Vec<&str> = inside.iter().filter_map(|event| event.value.as_text()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    };
    match measure {
        Measure::Decayed { half_life_ms, .. } => {
            let parts = events.iter().map(|event| {
                let age_ms = now.millis_since(event.at);
                weight(event) * math::exp2(-(age_ms as f64) / half_life_ms as f64)
            });
            Some(parts.sum())
        }
        Measure::Total => Some(sum),
        Measure::Window { what, .. } => match what {
            WindowStatistic::Count => Some(count),
            WindowStatistic::Sum => Some(sum),
            _ if inside.is_empty() => None,
            WindowStatistic::Mean => Some(sum / count),
            WindowStatistic::Min => weights().min_by(f64::total_cmp),
            WindowStatistic::Max => weights().max_by(f64::total_cmp),
            WindowStatistic::Variance | WindowStatistic::StandardDeviation => {
                let mean = sum / count;
                let variance = weights().map(|weight| (weight - mean) * (weight - mean)).sum::<f64>() / count;
                let deviation = what == WindowStatistic::StandardDeviation;
                Some(if deviation { math::sqrt(variance) } else { variance })
            }
        },
        Measure::SinceLast => since(events.iter().map(|event| event.at).max()),
        Measure::SinceFirst => since(events.iter().map(|event| event.at).min()),
        Measure::Distinct | Measure::DistinctWindow { .. } => Some(by_value().len() as f64),
        Measure::TopCount { rank } | Measure::TopShare { rank } => {
            let AggregateKind::TopK { half_life_ms, .. } = case.spec.kind else { return None };
            let weigh = |event: &Happened| {
                half_life_ms.map_or(1.0, |half_life_ms| math::decay(now.millis_since(event.at), half_life_ms))
            };
            let of = |text: &str| {
                let those = events.iter().filter(|event| event.value.as_text() == Some(text));
                those.map(weigh).sum::<f64>()
            };
            let mut counts: Vec<f64> = by_value().into_iter().map(of).collect();
            counts.sort_by(|one, two| two.total_cmp(one));
            let total: f64 = events.iter().map(weigh).sum();
            let share = matches!(measure, Measure::TopShare { .. });
            counts.get(rank as usize).map(|count| if share { count / total } else { *count })
        }
        _ => plain_sessions(measure, events, now),
    }
}

fn plain_sessions(measure: Measure, events: &[Happened], now: Timestamp) -> Option<f64> {
    let mut sorted: Vec<&Happened> = events.iter().collect();
    sorted.sort_by_key(|event| event.at);
    let mut sessions: Vec<Vec<&Happened>> = Vec::new();
    for event in sorted {
        match sessions.last_mut() {
            Some(open) if event.at.millis_since(open[open.len() - 1].at) <= GAP_MS => open.push(event),
            _ => sessions.push(vec![event]),
        }
    }
    let last = |session: &Vec<&Happened>| session[session.len() - 1].at;
    let count = sessions.len() as f64;
    let length_ms: i64 = sessions.iter().map(|session| last(session).millis_since(session[0].at)).sum();
    let open = sessions.last().filter(|session| now.millis_since(last(session)) <= GAP_MS);
    match measure {
        Measure::SessionCount { .. } => Some(count),
        Measure::MeanLength { .. } => Some(length_ms as f64 / count / 1_000.0),
        Measure::BounceShare { .. } => {
            Some(sessions.iter().filter(|session| session.len() == 1).count() as f64 / count)
        }
        Measure::EventsPerSession { .. } => Some(events.len() as f64 / count),
        Measure::CurrentEvents { .. } => Some(open.map_or(0.0, |open| open.len() as f64)),
        Measure::CurrentPages { .. } => {
            Some(open.map_or(0.0, |open| open.iter().filter(|event| event.is_page).count() as f64))
        }
        Measure::CurrentLength { .. } => {
            Some(open.map_or(0.0, |open| now.millis_since(open[0].at) as f64 / 1_000.0))
        }
        _ => None,
    }
}
