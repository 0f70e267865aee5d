//! Ids that look like something else, or like each other.

use augur_proto::v1::EventOutcome;

use crate::served::{Served, cart, purchase};

#[tokio::test]
async fn ids_are_bytes_and_nothing_else() {
    let served = Served::start().await;
    let longest = "x".repeat(256);
    let ids = [
        "a\0b",
        "a",
        "\u{1f6d2}\u{1f468}\u{200d}\u{1f469}",
        "\u{202e}ada",
        "Ada",
        "ada",
        // The same to the eye: composed and decomposed, Latin and Cyrillic.
        "\u{e9}",
        "e\u{301}",
        "p",
        "\u{440}",
        "../../../etc/passwd",
        "'; DROP TABLE users; --",
        "{{7*7}}${7*7}<%= 7 %>",
        "user/K1",
        "user\u{1}events",
        " ada",
        "ada ",
        &longest,
    ];
    for (number, id) in ids.iter().enumerate() {
        let outcomes = served.ingest(vec![purchase(&format!("m{number}"), id, 1.0)]).await;
        assert_eq!(outcomes, [EventOutcome::Accepted], "{id:?}");
    }
    for id in ids {
        assert_eq!(served.feature(id, "purchase_count_30d").await.1, Some(1.0), "{id:?} is one person");
        served.decide(cart(id, 60.0)).await;
    }
    served.stop().await;
}
