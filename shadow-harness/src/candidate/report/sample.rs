//! An even sample of a stream whose length is not known: every so many-th item, in order, never more than a bound.
//!
//! Not here: random samples. The same log gives the same sample.

/// Keeps every `stride`-th item; when it is full, every other one of those goes and the stride doubles.
#[derive(Debug)]
pub(super) struct EvenSample<Item> {
    kept: Vec<Item>,
    most: usize,
    stride: u64,
    seen: u64,
}

impl<Item> EvenSample<Item> {
    /// A sample of at most `most` items, at least 2.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most: most.max(2), stride: 1, seen: 0 }
    }

    /// Takes the next item, or not; it is made only then.
    pub(super) fn offer(&mut self, item: impl FnOnce() -> Item) {
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == self.most {
                let mut place = 0_usize;
                self.kept.retain(|_| {
                    place += 1;
                    !place.is_multiple_of(2)
                });
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.kept.push(item());
            }
        }
        self.seen += 1;
    }

    pub(super) fn into_kept(self) -> Vec<Item> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_evenly_apart_and_bounded() {
        for (offered, most) in [(3_u64, 8_usize), (8, 8), (9, 8), (1_000, 8), (1_000, 7), (100_000, 64)] {
            let mut sample = EvenSample::new(most);
            (0..offered).for_each(|item| sample.offer(|| item));
            assert_eq!(sample.seen, offered);
            let stride = sample.stride;
            let kept = sample.into_kept();
            assert!(kept.len() <= most && kept.len() * 2 + 1 >= most.min(offered as usize), "{}", kept.len());
            assert!(kept.iter().enumerate().all(|(place, item)| *item == place as u64 * stride), "{kept:?}");
        }
    }
}
