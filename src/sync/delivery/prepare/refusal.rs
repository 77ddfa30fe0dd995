//! Refused updates that something else at the target may explain, such as a sale price there that is above the new
//! price. Only then is the target looked at, and once more before a job that waits for it is retried.

use crate::{
    failure::{Class, Failure},
    port::Op,
    store::Result,
    sync::{
        desired::{
            Batch, Task,
            qualify::{self, Alike},
        },
        pull,
    },
};

/// Return why the target cannot hold a refused update, as a look at the object shows; `None` if the look does not
/// explain it.
pub(in crate::sync) async fn explained(batch: &Batch<'_>, task: &Task, failure: &Failure) -> Result<Option<Failure>> {
    let (target, entity) = (batch.target, batch.entity);
    let mapping =
        batch.context.mapping(target, entity).filter(|mapping| batch.capabilities.read && mapping.depends_on_target());
    let (Some(mapping), Some(here), Class::Rejected, Op::Update) =
        (mapping, &task.replica, failure.class, task.write.op)
    else {
        return Ok(None);
    };
    if pull::look(batch.context, target, entity, std::slice::from_ref(&here.id)).await?.is_err() {
        return Ok(None);
    }
    let replicas = batch.context.store.replicas_of(&[task.job.record]).await?;
    let here = replicas.iter().find(|replica| replica.system == target && replica.gone_at.is_none());
    let mut alike = Alike::of(batch.context, target, entity).await?;
    Ok(qualify::qualify(batch, mapping.as_ref(), &replicas, here, &mut alike).err())
}
