//! Refresh tokens, each under the lease by which it is renewed.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Lease, Result, database::Database, sql::args, values::micros};

/// Beginning of the names of leases on logins, and of what is kept of these.
pub(super) const LEASE: &str = "login:";

/// Entries of logins that the configuration no longer names are deleted after this time; no refresh token lives longer unused.
const SEASON: TimeDelta = TimeDelta::days(400);

impl Database {
    pub(super) async fn kept_login(&self, name: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT value FROM login WHERE name = $1";
        let mut found = self.pool.read("read what is kept of a login", SQL, args![name]).await?;
        found.first_mut().map(|row| row.text(0)).transpose()
    }

    pub(super) async fn keep_login(
        &self,
        lease: &Lease,
        system: &str,
        value: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        const KEEP: &str = "INSERT INTO login (name, system, value, fence, at) VALUES ($1, $2, $3, $4, $5) \
            ON CONFLICT (name) DO UPDATE SET system = excluded.system, value = excluded.value, fence = excluded.fence, \
            at = excluded.at WHERE login.fence <= excluded.fence";
        const FORGET: &str = "DELETE FROM login WHERE system = $1 AND at < $2";
        let doing = "keep something of a login";
        let mut tx = self.pool.begin(doing).await?;
        let kept = tx.execute(doing, KEEP, args![lease.name.as_str(), system, value, lease.fence, micros(now)]).await?;
        tx.execute(doing, FORGET, args![system, micros(now - SEASON)]).await?;
        tx.commit(doing).await?;
        Ok(kept > 0)
    }
}
