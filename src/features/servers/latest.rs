//! (placeholder)
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Db;
use std::collections::HashMap;
pub struct Latest {
    pub sample: String,
    pub cpu: Vec<Option<f32>>,
    pub mem: Vec<Option<f32>>,
}
pub fn of(_m: &Db, _ids: impl IntoIterator<Item = Id<id::Server>>) -> Result<HashMap<Id<id::Server>, Latest>> {
    Ok(HashMap::new())
}
