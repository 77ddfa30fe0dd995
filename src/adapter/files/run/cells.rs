//! Cells that a spreadsheet would take for a formula.

use std::borrow::Cow;

/// The cell, with an apostrophe before it if a spreadsheet would evaluate it instead of showing it.
#[must_use]
pub fn inert(cell: &str) -> Cow<'_, str> {
    let begins = ['=', '+', '-', '@', '\t', '\r', '\n', '\u{FF1D}', '\u{FF0B}', '\u{FF0D}', '\u{FF20}'];
    if cell.starts_with(begins) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_reckon_with_is_a_text() {
        for formula in ["=1+1", "+34600111222", "-5", "@SUM(A1)", "\t=1", "\r=1", "\u{FF1D}1"] {
            assert_eq!(inert(formula), format!("'{formula}"));
        }
        for plain in ["", "A=1", "12", " =1", "'=1"] {
            assert_eq!(inert(plain), plain);
        }
    }
}
