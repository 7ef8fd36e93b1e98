//! The domains' states for `/metrics`.

use super::lamps;
use crate::app::App;
use crate::base::error::Result;
use crate::base::exposition::{Kind, Text};
use crate::feature::Exposes;

/// See [`Exposes`].
pub const EXPOSES: &[Exposes] = &[Exposes { kind: "domain", write }];

fn write(app: &App, out: &mut Text) -> Result<()> {
    let name = "lamplighter_domain_state";
    let help = "0: served as deployed. 1: it needs a person. 2: visitors do not get what they want. Who is not deployed has none.";
    out.family(name, Kind::Gauge, help);
    for (domain, lamp) in app.db.read(lamps)? {
        let value = match lamp {
            "lit" => 0.0,
            "flick" => 1.0,
            "dark" => 2.0,
            _ => continue,
        };
        out.value(name, &[("domain", domain.as_str())], value);
    }
    Ok(())
}
