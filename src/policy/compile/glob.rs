//! Reasoning about patterns instead of names: one thing an operator writes applies to another, or only to a part of it.

use crate::identity::glob;

/// Whether `wide` matches everything that `narrow` matches. A star of `narrow` can only be swallowed by a star of `wide`.
pub fn covers(wide: &str, narrow: &str) -> bool {
    glob(wide.as_bytes(), narrow.as_bytes())
}

/// Whether some text matches both.
pub fn meet(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // `open[j]`: what has been read of `a` and the first `j` bytes of `b` have a text in common.
    let mut open: Vec<bool> = (0..=b.len()).map(|j| only_stars(b.get(..j))).collect();
    for byte in a {
        let mut next = Vec::with_capacity(open.len());
        next.push(*byte == b'*' && open.first() == Some(&true));
        for (j, other) in b.iter().enumerate() {
            let [above, left, diagonal] = [open.get(j + 1), next.get(j), open.get(j)].map(|cell| cell == Some(&true));
            next.push(if *byte == b'*' || *other == b'*' { above || left } else { diagonal && byte == other });
        }
        open = next;
    }
    open.last() == Some(&true)
}

fn only_stars(text: Option<&[u8]>) -> bool {
    text.is_some_and(|text| text.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_cover_and_meet_as_a_reader_expects() {
        let cases = [
            ("*", "a", true, true),
            ("super*", "superduper-*", true, true),
            ("superduper-*", "super*", false, true),
            ("*-router", "superduper-*", false, true),
            ("a*", "b*", false, false),
            ("a*c", "*b", false, false),
            ("a*c", "ab*", false, true),
            ("a", "a", true, true),
            ("mining-proxy:*", "mining-proxy:*", true, true),
            ("a*b", "a:*", false, true),
        ];
        for (a, b, covered, met) in cases {
            assert_eq!((covers(a, b), meet(a, b), meet(b, a)), (covered, met, met), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn a_common_text_means_they_meet(a in "[ab*]{0,5}", b in "[ab*]{0,5}", text in "[ab]{0,6}") {
            let matches = |pattern: &str| glob(pattern.as_bytes(), text.as_bytes());
            prop_assert!(!(matches(&a) && matches(&b)) || meet(&a, &b));
            prop_assert!(!(covers(&a, &b) && matches(&b)) || matches(&a));
        }

        #[test]
        fn patterns_that_meet_have_a_common_text(a in "[ab*]{0,4}", b in "[ab*]{0,4}") {
            // Any meeting of patterns this short shows in a text no longer than both together.
            let texts = (0..=8_u32).flat_map(|length| (0..1_u32 << length).map(move |bits| (0..length).map(|i| if bits >> i & 1 == 0 { 'a' } else { 'b' }).collect::<String>()));
            let found = texts.into_iter().any(|text| glob(a.as_bytes(), text.as_bytes()) && glob(b.as_bytes(), text.as_bytes()));
            prop_assert_eq!(meet(&a, &b), found);
        }
    }
}
