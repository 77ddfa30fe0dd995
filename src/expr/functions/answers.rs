//! Ids at the target: only a push can look them up.

use std::{cell::RefCell, sync::Arc};

use rhai::{Dynamic, Engine};

use super::{Res, fail};
use crate::ids::RecordId;

/// What a push knows of its target.
pub trait Answers {
    /// The target's id of a record.
    fn id_of(&self, entity: &str, record: RecordId) -> Option<String>;
    /// The target's id of a part, by list (`product.variants`) and part key.
    fn part_id(&self, list: &str, key: &str) -> Option<String>;
}

thread_local! {
    static ANSWERS: RefCell<Option<Arc<dyn Answers>>> = const { RefCell::new(None) };
}

/// Run `work` with `id_of` and `part_id` answered from `answers`. An evaluation never leaves the thread on which it
/// began.
pub fn with_answers<R>(answers: Arc<dyn Answers>, work: impl FnOnce() -> R) -> R {
    struct Reset(Option<Arc<dyn Answers>>);
    impl Drop for Reset {
        fn drop(&mut self) {
            ANSWERS.set(self.0.take());
        }
    }
    let _reset = Reset(ANSWERS.replace(Some(answers)));
    work()
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("id_of", |entity: &str, record: i64| {
        ask("id_of", |answers| answers.id_of(entity, RecordId(record)))
    });
    engine.register_fn("id_of", |_: &str, (): ()| Dynamic::UNIT);
    engine.register_fn("part_id", |list: &str, key: &str| ask("part_id", |answers| answers.part_id(list, key)));
    engine.register_fn("part_id", |_: &str, (): ()| Dynamic::UNIT);
}

fn ask(function: &str, question: impl FnOnce(&dyn Answers) -> Option<String>) -> Res<Dynamic> {
    ANSWERS.with_borrow(|answers| match answers {
        Some(answers) => Ok(question(answers.as_ref()).map_or(Dynamic::UNIT, Dynamic::from)),
        None => fail(format!("{function}() answers only in `push`")),
    })
}
