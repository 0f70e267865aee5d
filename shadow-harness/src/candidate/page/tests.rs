//! The page is the same bytes for the same report, holds what the report says, and nothing of it as markup.

use std::collections::BTreeMap;
use std::path::Path;

use augur_domain::rng::{Purpose, Rng};
use augur_domain::{ReasonCode, Timestamp};

use super::*;
use crate::candidate::Cause;
use crate::candidate::report::{
    ActionCount, ActionView, ArmFlips, Both, Control, Distribution, Example, Flips, Gates, Labelled,
    Percentiles, Quality, ScoreGates, ScoreShift, Scored, SegmentFlips, Subject, Timing, Uncompared,
    Validity,
};
use crate::off_policy::{LoggedRow, Options, evaluate};
use crate::{Stage, Verdict as ControlVerdict};

const HOSTILE: &str = "</title><script>alert(\"x\")</script> & 'quoted' <img src=x onerror=y>";
const GOLDEN: &str = "testdata/report/page.html";

fn flips(decisions: u64, flipped: u64) -> Flips {
    let mut flips = Flips { decisions, flipped, ..Flips::default() };
    flips.settle();
    flips
}

/// Both scores of so many made-up decisions.
fn scored(rows: u64) -> (Option<Distribution>, Quality) {
    let mut rng = Rng::new(3, Purpose::Simulation);
    let mut row = |number: u64| {
        let truth = rng.next_f64();
        let noise = 0.4 * (rng.next_f64() - 0.5);
        let label = rng.next_f64() < truth;
        let (logged, candidate) = ((truth + noise).clamp(0.01, 0.99), truth * truth.max(0.2));
        let at = Timestamp::from_unix_ms(number as i64);
        (
            Scored { logged, candidate, group: number / 2 },
            Labelled { at, logged, candidate, group: number / 2, label },
        )
    };
    let rows: Vec<(Scored, Labelled)> = (0..rows).map(&mut row).collect();
    let scored: Vec<Scored> = rows.iter().map(|row| row.0).collect();
    let labelled: Vec<Labelled> = rows.iter().map(|row| row.1).collect();
    (Distribution::of(&scored), Quality::of("CONVERTED within 14d".to_owned(), &labelled, Timestamp::MAX))
}

fn value(rows: u64, propensity: f64) -> Option<crate::off_policy::Evaluation> {
    let mut rng = Rng::new(2, Purpose::Simulation);
    let row = |number: u64| {
        let given = rng.next_f64() < propensity;
        let logged = if given { propensity } else { 1.0 - propensity };
        let target = if given { 1.0 } else { 0.0 };
        let reward = f64::from(u8::from(rng.next_f64() < 0.3));
        let row = LoggedRow::new(reward, logged, target).and_then(|row| row.with_supported(1.0));
        row.unwrap().of_group(number / 2)
    };
    let rows: Vec<LoggedRow> = (0..rows).map(row).collect();
    evaluate(&rows, &Options { resamples: 50, actions: Some(3), ..Options::default() })
}

