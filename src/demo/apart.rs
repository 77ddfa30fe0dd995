//! `demo --once --apart`: runs the script while daemons of other processes work, then waits until they have made
//! both sides equal. Nothing here delivers or asks for a full pass: what the daemons lose stays lost and shows.

use std::time::Duration;

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::{
    once::{conclude, evaluate, script},
    stage::Stage,
    teller::Teller,
};
use crate::opened::Ending;

/// Pause between two steps, so daemons meet them one by one.
const REST: Duration = Duration::from_millis(250);
/// Pause between two comparisons. Each comparison comes with a stock export, because an order counts as in flight
/// until the second export after it has arrived.
const LOOK_AGAIN: Duration = Duration::from_secs(4);
/// Maximum number of comparisons. Their time is enough for a retry within 3 minutes.
const LOOKS: u32 = 60;

/// Run the script up to the given number of steps, wait for the daemons, and compare.
///
/// # Errors
/// If a system of the demo fails, or nobody delivers what a step needs.
pub async fn run(
    mut stage: Stage,
    steps: u32,
    teller: &Teller,
    shutdown: &CancellationToken,
) -> anyhow::Result<Ending> {
    let begun = stage.env.now();
    let life = async {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = script(&mut stage.world, steps, REST, teller) => ended,
            never = teller.watch(&stage.store, &stage.env) => match never {},
        }
    };
    life.await?;
    teller.say("Waiting for the daemons to finish");
    let mut fine = false;
    for look in 1..=LOOKS {
        stage.world.export_stock(look).await?;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => bail!("stopped; the next demo in this folder continues from here"),
            () = stage.env.sleep(LOOK_AGAIN) => {}
        }
        let report = match evaluate(&mut stage, begun).await {
            Ok(report) => report,
            Err(error) if look == LOOKS => return Err(error),
            // The database may be the part that is down at the moment.
            Err(error) => {
                teller.say(&format!("The two sides could not be compared: {error:#}"));
                fine = false;
                continue;
            }
        };
        // Once is not enough: if the sides are equal by chance, something may still be under way.
        if look == LOOKS || report.fine && fine {
            return conclude(&report, teller);
        }
        fine = report.fine;
    }
    bail!("the daemons were not waited for")
}
