//! What a series is called outside: the same name whether it is scraped or pushed.

/// One of a server's series.
pub struct Name {
    /// As in `metrics::series::METRICS`; `disk:` stands for every file system.
    pub key: &'static str,
    /// With its unit.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What our unit is in that of the name: percent are ratios, ms are seconds.
    pub factor: f64,
}

macro_rules! names {
    ($($key:literal $name:literal $factor:literal $help:literal;)*) => {
        &[$(Name { key: $key, name: concat!("lamplighter_server_", $name), help: $help, factor: $factor }),*]
    };
}

/// All of them.
pub const NAMES: &[Name] = names! {
    "cpu"        "cpu_usage_ratio"                  0.01  "CPU in use, all cores together.";
    "iowait"     "cpu_iowait_ratio"                 0.01  "Time that the CPU waited for disks.";
    "mem"        "memory_usage_ratio"               0.01  "Memory in use: total less available.";
    "swap"       "swap_usage_ratio"                 0.01  "Swap in use.";
    "load1"      "load1"                            1.0   "Load average over one minute.";
    "load5"      "load5"                            1.0   "Load average over five minutes.";
    "load15"     "load15"                           1.0   "Load average over fifteen minutes.";
    "net_rx"     "network_receive_bytes_per_second" 1.0   "Received by all real interfaces.";
    "net_tx"     "network_transmit_bytes_per_second" 1.0  "Sent by all real interfaces.";
    "disk_read"  "disk_read_bytes_per_second"       1.0   "Read from all real disks.";
    "disk_write" "disk_written_bytes_per_second"    1.0   "Written to all real disks.";
    "uptime"     "uptime_seconds"                   1.0   "Since the last boot.";
    "poll"       "poll_duration_seconds"            0.001 "How long the last poll took.";
    "disk:"      "filesystem_usage_ratio"           0.01  "File system in use, as df counts it.";
};

/// A value in the unit of its name, with no more digits than were measured.
pub fn convert(name: &Name, value: f64) -> f64 {
    (value * name.factor * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::fleet::metrics::series::METRICS;

    #[test]
    fn every_series_has_a_name_in_the_order_of_the_metrics() {
        let keys: Vec<_> = METRICS.iter().map(|m| m.key).chain(["disk:"]).collect();
        assert_eq!(NAMES.iter().map(|n| n.key).collect::<Vec<_>>(), keys);
        assert_eq!(convert(&NAMES[0], 97.9), 0.979);
    }
}
