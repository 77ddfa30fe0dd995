//! `demo` without an end: the script, then everyday events, step by step, until somebody stops it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{stage::Stage, teller::Teller};
use crate::opened::Ending;

/// Time to look at the effect of a step.
const PAUSE: Duration = Duration::from_secs(4);

/// Run until `shutdown`.
///
/// # Errors
/// If a system of the demo fails.
pub async fn run(mut stage: Stage, teller: &Teller, shutdown: &CancellationToken) -> anyhow::Result<Ending> {
    let Stage { env, world, engine, store, .. } = &mut stage;
    let day = shutdown.child_token();
    let life = async {
        loop {
            let step = world.next_step().await?;
            let happened = world.take(step).await?;
            teller.say(&format!("{} [{step}] {happened}", env.now().format("%H:%M:%S")));
            env.sleep(PAUSE).await;
        }
    };
    let life = async {
        let ended: anyhow::Result<()> = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = life => ended,
            never = teller.watch(store, env) => match never {},
        };
        day.cancel();
        ended
    };
    let (ended, ()) = tokio::join!(life, engine.run(&day));
    ended?;
    teller.say("Stopped; the next demo in this folder continues from here.");
    Ok(Ending::Fine)
}
