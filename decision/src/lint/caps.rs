//! Caps that never refuse anything because another one does so first.
//!
//! A cap of `n` per `w` is never the one to refuse beside another of `m` per `v` that counts at least the same, if even
//! the other one allows no more than `n` within any `w`: at most `m` for each of the `w / v`, rounded up, windows that `w`
//! can be split into. A calendar window bounds no other window than its own. Not here: how caps count (`cap`).

use super::{FindingCode, Lint};
use crate::cap::{Cap, Scope, Window};
use crate::file::Located;

pub(super) fn check(lint: &mut Lint<'_>) {
    let mut found = Vec::new();
    for action in &lint.file.actions {
        let name = &action.name.value;
        for (index, cap) in action.caps.iter().enumerate() {
            let loose = &cap.value.words;
            let others = action.caps.iter().enumerate().filter(|(other, _)| *other != index);
            let mut others = others.filter(|(other, tighter)| {
                // Of two that are the same, the second is one too many.
                let is_twin = tighter.value == cap.value && *other > index;
                !is_twin && always_first(&tighter.value, &cap.value)
            });
            if let Some((_, tighter)) = others.next() {
                let tight = &tighter.value.words;
                let message =
                    format!("the cap `{loose}` of `{name}` never refuses: `{tight}` always does so first");
                found.push((cap.offset, message));
            } else if sum_is_tighter(lint, action.channel.as_ref(), &cap.value) {
                let message = format!(
                    "the cap `{loose}` of `{name}` never refuses: the caps of its channel's actions together allow no more"
                );
                found.push((cap.offset, message));
            }
        }
    }
    for (offset, message) in found {
        lint.add(FindingCode::CapNeverBinds, offset, message, "take it out, or make it tighter");
    }
}

/// Whether `tighter` refuses whenever `cap`, of the same action, would.
fn always_first(tighter: &Cap, cap: &Cap) -> bool {
    let counts_as_much = tighter.scope == cap.scope || cap.scope == Scope::Action;
    counts_as_much && greatest_within(tighter, cap.window).is_some_and(|most| most <= u64::from(cap.limit))
}

/// Most exposures that `cap` lets through within any such `window`; `None` if that is not known.
fn greatest_within(cap: &Cap, window: Window) -> Option<u64> {
    match (cap.window, window) {
        (Window::Rolling(length_ms), _) => {
            let (length_ms, window_ms) = (length_ms.max(1), window.longest_ms());
            let windows = window_ms.div_euclid(length_ms) + i64::from(window_ms.rem_euclid(length_ms) > 0);
            Some(u64::from(cap.limit).saturating_mul(windows.unsigned_abs()))
        }
        (own, window) => (own == window).then_some(u64::from(cap.limit)),
    }
}

/// Whether the caps of each action of the channel alone keep the channel within `cap`.
fn sum_is_tighter(lint: &Lint<'_>, channel: Option<&Located<String>>, cap: &Cap) -> bool {
    let Some(channel) = channel.filter(|_| cap.scope == Scope::Channel) else { return false };
    let in_channel = lint
        .file
        .actions
        .iter()
        .filter(|action| action.channel.as_ref().is_some_and(|own| own.value == channel.value));
    let mut sum: u64 = 0;
    for action in in_channel {
        let own = action.caps.iter().filter(|cap| cap.value.scope == Scope::Action);
        let Some(least) = own.filter_map(|own| greatest_within(&own.value, cap.window)).min() else {
            return false;
        };
        sum = sum.saturating_add(least);
    }
    sum <= u64::from(cap.limit)
}
