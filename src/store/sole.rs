//! Keeps a SQLite state to one working process at a time: each start takes over the leases of the process before
//! it, which must have ended. On PostgreSQL, leases with fences ensure this, and several processes share the work.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
};

use super::{Result, StoreError};

/// The lock is held as long as this value lives. The operating system releases it when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct Sole {
    _lock: Option<File>,
}

impl Sole {
    /// Take the state at `url` for this process, by a lock on the file `STATE.lock` beside it.
    ///
    /// # Errors
    /// [`StoreError::Taken`] with the other process's id, if another process holds it; an error if the file cannot
    /// be written.
    pub fn take(url: &str) -> Result<Self> {
        let Some(path) = url.strip_prefix("sqlite://") else { return Ok(Self { _lock: None }) };
        let path = format!("{path}.lock");
        let wrong = |error: std::io::Error| super::open::cannot(url, error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).and_then(|()| file.rewind()).map_err(wrong)?;
                writeln!(file, "{}", std::process::id()).map_err(wrong)?;
                Ok(Self { _lock: Some(file) })
            }
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                // The other process may be about to write its id.
                file.read_to_string(&mut process).map_err(wrong)?;
                let process = process.trim().parse().ok();
                Err(StoreError::Taken { state: path.trim_end_matches(".lock").to_owned(), process })
            }
            Err(TryLockError::Error(error)) => Err(wrong(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_process_at_a_time_and_the_other_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/state.db", folder.path().display());
        let first = Sole::take(&url).unwrap();
        let error = Sole::take(&url).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        Sole::take(&url).unwrap();
    }

    #[test]
    fn daemons_on_postgresql_share_the_work() {
        let _first = Sole::take("postgres://vaiven@localhost/vaiven").unwrap();
        Sole::take("postgres://vaiven@localhost/vaiven").unwrap();
    }
}
