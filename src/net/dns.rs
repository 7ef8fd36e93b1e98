//! Our own questions to name servers.

use crate::base::text::one_line;
use std::net::{IpAddr, SocketAddr};

/// Servers that a person may name. More would only make a failing look-up longer.
const SERVERS_MAX: usize = 6;

/// Reads a list of name servers: addresses, each perhaps with a port (`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`,
/// `[2001:db8::1]:53`), with spaces or commas between. The error is a sentence.
pub fn parse_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let servers = words.map(parse_server).collect::<Result<Vec<_>, _>>()?;
    match servers.len() {
        0..=SERVERS_MAX => Ok(servers),
        n => Err(format!("At most {SERVERS_MAX} name servers; these are {n}.")),
    }
}

fn parse_server(word: &str) -> Result<SocketAddr, String> {
    let bare = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
    let ip = bare.unwrap_or(word).parse::<IpAddr>().ok();
    let server = ip.map(|ip| SocketAddr::new(ip, 53)).or_else(|| word.parse().ok());
    let usable = |s: &SocketAddr| s.port() != 0 && !s.ip().is_unspecified() && !s.ip().is_multicast();
    server.filter(usable).ok_or_else(|| {
        format!(
            "“{}” is not a name server's address like 192.0.2.1, 192.0.2.1:5353 or [2001:db8::1]:53.",
            one_line(word, 60)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_addresses_with_or_without_port() {
        let good = parse_servers(" 192.0.2.1, 192.0.2.2:5353,2001:db8::1  [2001:db8::2] [2001:db8::3]:54").unwrap();
        let texts: Vec<_> = good.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "192.0.2.1:53",
                "192.0.2.2:5353",
                "[2001:db8::1]:53",
                "[2001:db8::2]:53",
                "[2001:db8::3]:54"
            ]
        );
        assert_eq!(parse_servers(" , "), Ok(vec![]));
        for bad in [
            "ns1.example",
            "192.0.2",
            "192.0.2.1:0",
            "192.0.2.1:x",
            "0.0.0.0",
            "224.0.0.1",
            "[192.0.2.1",
            "1.1.1.1;1.0.0.1",
            "1.1.1.1 2 3",
            "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7",
        ] {
            assert!(parse_servers(bad).is_err(), "{bad}");
        }
    }
}
