//! `demo --once --apart`: the script beside daemons of other processes, then waiting until they have made both sides equal.
//! Nothing here delivers, and nothing asks for a full pass: what they lose stays lost, and shows.

use std::time::Duration;

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::{
    once::{conclude, evaluate, script},
    stage::Stage,
    teller::Teller,
};
use crate::opened::Ending;

/// Between two steps, so that daemons meet them one by one.
const REST: Duration = Duration::from_millis(250);
/// Between two looks at both sides; each comes with a stock export: an order counts as in flight until the second one after it
/// has arrived.
const LOOK_AGAIN: Duration = Duration::from_secs(4);
/// How long the daemons may take for the rest: a retry within 3 minutes is waited for.
const LOOKS: u32 = 60;

/// Lives so many steps, waits for the daemons, and compares.
///
/// # Errors
/// When a system of the demo fails, or nobody brings what a step needs.
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
            // The database may be the one that is away at the moment.
            Err(error) => {
                teller.say(&format!("The two sides could not be compared: {error:#}"));
                fine = false;
                continue;
            }
        };
        // Once is not enough: what is equal by chance has still something under way.
        if look == LOOKS || report.fine && fine {
            return conclude(&report, teller);
        }
        fine = report.fine;
    }
    bail!("the daemons were not waited for")
}
