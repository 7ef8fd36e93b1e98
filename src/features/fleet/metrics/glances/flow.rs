//! Throughput of interfaces and disks: each byte counted once, where it enters the machine.

use crate::features::fleet::metrics::json_reader::{Broken, JsonReader};
use crate::features::fleet::metrics::layers::Layer;

/// Throughput of an interface or disk in two directions.
#[derive(Default)]
pub struct Flow {
    name: String,
    seconds: Option<f64>,
    since: [Option<f64>; 2],
    rate: [Option<f64>; 2],
}

/// Field names: the name, then for each direction the amounts of 3.x and 4.x and the rate of 4.x.
pub struct Fields {
    name: &'static [u8],
    since_3: [&'static [u8]; 2],
    since_4: [&'static [u8]; 2],
    rate: [&'static [u8]; 2],
}

/// Of `network`.
pub const NETWORK: Fields = Fields {
    name: b"interface_name",
    since_3: [b"rx", b"tx"],
    since_4: [b"bytes_recv", b"bytes_sent"],
    rate: [b"bytes_recv_rate_per_sec", b"bytes_sent_rate_per_sec"],
};

/// Of `diskio`.
pub const DISKIO: Fields = Fields {
    name: b"disk_name",
    since_3: [b"read_bytes", b"write_bytes"],
    since_4: [b"read_bytes", b"write_bytes"],
    rate: [b"read_bytes_rate_per_sec", b"write_bytes_rate_per_sec"],
};

/// Reads one; true: it has the shape of 4.x.
pub fn read(reader: &mut JsonReader, names: &Fields) -> std::result::Result<(Flow, bool), Broken> {
    let mut flow = Flow::default();
    let mut shape_of_4 = false;
    reader.object(|reader, key| {
        if key == names.name {
            flow.name = reader.text()?.unwrap_or_default();
        } else if key == b"time_since_update" {
            flow.seconds = reader.number()?;
        } else if let Some(i) = (0..2).find(|i| key == names.since_3[*i] || key == names.since_4[*i]) {
            shape_of_4 |= key == names.since_4[i];
            flow.since[i] = reader.number()?;
        } else if let Some(i) = (0..2).find(|i| key == names.rate[*i]) {
            flow.rate[i] = reader.number()?;
        } else {
            reader.skip()?;
        }
        Ok(())
    })?;
    Ok((flow, shape_of_4))
}

impl Flow {
    /// 4.x sends the rate; 3.x sends the bytes since its last update and the time since then.
    fn rate(&self, i: usize) -> Option<f64> {
        let counted = || Some(self.since[i]? / self.seconds.filter(|s| *s > 0.0)?);
        self.rate[i].or_else(counted).filter(|r| (0.0..1e15).contains(r))
    }
}

/// Sums both directions of the lowest layer present; unknown if no value is known.
pub fn sum(all: &[Flow], layer: fn(&str, &[&str]) -> Layer) -> (Option<f64>, Option<f64>) {
    let names: Vec<&str> = all.iter().map(|f| f.name.as_str()).collect();
    let of: Vec<Layer> = names.iter().map(|name| layer(name, &names)).collect();
    let lowest = of.iter().min().filter(|layer| **layer < Layer::Inside);
    let sum = |i: usize| {
        let counted = all.iter().zip(&of).filter(|(_, layer)| Some(*layer) == lowest);
        counted
            .filter_map(|(f, _)| f.rate(i))
            .fold(None, |sum, r| Some(sum.unwrap_or(0.0) + r))
    };
    (sum(0), sum(1))
}
