//! One entity of an adapter, compiled: what is read and written, and what that makes possible.

use indexmap::IndexMap;

use super::{
    listing::{Listing, listing},
    writing::{Name, Writer, compile_delete},
};
use crate::{
    adapter::{
        compile::Compiler,
        manifest::files::{EntitySpec, WriteSpec},
    },
    expr::Expr,
    load::LoadError,
    port::{Capabilities, Find},
};

/// One kind of object.
#[derive(Debug)]
pub struct Entity {
    pub id: Expr,
    pub version: Option<Expr>,
    pub keep: Option<Expr>,
    pub list: Option<Listing>,
    pub create: Option<Writer>,
    pub update: Option<Writer>,
    pub delete: Option<Name>,
    pub capabilities: Capabilities,
}

/// Compile all entities of an adapter.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn entities(
    compiler: &Compiler,
    specs: &IndexMap<String, EntitySpec>,
) -> Result<IndexMap<String, Entity>, LoadError> {
    let compiled = specs.iter().map(|(name, spec)| entity(compiler, spec).map(|entity| (name.clone(), entity)));
    LoadError::collect(compiled).map(|entities| entities.into_iter().collect())
}

fn entity(compiler: &Compiler, spec: &EntitySpec) -> Result<Entity, LoadError> {
    let on_row = |formula| compiler.formula_if(formula, &compiler.row());
    let writer = |spec: Option<&WriteSpec>| spec.map(|spec| Writer::compile(compiler, spec)).transpose();
    let capabilities = Capabilities {
        list: spec.list.is_some(),
        incremental: spec.list.is_some(),
        complete: spec.list.as_ref().is_some_and(|list| list.complete),
        handed: true,
        read: false,
        find: if spec.create.is_some() { Find::ByKey } else { Find::None },
        create: spec.create.is_some(),
        update: spec.update.is_some(),
        delete: spec.delete.is_some(),
        batch: 1,
        replaces: spec.replaces || spec.update.is_some(),
        steps: false,
        facet_of: spec.facet_of.clone(),
        whole: None,
    };
    Ok(Entity {
        id: compiler.formula(&spec.id, &compiler.row())?,
        version: on_row(spec.version.as_ref())?,
        keep: on_row(spec.keep.as_ref())?,
        list: spec.list.as_ref().map(|list| listing(compiler, list)).transpose()?,
        create: writer(spec.create.as_ref())?,
        update: writer(spec.update.as_ref())?,
        delete: spec.delete.as_ref().map(|spec| compile_delete(compiler, spec)).transpose()?,
        capabilities,
    })
}
