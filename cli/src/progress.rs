//! Progress on standard error, for people at a terminal only.
//!
//! Not here: results. A run in a pipe or in CI shows none of this and says the same in the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const REFRESHES_PER_SECOND: u8 = 8;

/// A step whose length is known.
pub(crate) fn bar(label: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), target());
    styled(&bar, "{prefix:<24} [{bar:30}] {human_pos}/{human_len} {per_sec} eta {eta} {msg}");
    bar.set_prefix(label.to_owned());
    bar
}

/// A step whose length is not known.
pub(crate) fn counter(label: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target());
    styled(&bar, "{prefix:<24} {spinner} {human_pos} {per_sec} {msg}");
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A few steps of unknown length.
pub(crate) fn steps(label: &str, count: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count), target());
    styled(&bar, "{prefix:<24} [{bar:30}] {elapsed} {msg}");
    bar.set_prefix(label.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// indicatif hides this target by itself when standard error is not a terminal.
fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::stderr_with_hz(REFRESHES_PER_SECOND)
}

fn styled(bar: &ProgressBar, template: &str) {
    // A template that did not parse would only change how the bar looks.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}
