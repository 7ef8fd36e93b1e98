//! (being written)
use super::secret::Secret;
/// x
#[derive(Default)]
pub struct Scrub;
impl Scrub {
    /// x
    pub fn add(&mut self, _s: &Secret) {}
    /// x
    pub fn line(&self, l: &str) -> String {
        l.into()
    }
}
