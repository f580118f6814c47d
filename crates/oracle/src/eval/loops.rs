//! The functions that take a predicate.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use testudo_expr::{
    EvalError, Value,
    ast::{Binary, Expr, ExprKind},
    value::Map,
};

use super::{
    Element, Eval, Halt, Step, boolean, fail,
    operators::{arithmetic, order},
};

/// Whether a function takes a predicate.
pub(super) fn is_loop(name: &str) -> bool {
    matches!(
        name,
        "all"
            | "none"
            | "any"
            | "one"
            | "filter"
            | "map"
            | "find"
            | "findIndex"
            | "findLast"
            | "findLastIndex"
            | "count"
            | "sum"
            | "groupBy"
            | "sortBy"
            | "reduce"
    )
}

impl Eval<'_, '_> {
    pub(super) fn run_loop(&mut self, name: &str, arguments: &[Expr]) -> Step {
        let Some(list) = arguments.first() else {
            return Err(EvalError::Input("a list is missing").into());
        };
        let items = match self.value(list)? {
            Value::List(items) => items,
            other => return fail("a loop", &other),
        };
        let body = arguments.get(1).map(|predicate| match &predicate.kind {
            ExprKind::Closure(body) => body,
            _ => predicate,
        });
        let holds = |eval: &mut Self, at: usize| -> Result<bool, Halt> {
            let value = match body {
                Some(body) => eval.on_element(body, &items, at, Value::Nil)?,
                None => items[at].clone(),
            };
            boolean(&value, "a predicate")
        };
        let all = 0..items.len();
        match name {
            "any" | "none" => {
                for at in all {
                    if holds(self, at)? {
                        return Ok((name == "any").into());
                    }
                }
                Ok((name == "none").into())
            }
            "all" => {
                for at in all {
                    if !holds(self, at)? {
                        return Ok(false.into());
                    }
                }
                Ok(true.into())
            }
            "one" | "count" => {
                let mut count = 0_i64;
                for at in all {
                    count += i64::from(holds(self, at)?);
                }
                Ok(if name == "one" { (count == 1).into() } else { count.into() })
            }
            "filter" => {
                let mut kept = Vec::new();
                for at in all {
                    if holds(self, at)? {
                        kept.push(items[at].clone());
                    }
                }
                self.spend(kept.len())?;
                Ok(Value::list(kept))
            }
            "find" | "findIndex" => {
                for at in all {
                    if holds(self, at)? {
                        return Ok(found(name == "findIndex", &items, at));
                    }
                }
                Ok(Value::Nil)
            }
            "findLast" | "findLastIndex" => {
                for at in all.rev() {
                    if holds(self, at)? {
                        return Ok(found(name == "findLastIndex", &items, at));
                    }
                }
                Ok(Value::Nil)
            }
            _ => {
                let mut values = Vec::with_capacity(items.len());
                if name == "reduce" {
                    return self.reduce(body, &items, arguments.get(2));
                }
                for at in all {
                    values.push(match body {
                        Some(body) => self.on_element(body, &items, at, Value::Nil)?,
                        None => items[at].clone(),
                    });
                }
                match name {
                    "map" => {
                        self.spend(values.len())?;
                        Ok(Value::list(values))
                    }
                    "sum" => {
                        values.iter().try_fold(Value::Int(0), |total, v| arithmetic(Binary::Add, &total, v))
                    }
                    "groupBy" => self.group(&items, &values),
                    _ => self.sort(&items, values, arguments.get(2)),
                }
            }
        }
    }

    fn on_element(&mut self, body: &Expr, items: &[Value], at: usize, accumulator: Value) -> Step {
        self.elements.push(Element { value: items[at].clone(), index: at as i64, accumulator });
        let value = self.value(body);
        self.elements.pop();
        value
    }

    fn reduce(&mut self, body: Option<&Expr>, items: &[Value], initial: Option<&Expr>) -> Step {
        let Some(body) = body else { return Err(EvalError::Input("a predicate is missing").into()) };
        let (mut accumulator, first) = match (initial, items.first()) {
            (Some(initial), _) => (self.value(initial)?, 0),
            (None, Some(item)) => (item.clone(), 1),
            (None, None) => return Err(EvalError::Input("reduce of nothing").into()),
        };
        for at in first..items.len() {
            accumulator = self.on_element(body, items, at, accumulator)?;
        }
        Ok(accumulator)
    }

    fn group(&mut self, items: &[Value], keys: &[Value]) -> Step {
        self.spend(items.len())?;
        let mut groups: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        for (item, key) in items.iter().zip(keys) {
            let key = match key {
                Value::Str(text) => text.clone(),
                Value::Int(i) => i.to_string().into(),
                Value::Bool(b) => b.to_string().into(),
                other => return fail("groupBy", other),
            };
            groups.entry(key).or_default().push(item.clone());
        }
        let groups: Map = groups.into_iter().map(|(key, items)| (key, Value::list(items))).collect();
        Ok(Value::Map(Arc::new(groups)))
    }

    fn sort(&mut self, items: &[Value], keys: Vec<Value>, direction: Option<&Expr>) -> Step {
        let descending = match direction.map(|d| self.value(d)).transpose()? {
            None => false,
            Some(Value::Str(text)) if &*text == "asc" => false,
            Some(Value::Str(text)) if &*text == "desc" => true,
            Some(other) => return fail("a sort order", &other),
        };
        self.spend(items.len())?;
        let mut failure = None;
        let mut pairs: Vec<(Value, Value)> = keys.into_iter().zip(items.iter().cloned()).collect();
        pairs.sort_by(|(a, _), (b, _)| match order(a, b) {
            Ok(found) => {
                let found = found.unwrap_or(Ordering::Equal);
                if descending { found.reverse() } else { found }
            }
            Err(halt) => {
                failure.get_or_insert(halt);
                Ordering::Equal
            }
        });
        match failure {
            Some(halt) => Err(halt),
            None => Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect())),
        }
    }
}

fn found(index: bool, items: &[Value], at: usize) -> Value {
    if index { Value::Int(at as i64) } else { items[at].clone() }
}
