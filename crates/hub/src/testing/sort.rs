//! The order of scenario results: the sorting algorithm that the tests' authors got their
//! positions from. It is not stable beyond twelve elements, so which of two equal results comes
//! first depends on every step of it. It is a pattern-defeating quicksort.

/// Longest range that is sorted by insertion.
const SHORT: usize = 12;

/// Sorts as the reference does.
pub(super) fn sort<T>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let end = items.len();
    let limit = usize::BITS - end.leading_zeros();
    Sorter { items, less }.range(0, end, limit);
}

struct Sorter<'i, T, L> {
    items: &'i mut [T],
    less: L,
}

/// What the choice of a pivot tells of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hint {
    Unknown,
    Increasing,
    Decreasing,
}

impl<T, L: Fn(&T, &T) -> bool> Sorter<'_, T, L> {
    fn less(&self, a: usize, b: usize) -> bool {
        (self.less)(&self.items[a], &self.items[b])
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
    }

    fn range(&mut self, mut start: usize, mut end: usize, mut limit: u32) {
        let (mut balanced, mut partitioned) = (true, true);
        loop {
            let len = end - start;
            if len <= SHORT {
                return self.insertion(start, end);
            }
            if limit == 0 {
                return self.heap(start, end);
            }
            if !balanced {
                self.scatter(start, end);
                limit -= 1;
            }
            let (mut pivot, mut hint) = self.choose_pivot(start, end);
            if hint == Hint::Decreasing {
                self.items[start..end].reverse();
                pivot = (end - 1) - (pivot - start);
                hint = Hint::Increasing;
            }
            if balanced && partitioned && hint == Hint::Increasing && self.partial_insertion(start, end) {
                return;
            }
            if start > 0 && !self.less(start - 1, pivot) {
                start = self.partition_equal(start, end, pivot);
                continue;
            }
            let (middle, untouched) = self.partition(start, end, pivot);
            partitioned = untouched;
            let (left, right) = (middle - start, end - middle);
            let threshold = len / 8;
            if left < right {
                balanced = left >= threshold;
                self.range(start, middle, limit);
                start = middle + 1;
            } else {
                balanced = right >= threshold;
                self.range(middle + 1, end, limit);
                end = middle;
            }
        }
    }

    fn insertion(&mut self, start: usize, end: usize) {
        for i in start + 1..end {
            let mut j = i;
            while j > start && self.less(j, j - 1) {
                self.swap(j, j - 1);
                j -= 1;
            }
        }
    }

    fn heap(&mut self, start: usize, end: usize) {
        let len = end - start;
        for root in (0..=(len - 1) / 2).rev() {
            self.sift_down(root, len, start);
        }
        for last in (0..len).rev() {
            self.swap(start, start + last);
            self.sift_down(0, last, start);
        }
    }

    fn sift_down(&mut self, mut root: usize, end: usize, first: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= end {
                return;
            }
            if child + 1 < end && self.less(first + child, first + child + 1) {
                child += 1;
            }
            if !self.less(first + root, first + child) {
                return;
            }
            self.swap(first + root, first + child);
            root = child;
        }
    }

    /// Swaps three elements with pseudo-random ones, to break patterns that make bad pivots.
    fn scatter(&mut self, start: usize, end: usize) {
        let len = end - start;
        let modulus = 1_usize << (usize::BITS - len.leading_zeros());
        let middle = start + len / 4 * 2;
        let mut random = len as u64;
        for at in middle - 1..=middle + 1 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut other = (random % modulus as u64) as usize;
            if other >= len {
                other -= len;
            }
            self.swap(at, start + other);
        }
    }

    fn choose_pivot(&self, start: usize, end: usize) -> (usize, Hint) {
        /// Length from which each candidate is the median of three neighbours.
        const LONG: usize = 50;
        /// Swaps of a range that is in the opposite order: four medians of three.
        const ALL_SWAPS: usize = 12;
        let len = end - start;
        let quarter = len / 4;
        let [mut i, mut j, mut k] = [1, 2, 3].map(|n| start + n * quarter);
        let mut swaps = 0;
        if len >= LONG {
            i = self.median(i - 1, i, i + 1, &mut swaps);
            j = self.median(j - 1, j, j + 1, &mut swaps);
            k = self.median(k - 1, k, k + 1, &mut swaps);
        }
        j = self.median(i, j, k, &mut swaps);
        let hint = match swaps {
            0 => Hint::Increasing,
            ALL_SWAPS => Hint::Decreasing,
            _ => Hint::Unknown,
        };
        (j, hint)
    }

    fn median(&self, mut a: usize, mut b: usize, mut c: usize, swaps: &mut usize) -> usize {
        let mut exchange = |x: &mut usize, y: &mut usize| {
            if self.less(*y, *x) {
                std::mem::swap(x, y);
                *swaps += 1;
            }
        };
        exchange(&mut a, &mut b);
        exchange(&mut b, &mut c);
        exchange(&mut a, &mut b);
        b
    }

    /// Mends up to five pairs of a range that seems to be in order. Whether it is in order then.
    fn partial_insertion(&mut self, start: usize, end: usize) -> bool {
        const MAX_STEPS: usize = 5;
        /// Shorter ranges are not worth shifting.
        const MIN_SHIFTED: usize = 50;
        let mut i = start + 1;
        for _ in 0..MAX_STEPS {
            while i < end && !self.less(i, i - 1) {
                i += 1;
            }
            if i == end {
                return true;
            }
            if end - start < MIN_SHIFTED {
                return false;
            }
            self.swap(i, i - 1);
            if i - start >= 2 {
                // Down to the first position of the whole list, as the reference does it.
                for j in (1..i).rev() {
                    if !self.less(j, j - 1) {
                        break;
                    }
                    self.swap(j, j - 1);
                }
            }
            if end - i >= 2 {
                for j in i + 1..end {
                    if !self.less(j, j - 1) {
                        break;
                    }
                    self.swap(j, j - 1);
                }
            }
        }
        false
    }

    /// Puts the elements equal to the pivot first; gives the position behind them.
    fn partition_equal(&mut self, start: usize, end: usize, pivot: usize) -> usize {
        self.swap(start, pivot);
        let (mut i, mut j) = (start + 1, end - 1);
        loop {
            while i <= j && !self.less(start, i) {
                i += 1;
            }
            while i <= j && self.less(start, j) {
                j -= 1;
            }
            if i > j {
                return i;
            }
            self.swap(i, j);
            i += 1;
            j -= 1;
        }
    }

    /// Puts what is less than the pivot before it; gives its position, and whether nothing moved.
    fn partition(&mut self, start: usize, end: usize, pivot: usize) -> (usize, bool) {
        self.swap(start, pivot);
        let (mut i, mut j) = (start + 1, end - 1);
        let mut untouched = true;
        loop {
            while i <= j && self.less(i, start) {
                i += 1;
            }
            while i <= j && !self.less(j, start) {
                j -= 1;
            }
            if i > j {
                break;
            }
            untouched = false;
            self.swap(i, j);
            i += 1;
            j -= 1;
        }
        self.swap(j, start);
        (j, untouched)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The one list of the public hub on which the instability shows: 28 results, two pairs of
    /// equal keys, fed in the order of their emission.
    #[test]
    fn equal_keys_take_the_known_order() {
        let emitted = "B1.1.1.1 U1.1.1.1 B1.1.1.2 U1.1.1.2 B1.1.1.3 B1.1.1.4 B2.2.2.2 B2.2.2.3 B3.3.3.3 \
                       B3.3.3.4 B4.4.4.4 B4.4.4.5 B4.4.4.4' B4.4.4.5' B5.5.5.5 U5.5.5.5 B5.5.5.6 U5.5.5.6 \
                       B6.6.6.6 B6.6.6.7 B7.7.7.7 B7.7.7.8 B8.8.8.8 B8.8.8.9 B10.10.10.10 B10.10.10.12 \
                       B10.10.10.13 B10.10.10.11";
        let key = |text: &str| {
            let (kind, address) = text.trim_end_matches('\'').split_at(1);
            format!("LePresidente/authelia-bf{}{address}", if kind == "U" { "_user-enum" } else { "" })
        };
        let mut results: Vec<(String, &str)> = emitted.split(' ').map(|text| (key(text), text)).collect();
        assert_eq!(results.len(), 28);
        sort(&mut results, |a, b| a.0 > b.0);
        assert!(results.windows(2).all(|pair| pair[0].0 >= pair[1].0));
        let at = |range: std::ops::Range<usize>| results[range].iter().map(|r| r.1).collect::<Vec<_>>();
        assert_eq!(at(12..16), ["B4.4.4.5'", "B4.4.4.5", "B4.4.4.4'", "B4.4.4.4"]);
    }

    #[test]
    fn short_lists_keep_equal_elements_in_order() {
        let mut items: Vec<(u8, usize)> = [2, 1, 2, 3, 1, 2, 2, 1, 3, 3, 1, 2].into_iter().zip(0..).collect();
        let mut expected = items.clone();
        expected.sort_by_key(|item| std::cmp::Reverse(item.0));
        sort(&mut items, |a, b| a.0 > b.0);
        assert_eq!(items, expected);
    }

    #[test]
    fn patterns_that_break_quicksorts() {
        let patterns: [fn(usize) -> usize; 6] = [
            |_| 7,
            |i| i,
            |i| 1_000 - i,
            |i| i % 5,
            |i| if i < 500 { i } else { 1_000 - i },
            |i| i * 7_919 % 1_000,
        ];
        for pattern in patterns {
            for len in [0, 1, 13, 49, 50, 51, 1_000] {
                let mut items: Vec<usize> = (0..len).map(pattern).collect();
                let mut expected = items.clone();
                expected.sort_unstable();
                sort(&mut items, |a, b| a < b);
                assert_eq!(items, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn sorts(mut items in proptest::collection::vec(0_u16..300, 0..400)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            sort(&mut items, |a, b| a < b);
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn heap_sorts(mut items in proptest::collection::vec(0_u16..300, 1..100)) {
            let mut expected = items.clone();
            expected.sort_unstable();
            let end = items.len();
            Sorter { items: &mut items, less: |a: &u16, b: &u16| a < b }.heap(0, end);
            prop_assert_eq!(items, expected);
        }
    }
}
