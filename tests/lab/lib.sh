# shellcheck shell=bash
# Settings and helpers of the lab. Sourced by the other scripts, never run.
# shellcheck disable=SC2034  # used by whoever sources this
set -euo pipefail

LAB_DIR=${LAB_DIR:-/var/tmp/lamplighter-lab}      # images, keys and running state; nothing of it belongs in the repository
LAB_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NET=10.77.0                                       # IPv4 /24
NET6=fd77                                         # IPv6 /64
BR=rlab0                                          # bridge on this machine, holds $NET.1
MAX=20                                            # h1..h20 = $NET.11..30, Debian 12
DISK=$LAB_DIR/disk                                # one btrfs in a sparse file: a host's disk is a snapshot, made in milliseconds
RUN=$LAB_DIR/run                                  # per host: pid, image, console.log
KEYS=$LAB_DIR/keys
HOSTS=(); for ((i = 1; i <= MAX; i++)); do HOSTS+=("h$i"); done
HOSTS+=(d11 d13 u24)                              # = $NET.31, 33 and 44: another system each, the one they are named after

SSH_OPTS=(-F none -i "$KEYS/id_ed25519" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5
  -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$LAB_DIR/known_hosts" -o GlobalKnownHostsFile=/dev/null)

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '2,/^[^#]/{/shellcheck/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }   # the comment at the top of a script is its manual
need_root() { [ "$(id -u)" = 0 ] || die "must run as root"; }
now_ms() { date +%s%3N; }

# One command at a time changes the lab. A first build may hold the lock for minutes.
lock() { mkdir -p "$LAB_DIR"; exec 9>"$LAB_DIR/.lock"; flock -w 900 9 || die "another lab command has held the lock for 15 minutes"; }
unlock() { exec 9>&-; }

wait_for() { # SECONDS COMMAND...: until it succeeds
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.05; done
}

is_server() { case " ${HOSTS[*]} " in *" $1 "*) ;; *) return 1 ;; esac; }
is_host() { [ "$1" = infra ] || is_server "$1"; }
octet() {
  case $1 in
    infra) echo 2 ;;
    *) is_server "$1" || die "unknown host '$1' (infra, h1..h$MAX, d11, d13, u24)"
      case $1 in [du]*) echo $((20 + ${1#?})) ;; *) echo $((10 + ${1#h})) ;; esac ;;
  esac
}
suite_of() { case $1 in d11) echo bullseye ;; d13) echo trixie ;; u24) echo noble ;; esac; }   # HOST; nothing for Debian 12
addr() { local o; o=$(octet "$1") && echo "$NET.$o"; }

# -- cgroups: cgroup2, and the named v1 tree where a machine still has one. A host gets a cgroup of its
#    own in each; without it all hosts would share one "payload" and could not be told apart.
CG2=$(findmnt -rnf -t cgroup2 -o TARGET || true)
CG1=$(findmnt -rnf -t cgroup -O name=systemd -o TARGET || true)
cgroups() { local c; for c in "$CG2" "$CG1"; do [ -z "$c" ] || echo "$c/rlab-$1"; done; }

# -- processes of a host -----------------------------------------------------------------------------
# The keeper is the shell loop around systemd-nspawn. Its command line is checked as well, so that a
# number the system has given to somebody else is never taken for ours.
keeper() {
  local p
  p=$(cat "$RUN/$1/pid" 2>/dev/null) && [ -n "$p" ] || return 0
  if { tr '\0' ' ' <"/proc/$p/cmdline"; } 2>/dev/null | grep -q -- "--machine=rlab-$1 "; then echo "$p"; fi
}
runs() { [ -n "$(keeper "$1")" ]; }
stopped() { ! runs "$1"; }
children() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }
leader() { # the host's PID 1, as numbered here
  local k n l
  k=$(keeper "$1"); [ -n "$k" ] || return 0
  for n in $(children "$k"); do for l in $(children "$n"); do echo "$l"; return 0; done; done
}
in_host() { # HOST COMMAND...: as root, without ssh
  local l h=$1; shift
  l=$(leader "$h"); [ -n "$l" ] || die "$h is not running"
  nsenter -t "$l" -m -u -i -n -p -C -r -w -- \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb "$@"
}

port_open() { timeout 1 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }
greets() { timeout 1 bash -c "exec 3<>/dev/tcp/$1/22 && read -r -t1 l <&3 && [[ \$l == SSH-* ]]" 2>/dev/null; }
admits() { # sshd answers a little earlier than pam_nologin lets anyone but root in
  local l; l=$(leader "$1"); [ -n "$l" ] && greets "$(addr "$1")" && [ ! -e "/proc/$l/root/run/nologin" ]
}
settle() { # HOST: wait until it is usable, then hide what only a container has
  wait_for 60 admits "$1" || { tail -5 "$RUN/$1/console.log" >&2 || true; die "$1 does not come up, see $RUN/$1/console.log"; }
  # These mounts would be listed as disks by Glances.
  in_host "$1" umount -q /run/host/os-release /run/host/incoming 2>/dev/null || true
}

unlag() { # takes 'fault lag' away
  local o p f=$RUN/$1/lag.pid
  [ -s "$f" ] || return 0
  o=$(octet "$1"); p=$(cat "$f"); rm -f "$f"
  if { tr '\0' ' ' <"/proc/$p/cmdline"; } 2>/dev/null | grep -q "lag.py .*rlab$o "; then kill "$p" 2>/dev/null || true; fi
  ip link set "rlab$o" master "$BR" 2>/dev/null || true
  ip link del "rlag$o" 2>/dev/null || true
}

emptied() { ! grep -q 'populated 1' "$1/cgroup.events" 2>/dev/null; }
cut_power() { # HOST: ends all it runs (also what a killed keeper left) and takes its network and cgroups away
  local c g=$CG2/rlab-$1
  unlag "$1"
  if [ -e "$g/cgroup.kill" ]; then echo 1 >"$g/cgroup.kill"; wait_for 10 emptied "$g" || say "$1: processes remain in $g"; fi
  # The link first: a namespace gives its end back later, on its own, and the next start would trip over it.
  ip link del "rlab$(octet "$1")" 2>/dev/null || true
  ip netns del "rlab-$1" 2>/dev/null || true
  for c in $(cgroups "$1"); do if [ -d "$c" ]; then find "$c" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi; done
  rm -f "$RUN/$1/pid"
}

# -- disks -------------------------------------------------------------------------------------------
mount_disk() {
  mkdir -p "$DISK"
  if mountpoint -q "$DISK"; then return 0; fi
  if [ ! -s "$DISK.img" ]; then
    truncate -s 24G "$DISK.img.tmp"; mkfs.btrfs -q -m single "$DISK.img.tmp" 2>/dev/null; mv "$DISK.img.tmp" "$DISK.img"
  fi
  mount -o loop,noatime,discard=async "$DISK.img" "$DISK"
}
drop_disk() { # a host may have made subvolumes of its own (systemd does)
  local s
  [ -d "$1" ] || return 0
  btrfs subvolume list -o "$1" 2>/dev/null | awk '{print $NF}' | sort -r |
    while read -r s; do btrfs -q subvolume delete "$DISK/$s" >/dev/null 2>&1 || true; done
  btrfs -q subvolume delete "$1" >/dev/null 2>&1 || rm -rf "$1"
}
