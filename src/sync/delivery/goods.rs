//! Goods that writes of orders move at their target.

use serde_json::Value;

use crate::{
    port::Op,
    sync::{
        desired::{Batch, Task},
        stock::{
            evidence::ORDER,
            goods,
            reservations::{self, Quantities},
        },
    },
};

/// Return the goods that writes of orders move at their target.
pub(in crate::sync) fn moved_by(batch: &Batch<'_>, tasks: &[Task]) -> Quantities {
    let mut all = Quantities::new();
    let updates = tasks.iter().filter(|task| batch.entity == ORDER && task.write.op == Op::Update);
    for (task, before) in updates.filter_map(|task| Some((task, task.replica.as_ref()?))) {
        let mut after = before.fields.clone();
        for field in &task.changed {
            after.insert(field.clone(), task.desired.get(field).cloned().unwrap_or(Value::Null));
        }
        reservations::add(&mut all, &goods::moved(batch.context, &before.fields, &after));
    }
    all
}
