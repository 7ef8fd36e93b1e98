//! (placeholder until the edge lands)
#![allow(missing_docs)]
use crate::base::error::Result;
use crate::events::wake::Wake;
pub enum Flow {
    More,
    Again,
    End,
}
pub trait Source: Send {
    fn fill(&mut self, out: &mut Vec<u8>) -> Result<Flow>;
    fn wake(&self) -> &Wake;
}
pub fn frame(_o: &mut Vec<u8>, _id: Option<i64>, _e: &str, _d: &str) {}
pub struct Streams;
impl Streams {
    pub fn offer(&self, _o: i64, _s: Box<dyn Source>) -> Result<String> {
        Ok(String::new())
    }
}
