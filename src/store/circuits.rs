//! Circuits: table family `standing`. Which systems are paused, until when and why.
//!
//! Called by `sync::delivery` and `sync::engine`, which pause systems, by `sync::pull`, `sync::delivery` and
//! `sync::preview`, which send nothing to paused systems, and by `sync::context` and the commands, which end
//! pauses.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    Result,
    database::Database,
    sql::args,
    values::{micros, time},
};

/// State of a system between runs: circuit breaker and backoff.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Circuit {
    /// Send no request before this time.
    pub until: Option<DateTime<Utc>>,
    pub failures: u32,
    pub reason: Option<String>,
}

/// Table family `standing`: pauses of systems. Called by `sync::context`, `sync::pull`, `sync::delivery`,
/// `sync::engine` and `sync::preview` and the commands.
///
/// # Errors
///
/// Those of [`Store`](super::Store).
#[async_trait]
pub trait CircuitStore: Send + Sync {
    /// Return the circuit of a system. If none is stored, return that of a healthy system.
    async fn circuit(&self, system: &str) -> Result<Circuit>;

    /// Store the circuit of a system. Idempotent.
    async fn set_circuit(&self, system: &str, circuit: &Circuit) -> Result<()>;

    /// End a system's pause. Make its jobs due now that wait because of its failure, and queue those that died
    /// because it refused our login. Return how many jobs these are. One transaction; idempotent.
    async fn lift(&self, system: &str, now: DateTime<Utc>) -> Result<u64>;
}

#[async_trait]
impl CircuitStore for Database {
    async fn circuit(&self, system: &str) -> Result<Circuit> {
        const SQL: &str = "SELECT until, failures, reason FROM standing WHERE system = $1";
        let mut found = self.pool.read("read a standing", SQL, args![system]).await?;
        let Some(row) = found.first_mut() else { return Ok(Circuit::default()) };
        Ok(Circuit { until: row.int_or_null(0)?.map(time), failures: row.small(1)?, reason: row.text_or_null(2)? })
    }

    async fn set_circuit(&self, system: &str, circuit: &Circuit) -> Result<()> {
        const SQL: &str = "INSERT INTO standing (system, until, failures, reason) VALUES ($1, $2, $3, $4) \
            ON CONFLICT (system) DO UPDATE SET until = excluded.until, failures = excluded.failures, \
                reason = excluded.reason";
        let args = args![system, circuit.until.map(micros), i64::from(circuit.failures), circuit.reason.as_deref()];
        self.pool.execute("store a standing", SQL, args).await.map(drop)
    }

    async fn lift(&self, system: &str, now: DateTime<Utc>) -> Result<u64> {
        const JOBS: &str = "UPDATE job SET due = $2, updated_at = $2 \
            WHERE target = (SELECT id FROM name WHERE text = $1) AND state = 0 AND due > $2 \
                AND error_class IN ('auth', 'transient', 'throttled')";
        const REFUSED: &str = "UPDATE job SET state = 0, attempts = 0, due = $2, cause = NULL, error = NULL, \
                error_class = NULL, updated_at = $2 \
            WHERE target = (SELECT id FROM name WHERE text = $1) AND state = 3 AND error_class = 'auth'";
        let mut tx = self.pool.begin("end a pause").await?;
        tx.execute("end a pause", "DELETE FROM standing WHERE system = $1", args![system]).await?;
        let jobs = tx.execute("end a pause", JOBS, args![system, micros(now)]).await?
            + tx.execute("end a pause", REFUSED, args![system, micros(now)]).await?;
        tx.commit("end a pause").await?;
        Ok(jobs)
    }
}
