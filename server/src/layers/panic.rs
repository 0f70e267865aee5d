//! A defect fails the call that met it, with INTERNAL, and nothing else.
//!
//! Not here: what is counted (the parent).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// The outcome of one poll, or `None` if it panicked; what was polled must not be polled again then.
pub(super) fn guarded<T>(poll: impl FnOnce() -> Poll<T>) -> Poll<Option<T>> {
    // What the poll leaves half done goes with the call: nothing of it is looked at again.
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(Poll::Ready(outcome)) => Poll::Ready(Some(outcome)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_outcome() {
        assert_eq!(guarded(|| Poll::Ready(7)), Poll::Ready(Some(7)));
        assert_eq!(guarded(|| Poll::<u8>::Pending), Poll::Pending);
        assert_eq!(guarded(|| -> Poll<u8> { panic!("a defect, in a test") }), Poll::Ready(None));
    }
}
