//! The closing table of `demo --once`, and the one sentence below it.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::compare::Comparison;

/// The result of a script.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub comparison: Comparison,
    /// Number of the daemon's runs, over all starts.
    pub runs: usize,
    /// Descriptions of runs whose balance does not close.
    pub unbalanced: Vec<String>,
    /// Descriptions of jobs that are left open, parked or dead.
    pub left: Vec<String>,
    /// Number of rows that the daemon could not read.
    pub rejected: u64,
    pub seconds: i64,
    /// Whether both sides are equal, nothing is left over and every balance closes.
    pub fine: bool,
}

impl Report {
    /// Decide from the other fields whether all is fine.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        self.fine =
            self.comparison.is_equal() && self.unbalanced.is_empty() && self.left.is_empty() && self.rejected == 0;
        self
    }

    /// The table, the first differences and the sentence.
    #[must_use]
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([
            "entity",
            "erp",
            "shop",
            "equal",
            "different",
            "missing",
        ]);
        for line in &self.comparison.lines {
            let counts = [line.erp, line.shop, line.equal, line.different, line.missing];
            table.add_row(std::iter::once(line.entity.clone()).chain(counts.iter().map(ToString::to_string)));
        }
        for column in 1..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        let mut text = format!("{table}\n");
        for line in self.comparison.lines.iter().filter(|line| !line.examples.is_empty()) {
            for example in &line.examples {
                text.push_str(&format!("{}: {example}\n", line.entity));
            }
        }
        for problem in self.comparison.duplicates.iter().chain(&self.unbalanced).chain(&self.left) {
            text.push_str(problem);
            text.push('\n');
        }
        if self.rejected > 0 {
            text.push_str(&format!("{} rows could not be read (`vaiven status`)\n", self.rejected));
        }
        text.push('\n');
        text.push_str(&self.sentence());
        text
    }

    fn sentence(&self) -> String {
        let facts: usize = self.comparison.lines.iter().map(|line| line.equal).sum();
        if self.fine {
            return format!(
                "Both sides are equal: {facts} values compared, no duplicate orders, every row accounted for in {} runs, \
                 {} s.",
                self.runs, self.seconds
            );
        }
        let unequal: usize = self.comparison.lines.iter().map(|line| line.different + line.missing).sum();
        format!(
            "Both sides are NOT equal: {unequal} differences, {} duplicates, {} kinds of open jobs, {} runs whose \
             balance does not close.",
            self.comparison.duplicates.len(),
            self.left.len(),
            self.unbalanced.len()
        )
    }
}
