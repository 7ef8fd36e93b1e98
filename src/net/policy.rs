//! Address policy of outbound connections. Names are checked by their addresses at the time of connecting, so that DNS
//! rebinding has no effect.

use crate::base::host::{Cidr, Host};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

/// Blocks that an administrator allows. A fixed size keeps a policy a plain value.
pub type Opened = [Option<Cidr>; 8];

/// Allowed addresses, by who chose the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A server of the fleet: private and loopback addresses are allowed.
    Server,
    /// As `Server`, but not this machine: a name, or an address beside the server's own, must not reach our own
    /// services.
    Elsewhere,
    /// A service on the Internet (webhooks): only globally reachable unicast addresses.
    Public,
    /// As `Public`, and addresses in these blocks; never metadata, link-local or multicast addresses.
    PublicAnd(Opened),
}

/// The addresses this process listens on: never connected to, whatever the policy.
static OWN_DOORS: OnceLock<Vec<SocketAddr>> = OnceLock::new();

/// Set once, after listening has begun.
pub fn set_own_doors(doors: Vec<SocketAddr>) {
    let _ = OWN_DOORS.set(doors);
}

/// Is this one of them? `is_own` tells whether an address is this machine's.
pub(super) fn is_own_door(ip: IpAddr, port: u16, is_own: impl Fn(IpAddr) -> bool) -> bool {
    let doors = OWN_DOORS.get().map_or(&[][..], Vec::as_slice);
    let ip = ip.to_canonical();
    (doors.iter()).any(|door| door.port() == port && (door.ip() == ip || door.ip().is_unspecified() && is_own(ip)))
}

impl Policy {
    /// The policy for a server with this address: only an explicit loopback address may mean this machine.
    pub fn of_server(host: &Host) -> Policy {
        match host.as_str() == "localhost" || host.ip().is_some_and(|ip| ip.to_canonical().is_loopback()) {
            true => Policy::Server,
            false => Policy::Elsewhere,
        }
    }

    /// The reason why `ip` is refused, as the end of the sentence "10.0.0.1 is …".
    pub fn check(self, ip: IpAddr) -> Result<(), &'static str> {
        // An IPv6 address that embeds an IPv4 address is checked by the embedded one.
        if let IpAddr::V6(v6) = ip
            && let Some(inner) = carried(v6)
        {
            return self.check(inner.into());
        }
        let refused = match ip {
            IpAddr::V4(v4) => never_v4(v4).or_else(|| not_public_v4(v4).filter(|_| !self.takes_private(ip))),
            IpAddr::V6(v6) => never_v6(v6).or_else(|| not_public_v6(v6).filter(|_| !self.takes_private(ip))),
        };
        refused.map_or(Ok(()), Err)
    }

    fn takes_private(self, ip: IpAddr) -> bool {
        match self {
            Policy::Server => true,
            Policy::Elsewhere => !ip.is_loopback(),
            Policy::Public => false,
            Policy::PublicAnd(opened) => opened.iter().flatten().any(|block| block.contains(ip)),
        }
    }
}

const METADATA: &str = "a cloud's metadata address";

fn never_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [0, ..] => Some("no address of a machine"),
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Some(METADATA),
        [169, 254, ..] => Some("a link-local address"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved or broadcast address"),
        _ => None,
    }
}

fn not_public_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [100, 64..=127, ..] => Some("a carrier's private address"),
        [192, 0, 0, _] | [192, 0, 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Some("reserved for tests and documentation")
        }
        _ => None,
    }
}

fn never_v6(ip: Ipv6Addr) -> Option<&'static str> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("no address of a machine"),
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Some(METADATA),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Tunnel prefixes: no server uses them, and Teredo hides an address behind a relay.
        [0x2001, 0, ..] => Some("a Teredo tunnel address"),
        [0x64, 0xff9b, 1, ..] => Some("a translation address"),
        _ => None,
    }
}