/// A report with something of everything; `word` stands wherever a name is somebody's choice.
fn report(word: &str) -> CandidateReport {
    let name = |suffix: &str| format!("{word}{suffix}");
    let (distribution, quality) = scored(400);
    let view = |value: f64, probability: f64, reason: &str| {
        Some(ActionView { value: Some(value), probability, reason: reason.to_owned() })
    };
    let example = Example {
        sequence: 17,
        decision_id: "019ab0c4d1e2f3a4b5c6d7e8f9a0b1c2".to_owned(),
        user_key: "00112233445566778899aabbccddeeff".to_owned(),
        at: "2026-11-22T17:02:45.000Z".to_owned(),
        decision_point: name("point"),
        logged: name("discount"),
        candidate: name("nothing"),
        cause: Cause::Refused(ReasonCode::RuleDenied, name("RULE_DENIED (NO_DISCOUNT)")),
        stage: Stage::Rule,
        gain: 0.25,
        logged_reasons: vec![name("HIGHEST_VALUE")],
        candidate_reasons: vec![name("HIGHEST_VALUE"), name("RULE_DENIED")],
        scores: BTreeMap::from([(name("churn"), Both { logged: Some(0.3), candidate: Some(0.4) })]),
        actions: BTreeMap::from([
            (name("discount"), Both { logged: view(1.0, 1.0, word), candidate: view(0.0, 0.0, word) }),
            (name("new"), Both { logged: None, candidate: view(0.5, 1.0, word) }),
        ]),
    };
    let mut report = CandidateReport {
        subject: Subject {
            policy: name("policy.toml"),
            models: vec![name("churn=4")],
            exposures: "as logged".to_owned(),
        },
        validity: Validity {
            control: Some(Control {
                verdict: ControlVerdict::Identical,
                records: 1_000,
                equal: 1_000,
                different: 0,
                unverifiable: 0,
                corrupt: 0,
            }),
            first_at: "2026-11-01T00:00:00.000Z".to_owned(),
            last_at: "2026-11-22T17:02:45.000Z".to_owned(),
            policies: [name("aa11")].into(),
            models: BTreeMap::from([(name("churn"), [name("churn 3")].into())]),
            fallbacks_logged: 3,
            fallbacks_candidate: 12,
        },
        records: 1_000,
        uncompared: vec![Uncompared { reason: name(" is missing"), decisions: 4 }],
        not_carried: 2,
        flips: flips(996, 150),
        by_point: BTreeMap::from([(name("point"), flips(996, 150))]),
        by_rung: BTreeMap::from([("CHAMPION", flips(990, 146)), ("RULES_ONLY", flips(6, 4))]),
        segments: vec![SegmentFlips {
            by: "context.country".to_owned(),
            segment: name("DE"),
            flips: flips(100, 60),
            lift: Some(3.98),
            p_value: Some(1e-9),
            stands_out: true,
        }],
        users_changed: 120,
        users: 700,
        causes: BTreeMap::from([(name("now refused"), 140), ("value".to_owned(), 10)]),
        stages: BTreeMap::from([("rule", 140), ("value", 10)]),
        actions: BTreeMap::from([
            (name("discount"), ActionCount { logged: 400, candidate: 250 }),
            (name("nothing"), ActionCount { logged: 596, candidate: 746 }),
        ]),
        confusion: BTreeMap::from([
            (name("discount"), BTreeMap::from([(name("discount"), 250), (name("nothing"), 150)])),
            (name("nothing"), BTreeMap::from([(name("nothing"), 596)])),
        ]),
        scores: BTreeMap::from([(
            name("churn"),
            ScoreShift {
                scored: 996,
                changed: 990,
                logged_mean: 0.31,
                candidate_mean: 0.35,
                largest: 0.2,
                distribution,
            },
        )]),
        quality: BTreeMap::from([(name("churn"), quality)]),
        value: value(2_000, 0.3),
        timing: Timing {
            logged_read: Percentiles { count: 1_000, p50_us: 12.0, p95_us: 20.0, p99_us: 31.0, max_us: 90.0 },
            logged_decide: Percentiles { count: 1_000, p50_us: 2.0, p95_us: 3.0, p99_us: 4.0, max_us: 9.0 },
            replayed: Percentiles { count: 31, p50_us: 1.5, p95_us: 2.0, p99_us: 2.5, max_us: 3.0 },
            candidate: Percentiles { count: 31, p50_us: 1.8, p95_us: 2.4, p99_us: 3.0, max_us: 3.2 },
            cost_ratio: Some(1.2),
        },
        experiments: BTreeMap::from([(
            name("tone"),
            BTreeMap::from([(name("warm"), ArmFlips { flips: flips(400, 80), moved: 5 })]),
        )]),
        examples: vec![example.clone(), Example { sequence: 18, ..example }],
        ..CandidateReport::default()
    };
    let gates = Gates {
        max_flip_share: Some(0.1),
        max_growth: BTreeMap::from([(name("nothing"), 1.5)]),
        min_value_ratio: Some(1.0),
        scores: BTreeMap::from([(
            name("churn"),
            ScoreGates { max_psi: Some(0.2), min_auc_change: Some(-0.5), ..ScoreGates::default() },
        )]),
        ..Gates::default()
    };
    report.settle_gates(Some(&gates));
    report
}

#[test]
fn the_same_report_is_the_same_bytes() {
    let page = report("").html();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("AUGUR_RECORD").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(page == golden, "the page changed: look at it, then record it with AUGUR_RECORD=1");
    assert_eq!(page, report("").html());
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let page = report(HOSTILE).html();
    for markup in ["<script", "<img", "alert(\"x\")"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.matches("&lt;script&gt;").count() > 30);
    for address in ["http:", "https:", "url(", "@import", " href="] {
        assert!(!page.contains(address), "{address}");
    }
}

#[test]
fn every_element_is_closed_in_its_place() {
    for page in [report(HOSTILE).html(), CandidateReport::default().html()] {
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1) {
            let (inside, _) = tag.split_once('>').unwrap();
            let name = inside.split([' ', '/']).next().unwrap_or("");
            if let Some(closed) = inside.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed), "{inside}");
            } else if !inside.ends_with('/') && !["!doctype", "meta", "wbr"].contains(&name) {
                open.push(name);
            }
        }
        assert_eq!(open, [] as [&str; 0]);
        assert!(!page.contains("NaN") && !page.contains("inf\""));
    }
}

#[test]
fn every_plot_is_told_in_words_and_figures() {
    let page = report("").html();
    for title in ["Distribution", "Quantiles", "Reliability"] {
        assert!(page.contains(&format!("<figcaption>{title}</figcaption>")), "{title}");
    }
    let plots = page.matches("role=\"img\"").count();
    assert_eq!((plots, page.matches("<desc>").count()), (3, 3));
    assert_eq!(page.matches("<svg ").count(), plots + page.matches("aria-hidden=\"true\"").count());
    assert!(page.matches("<caption>").count() > 10);
}

#[test]
fn what_makes_a_reader_doubt_stands_on_top() {
    let mut report = report("");
    let page = report.html();
    for expected in
        ["✕ Reject", "Look at this first", "4 decisions could not be made", "✕ fails", "it would start anew"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    report.validity.control = None;
    report.settle_gates(Some(&Gates::default()));
    let page = report.html();
    assert!(page.contains("◌ Hold") && page.contains("No control replay was made"));
    report.value = value(40, 0.02);
    assert!(report.html().contains("Not identifiable"));
}

/// What the words on a terminal and the page say is of one report.
#[test]
fn text_and_page_agree() {
    let report = report("");
    let (text, page) = (report.to_string(), report.html());
    assert!(text.starts_with("REJECT\n"), "{text}");
    for gate in &report.gates {
        assert!(text.contains(&format!("gate {}: ", gate.gate)), "{text}");
        assert!(page.replace("<wbr>", "").contains(&format!("<th scope=\"row\">{}</th>", gate.gate)));
    }
    assert!(text.contains("150 come out otherwise") && page.contains("150 of 996 decisions"));
}
