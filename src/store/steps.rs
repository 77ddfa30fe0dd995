//! The migration steps of the state's schema. Each start carries out those that are new.

use std::{borrow::Cow, sync::LazyLock};

use include_dir::{Dir, include_dir};
use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

static SQLITE_FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/store/sqlite/migrations");
static POSTGRES_FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/store/postgres/migrations");

pub(super) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| steps(&SQLITE_FILES));
pub(super) static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| steps(&POSTGRES_FILES));

/// Read the steps of a folder: `0012_child.sql` is step 12. The checksum of each step is that of its text, which
/// must not change.
fn steps(folder: &'static Dir<'static>) -> Migrator {
    let steps = folder.files().filter_map(|file| {
        let (number, name) = file.path().file_stem()?.to_str()?.split_once('_')?;
        let sql = file.contents_utf8()?.into_sql_str();
        Some(Migration::new(number.parse().ok()?, name.replace('_', " ").into(), MigrationType::Simple, sql, false))
    });
    let mut migrations: Vec<Migration> = steps.collect();
    migrations.sort();
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }
}

/// Return how many steps this program's schema has, and the number of the last.
pub(super) fn schema_steps() -> (i64, i64) {
    SQLITE.iter().fold((0, 0), |(count, last), migration| (count + 1, migration.version.max(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_step_of_both_databases() {
        let numbers = |steps: &Migrator| steps.iter().map(|step| step.version).collect::<Vec<_>>();
        assert_eq!(numbers(&SQLITE), numbers(&POSTGRES));
        assert_eq!(SQLITE.iter().count(), SQLITE_FILES.files().count());
        assert_eq!(POSTGRES.iter().count(), POSTGRES_FILES.files().count());
    }

    /// A state that an earlier version made holds the checksums of the steps that it has gone through.
    #[test]
    fn the_checksums_of_steps_never_change() {
        let all = |steps: &Migrator| {
            // Later steps are added here once they have been shipped.
            let shipped = steps.iter().filter(|step| step.version <= 20);
            let all = shipped.map(|step| step.checksum.to_vec()).collect::<Vec<_>>().concat();
            blake3::hash(&all).to_hex()[..16].to_owned()
        };
        assert_eq!((all(&SQLITE).as_str(), all(&POSTGRES).as_str()), ("d6c62d7a45fe36d2", "756a180b96c088c3"));
    }
}
