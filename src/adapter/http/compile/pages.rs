//! How a listing goes on from page to page, as the file declares it.

use super::texts::{ANSWER, Compiler};
use crate::{
    adapter::{
        compile::MAX_PAGES,
        manifest::http::{By, PagesSpec},
    },
    expr::{Expr, Template},
    load::{LoadError, Place},
};

/// Compiled table `pages`. Without it, everything comes in one answer.
#[derive(Clone, Debug)]
pub struct Pager {
    pub by: By,
    pub size: Option<u64>,
    pub first: u64,
    pub total: Option<Template>,
    pub pages: Option<Template>,
    pub key: Option<Expr>,
    pub next: Option<Expr>,
    pub max_pages: u64,
}

impl Pager {
    /// `split` means that listed rows are not the entity's rows, so the last row has no id of its own.
    ///
    /// # Errors
    /// If keys contradict one another, or an expression is wrong.
    pub fn compile(spec: &PagesSpec, compiler: &Compiler, split: bool, at: &Place) -> Result<Self, LoadError> {
        let answer = compiler.known(&ANSWER);
        let link = matches!(spec.by, By::Link | By::Cursor);
        if spec.key.is_some() && spec.by != By::Keyset {
            return Err(LoadError::new(at, "`key` belongs to pages by \"keyset\""));
        }
        if spec.next.is_some() && !link {
            return Err(LoadError::new(at, "`next` belongs to pages by \"link\" or \"cursor\""));
        }
        if spec.next.is_none() && spec.by == By::Cursor {
            return Err(LoadError::new(at, "pages by \"cursor\" need `next`: where the answer holds it"));
        }
        if spec.key.is_none() && spec.by == By::Keyset && split {
            return Err(LoadError::new(
                at,
                "pages by \"keyset\" of split rows need `key`, an expression on the listed row",
            ));
        }
        Ok(Self {
            by: spec.by,
            size: spec.size.map(|size| u64::from(size.get())),
            first: u64::from(spec.first.unwrap_or(1)),
            total: compiler.value_if(spec.total.as_ref(), &answer)?,
            pages: compiler.value_if(spec.pages.as_ref(), &answer)?,
            key: compiler.on_row(spec.key.as_ref())?,
            next: compiler.formula_if(spec.next.as_ref(), &answer)?,
            max_pages: spec.max_pages.unwrap_or(MAX_PAGES),
        })
    }
}
