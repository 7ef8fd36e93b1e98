//! Which interfaces and block devices count, so that each byte is counted once, where it enters the machine. Glances
//! sends names only, so naming schemes of kernel and tools decide what is stacked on what. Stacked devices count only
//! if nothing below them is visible, as in containers.

/// Layer of a device: the lowest visible layer counts, others repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Bytes enter and leave the machine here.
    Hardware,
    /// Network-attached or composed; counts if no hardware is visible.
    Made,
    /// A software RAID: made of disks, and what LVM and encryption lie on.
    Array,
    /// On top of what is `Made` or an `Array`.
    Stacked,
    /// Never leaves the machine: loopback, memory, images.
    Inside,
}

/// What follows a prefix in a name.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Anything,
    /// A number, perhaps with more behind it: `br0`, not `broadcom`.
    Number,
    /// Nothing or a number.
    End,
}

use Layer::{Array, Inside, Made, Stacked};
use Then::{Anything, End, Number};

/// Prefix, what follows, layer; source.
const INTERFACES: &[(&str, Then, Layer)] = &[
    ("lo", End, Inside),            // Linux; lo0: BSD, macOS
    ("Loopback", Anything, Inside), // Windows
    ("bond", Anything, Made),       // kernel: networking/bonding
    ("team", Number, Made),         // libteam
    ("br-", Anything, Made),        // Docker's networks, OpenWrt
    ("br", Number, Made),           // kernel: networking/bridge
    ("bridge", End, Made),          // BSD, macOS
    ("vmbr", Anything, Made),       // Proxmox
    ("fwbr", Anything, Made),       // Proxmox's firewall: bridge, and both ends of the pair to it
    ("fwpr", Anything, Made),
    ("fwln", Anything, Made),
    ("virbr", Anything, Made), // libvirt
    ("vnet", Anything, Made),
    ("lxcbr", Anything, Made), // LXC, LXD
    ("lxdbr", Anything, Made),
    ("lxc", Anything, Made),    // also Cilium's ends
    ("docker", Anything, Made), // Docker, Podman, CNI
    ("podman", Anything, Made),
    ("cni", Anything, Made),
    ("cali", Anything, Made), // Calico
    ("cilium", Anything, Made),
    ("flannel", Anything, Made),
    ("kube-", Anything, Made), // kube-proxy's IPVS
    ("ovs-", Anything, Made),  // Open vSwitch
    ("veth", Anything, Made),  // kernel: veth
    ("tap", Anything, Made),   // kernel: tuntap; QEMU, OpenVPN
    ("tun", Anything, Made),
    ("utun", Anything, Made), // macOS
    ("wg", Anything, Made),   // WireGuard
    ("tailscale", Anything, Made),
    ("zt", Anything, Made), // ZeroTier
    ("nebula", Anything, Made),
    ("nordlynx", End, Made),
    ("hassio", End, Made), // Home Assistant
    ("incusbr", Anything, Made),
    ("vboxnet", Number, Made), // VirtualBox, VMware
    ("vmnet", Number, Made),
    ("weave", Anything, Made), // container networks: Weave, Antrea, OVN, AWS, Azure
    ("antrea", Anything, Made),
    ("genev_sys", Anything, Made),
    ("ovn", Anything, Made),
    ("eni", Anything, Made),
    ("azv", Anything, Made),
    ("nerdctl", Number, Made),
    ("shim-", Anything, Made), // Unraid
    ("vhost", Number, Made),
    ("bat", Number, Made), // kernel: batman-adv
    ("sit", Number, Made), // kernel: tunnels (ip-link(8)); the first of each stands there unused
    ("tunl", Number, Made),
    ("gre", Number, Made),
    ("gretap", Number, Made),
    ("erspan", Number, Made),
    ("ip6tnl", Number, Made),
    ("ip6gre", Number, Made),
    ("ip6gretap", Number, Made),
    ("ip_vti", Number, Made),
    ("ip6_vti", Number, Made),
    ("vti", Number, Made),
    ("ipsec", Number, Made),
    ("xfrm", Number, Made),
    ("ppp", Number, Made), // PPPoE runs over another interface
    ("pppoe", Anything, Made),
    ("l2tp", Anything, Made),
    ("geneve", Anything, Made),
    ("gif", Number, Made), // BSD, macOS
    ("stf", Number, Made),
    ("epair", Number, Made),
    ("enc", Number, Inside),
    ("pflog", Number, Inside),
    ("nlmon", Number, Inside),      // kernel: a tap on netlink
    ("vlan", Number, Stacked),      // netplan, systemd-networkd, ifupdown
    ("macvlan", Anything, Stacked), // kernel: on top of another interface
    ("macvtap", Anything, Stacked),
    ("ipvlan", Anything, Stacked),
    ("vxlan", Anything, Stacked),
    ("dummy", Number, Inside), // kernel: dummy, ifb
    ("ifb", Number, Inside),
];

