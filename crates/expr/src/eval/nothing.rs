//! A host for expressions that name nothing.

use std::sync::Arc;

use crate::{
    error::EvalError,
    host::{Handle, Host, NoServices, Services, Slot},
    value::Value,
};

/// Holds no data and runs in the empty world.
pub(crate) struct Nothing;

fn nothing<T>() -> Result<T, EvalError> {
    Err(EvalError::Input("there is no data to evaluate on"))
}

impl Host for Nothing {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, _: u16) -> Result<Value, EvalError> {
        nothing()
    }

    fn field(&self, _: Handle, _: &str) -> Result<Value, EvalError> {
        nothing()
    }

    fn entry(&self, _: Handle, _: &str) -> Result<Option<Value>, EvalError> {
        nothing()
    }

    fn entries(&self, _: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        nothing()
    }

    fn method(&mut self, _: Handle, _: &str, _: &[Value]) -> Result<Value, EvalError> {
        nothing()
    }

    fn store(&mut self, _: Handle, _: &str, _: Value) -> Result<(), EvalError> {
        nothing()
    }

    fn services(&self) -> &dyn Services {
        &NoServices
    }
}
