//! What an event is called: the naming rule, and the shipped table of other names for the canonical ones.
//!
//! Canonical names are those of GA4 where GA4 has one. The table is checked against the e-commerce, B2B SaaS and email
//! parts of Segment's spec, its older spellings included; `docs/events.md` shows it. Not here: names that an operator
//! declares (`feature-store`'s taxonomy), or names of page, screen and identify calls (`proto`).

use std::borrow::Cow;

/// Other names in the form of [`folded`], ascending, each with the canonical name.
pub const ALIASES: [(&str, &str); 33] = [
    ("added_product", "add_to_cart"),
    ("cart_shared", "share"),
    ("cart_viewed", "view_cart"),
    ("checkout_started", "begin_checkout"),
    ("clicked_promotion", "select_promotion"),
    ("completed_order", "purchase"),
    ("coupon_applied", "select_promotion"),
    ("email_link_clicked", "email_clicked"),
    ("email_marked_as_spam", "email_spam_reported"),
    ("order_cancelled", "cancel_order"),
    ("order_completed", "purchase"),
    ("order_refunded", "refund"),
    ("payment_info_entered", "add_payment_info"),
    ("product_added", "add_to_cart"),
    ("product_added_to_wishlist", "add_to_wishlist"),
    ("product_clicked", "select_item"),
    ("product_list_viewed", "view_item_list"),
    ("product_removed", "remove_from_cart"),
    ("product_removed_from_wishlist", "remove_from_wishlist"),
    ("product_shared", "share"),
    ("product_viewed", "view_item"),
    ("products_searched", "search"),
    ("promotion_clicked", "select_promotion"),
    ("promotion_viewed", "view_promotion"),
    ("removed_product", "remove_from_cart"),
    ("signed_in", "login"),
    ("signed_out", "logout"),
    ("signed_up", "sign_up"),
    ("unsubscribed", "email_unsubscribed"),
    ("viewed_product", "view_item"),
    ("viewed_product_category", "view_item_list"),
    ("viewed_promotion", "view_promotion"),
    ("wishlist_product_added_to_cart", "add_to_cart"),
];

/// Lower case, with `_` for spaces and dashes; `None` when other characters than letters and digits of ASCII, `_`, `.`
/// and `:` are left.
pub fn folded(given: &str) -> Option<Cow<'_, str>> {
    let kept = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | ':');
    if given.chars().all(kept) {
        return Some(given.into());
    }
    let fold = |c: char| if matches!(c, ' ' | '-') { '_' } else { c.to_ascii_lowercase() };
    let name: String = given.chars().map(fold).collect();
    name.chars().all(kept).then_some(name.into())
}

/// The canonical name of a `track` event: folded, then looked up in [`ALIASES`]; `None` when it breaks the naming rule.
pub fn canonical(given: &str) -> Option<Cow<'_, str>> {
    let name = folded(given)?;
    match ALIASES.binary_search_by(|(alias, _)| (*alias).cmp(&*name)) {
        Ok(index) => ALIASES.get(index).map(|(_, canonical)| Cow::Borrowed(*canonical)),
        Err(_) => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered_folded_and_leads_to_canonical_names() {
        assert!(ALIASES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (alias, name) in ALIASES {
            assert_eq!(folded(alias).unwrap(), alias);
            assert_eq!(canonical(name).unwrap(), name, "canonical names lead nowhere else");
        }
    }

    #[test]
    fn the_documented_table_is_the_shipped_one() {
        let rows = include_str!("../../docs/events.md").lines().filter_map(|line| line.strip_prefix("| `"));
        let mut documented: Vec<(String, &str)> = rows
            .filter_map(|row| row.split_once("` | "))
            .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?)))
            .filter(|(_, (_, part))| ["e-commerce |", "B2B SaaS |", "email |"].contains(part))
            .flat_map(|(name, (aliases, _))| aliases.split(", ").map(move |alias| (alias, name)))
            .map(|(alias, name)| (folded(alias).unwrap().into_owned(), name))
            .collect();
        documented.sort_unstable();
        let shipped: Vec<_> = ALIASES.map(|(alias, name)| (alias.to_owned(), name)).to_vec();
        assert_eq!(documented, shipped);
    }

    #[test]
    fn spelling_does_not_matter() {
        for given in ["Product Added", "product_added", "PRODUCT-ADDED", "Added Product", "add_to_cart"] {
            assert_eq!(canonical(given).unwrap(), "add_to_cart", "{given}");
        }
        assert_eq!(canonical("Song Played").unwrap(), "song_played");
        assert_eq!(canonical("bad\u{1b}[31m"), None);
        assert_eq!(canonical("größe"), None);
    }
}