const DEVICES: &[(&str, Then, Layer)] = &[
    ("loop", Number, Inside), // kernel: admin-guide/devices
    ("ram", Number, Inside),
    ("zram", Number, Inside),
    ("sr", Number, Inside),   // CD
    ("fd", Number, Inside),   // floppy
    ("nbd", Number, Made),    // over the network
    ("rbd", Number, Made),    // Ceph
    ("zd", Number, Made),     // ZFS volumes: the disks of the pool have counted them
    ("dm-", Number, Stacked), // LVM, LUKS, multipath
    ("md", Anything, Array),  // software RAID: md0, md_d0, md127
    ("drbd", Number, Stacked),
    ("bcache", Number, Stacked),
];

fn named(table: &[(&str, Then, Layer)], name: &str) -> Layer {
    let number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let fits = |(prefix, then, _): &&(&str, Then, Layer)| {
        name.strip_prefix(prefix).is_some_and(|rest| match then {
            Anything => true,
            Number => number(rest),
            End => rest.bytes().all(|b| b.is_ascii_digit()),
        })
    };
    table.iter().find(fits).map_or(Layer::Hardware, |row| row.2)
}

/// Layer of an interface among all visible ones. VLANs are named after their parent: `eth0.20`, `vlan20@eth0`.
pub fn interface(name: &str, all: &[&str]) -> Layer {
    let below = match (name.rsplit_once('@'), name.rsplit_once('.')) {
        (Some((_, below)), _) => Some(below),
        (None, Some((below, tag))) if !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_digit()) => Some(below),
        _ => None,
    };
    if below.is_some_and(|below| !below.is_empty() && all.contains(&below)) {
        return named(INTERFACES, name).max(Stacked);
    }
    named(INTERFACES, name)
}

/// Layer of a block device among all visible ones; a partition is part of its disk.
pub fn device(name: &str, all: &[&str]) -> Layer {
    let is_part_of = |disk: &&str| {
        name.strip_prefix(*disk).is_some_and(|rest| {
            let number = rest.strip_prefix('p').unwrap_or(rest);
            !disk.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        })
    };
    if all.iter().any(is_part_of) || is_nvme_path(name) {
        return Inside;
    }
    named(DEVICES, name)
}

/// `nvme0c1n1` is one path to `nvme0n1`, which counts its bytes (kernel: nvme/host/multipath.c).
fn is_nvme_path(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let path = name.strip_prefix("nvme").and_then(|rest| rest.split_once('c'));
    path.is_some_and(|(subsystem, rest)| {
        let parts = rest.split_once('n');
        number(subsystem) && parts.is_some_and(|(controller, space)| number(controller) && number(space))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_the_bytes_of_another_lies_above_it() {
        let all = "lo lo0 eth0 eth0.20 vlan20@eth0 bond0 bond0.7 br0 vmbr1 fwln100i0 tap100i0 wg0 veth12 eth9@if7 \
                   broadcom0 lan.guest enp5s0f1np1 vlan7 dummy0 sit0 ppp0 incusbr0 batlan";
        let all: Vec<&str> = all.split_whitespace().collect();
        let of = |layer| {
            let fits = |name: &&&str| interface(name, &all) == layer;
            all.iter().filter(fits).copied().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            of(Layer::Hardware),
            "eth0 eth9@if7 broadcom0 lan.guest enp5s0f1np1 batlan"
        );
        assert_eq!(
            of(Made),
            "bond0 br0 vmbr1 fwln100i0 tap100i0 wg0 veth12 sit0 ppp0 incusbr0"
        );
        assert_eq!(of(Stacked), "eth0.20 vlan20@eth0 bond0.7 vlan7");
        assert_eq!(of(Inside), "lo lo0 dummy0");

        let all: Vec<&str> =
            "sda sda1 nvme0n1 nvme0n1p2 nvme0c1n1 mmcblk0 vdb md0 md127 md_d0 dm-3 zd0 zd0p1 drbd0 nbd0 rbd1 bcache0 loop7 sr0"
                .split_whitespace()
                .collect();
        let of = |layer| {
            let fits = |name: &&&str| device(name, &all) == layer;
            all.iter().filter(fits).copied().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(Layer::Hardware), "sda nvme0n1 mmcblk0 vdb");
        assert_eq!(of(Made), "zd0 nbd0 rbd1");
        assert_eq!(of(Array), "md0 md127 md_d0");
        assert_eq!(of(Stacked), "dm-3 drbd0 bcache0");
        assert_eq!(of(Inside), "sda1 nvme0n1p2 nvme0c1n1 zd0p1 loop7 sr0");
    }
}
