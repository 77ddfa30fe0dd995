//! Detects a listing without end: one that shows a page again, or grows as fast as it is read. Such a listing
//! becomes an error soon, not only when the memory is used up or an hour has passed.

use serde::{Deserialize, Serialize};

/// How many rows beyond twice the number first announced may be read, because sources change while they are read.
const MORE_ROWS: u64 = 1000;
const MORE_PAGES: u64 = 10;

/// What is remembered of the pages that were read. It does not grow with their number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Rows and pages that were announced at first.
    rows: Option<u64>,
    pages: Option<u64>,
    /// Fingerprint of an earlier page. It is replaced after twice as many pages each time, so a circle of any
    /// length reaches it.
    anchor: Option<String>,
    behind: u64,
    span: u64,
}

impl Course {
    /// Record a page's fingerprint.
    ///
    /// # Errors
    /// If an earlier page was the same.
    pub fn page(&mut self, fingerprint: &str) -> Result<(), String> {
        if self.anchor.as_deref() == Some(fingerprint) {
            let back = self.behind + 1;
            return Err(format!(
                "this page shows the same rows as the one {back} before it: the listing goes in a circle"
            ));
        }
        self.behind += 1;
        if self.anchor.is_none() || self.behind >= self.span {
            self.anchor = Some(fingerprint.to_owned());
            self.span = (self.span * 2).max(1);
            self.behind = 0;
        }
        Ok(())
    }

    /// Record the rows and pages that have been read, each with the total that is announced.
    ///
    /// # Errors
    /// If far more was read than was announced at first.
    pub fn read(&mut self, rows: (u64, Option<u64>), pages: (u64, Option<u64>)) -> Result<(), String> {
        let far = |(read, announced): (u64, Option<u64>), first: &mut Option<u64>, more: u64, what: &str| {
            *first = first.or(announced);
            match *first {
                Some(first) if read > first.saturating_mul(2).saturating_add(more) => Err(format!(
                    "{read} {what} were read where {first} had been announced at first: the listing grows as it is read"
                )),
                _ => Ok(()),
            }
        };
        far(rows, &mut self.rows, MORE_ROWS, "rows")?;
        far(pages, &mut self.pages, MORE_PAGES, "pages")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of pages until a listing is detected that repeats itself after `length` pages, with `before` other
    /// pages first.
    fn found_after(before: u64, length: u64) -> Option<u64> {
        let mut course = Course::default();
        (0..1000).find(|page| {
            let shown = if *page < before { *page } else { before + (page - before) % length };
            course.page(&shown.to_string()).is_err()
        })
    }

    #[test]
    fn a_circle_of_pages_is_found_whatever_its_length() {
        assert_eq!(found_after(0, 1), Some(1));
        assert_eq!(found_after(0, 2), Some(3));
        for (before, length) in [(5, 1), (3, 7), (40, 100)] {
            assert!(found_after(before, length).unwrap() < 3 * (before + length) + 3, "{before} {length}");
        }
        assert_eq!(found_after(1000, 1), None, "pages that all differ are no circle");
    }

    #[test]
    fn a_listing_may_grow_while_it_is_read_but_not_for_ever() {
        let mut honest = Course::default();
        for page in 1..=20 {
            honest.read((page * 100, Some(1900 + page * 5)), (page, None)).unwrap();
        }
        let mut endless = Course::default();
        let ended = (1..=1000).find(|page| endless.read((page * 100, Some(page * 100 + 100)), (*page, None)).is_err());
        assert_eq!(ended, Some(15), "200 rows were announced at first, so that 1400 are the most");
        let mut pages = Course::default();
        assert!((1..=1000).any(|page| pages.read((0, None), (page, Some(page + 1))).is_err()));
    }
}