fn not_public_v6(ip: Ipv6Addr) -> Option<&'static str> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0x2001, 0xdb8, ..] | [0x2001, 2, 0, ..] | [0x3fff, ..] => Some("reserved for tests and documentation"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not in the public address space"),
    }
}

/// The IPv4 address inside `::ffff:0:0/96`, `::/96`, `64:ff9b::/96` (NAT64) and `2002::/16` (6to4).
fn carried(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(policy: Policy, ip: &str) -> bool {
        policy.check(ip.parse().unwrap()).is_ok()
    }

    #[test]
    fn servers_live_in_private_networks_and_webhooks_do_not() {
        let private = "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 127.0.0.1 127.8.8.8 ::1 fd00::1 fc00::1 100.64.0.1 \
             192.0.2.7 198.51.100.1 203.0.113.9 198.18.0.1 2001:db8::1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 2002:a00:1:: \
             ::ffff:127.0.0.1 3fff::1";
        for ip in private.split_whitespace() {
            assert!(ok(Policy::Server, ip), "{ip}");
            assert!(!ok(Policy::Public, ip), "{ip}");
        }
    }

    #[test]
    fn who_names_another_machine_does_not_mean_ours() {
        let host = |text| Policy::of_server(&Host::parse(text).unwrap());
        for here in ["127.0.0.1", "localhost", "::1"] {
            assert_eq!(host(here), Policy::Server, "{here}");
        }
        for other in ["web.example", "10.0.0.1", "localhost.example"] {
            assert_eq!(host(other), Policy::Elsewhere, "{other}");
        }
        for (ip, good) in [
            ("10.0.0.1", true),
            ("8.8.8.8", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(ok(Policy::Elsewhere, ip), good, "{ip}");
        }
        for ip in ["::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "169.254.169.254"] {
            assert!(!ok(Policy::Elsewhere, ip), "{ip}");
        }
    }

    #[test]
    fn public_addresses_are_for_both() {
        let public = "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 11.0.0.1 223.255.255.254 \
             2606:4700:4700::1111 2a00:1450:4001::5e ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1";
        for ip in public.split_whitespace() {
            assert!(ok(Policy::Server, ip) && ok(Policy::Public, ip), "{ip}");
        }
    }

    #[test]
    fn an_opened_block_is_open_and_nothing_beside_it() {
        let mut opened = Opened::default();
        opened[0] = Some(Cidr::parse("10.0.0.0/8").unwrap());
        opened[7] = Some(Cidr::parse("::1").unwrap());
        let policy = Policy::PublicAnd(opened);
        for ip in ["10.1.2.3", "::ffff:10.1.2.3", "::1", "8.8.8.8"] {
            assert!(ok(policy, ip), "{ip}");
        }
        for ip in ["127.0.0.1", "192.168.1.1", "fd00::1", "169.254.169.254"] {
            assert!(!ok(policy, ip), "{ip}");
        }
        let mut all = Opened::default();
        all[0] = Some(Cidr::parse("0.0.0.0/0").unwrap());
        assert!(!ok(Policy::PublicAnd(all), "169.254.169.254"));
    }

    #[test]
    fn some_addresses_are_for_nobody() {
        let never = "0.0.0.0 0.1.2.3 169.254.0.1 169.254.169.254 100.100.100.200 168.63.129.16 192.0.0.192 224.0.0.1 \
             239.255.255.255 240.0.0.1 255.255.255.255 :: fe80::1 febf::1 ff02::1 fd00:ec2::254 fd20:ce::254 \
             ::ffff:169.254.169.254 ::169.254.169.254 ::ffff:0:169.254.169.254 64:ff9b::169.254.169.254 \
             2002:a9fe:a9fe:: ::ffff:0.0.0.0 64:ff9b::255.255.255.255 64:ff9b:1::a9fe:a9fe 2001:0:1::1 2002:e000:1::";
        for ip in never.split_whitespace() {
            assert!(!ok(Policy::Server, ip) && !ok(Policy::Public, ip), "{ip}");
        }
    }
}
