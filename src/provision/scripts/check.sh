# check: who we are on this server and what it is. Changes nothing, needs no root, reads no secret.

check_who() {
  fact user "$(id -un)"
  fact uid "$(id -u)"
  fact groups "$(id -Gn)"
  fact epoch_ms "$(date +%s%3N)"
}

check_machine() {
  if [ -r /etc/os-release ]; then
    # shellcheck source=/dev/null
    (. /etc/os-release; fact os_id "${ID:-}"; fact os_version "${VERSION_ID:-}"; fact os_name "${PRETTY_NAME:-}")
  fi
  fact hostname "$(uname -n)"
  fact kernel "$(uname -r)"
  fact arch "$(uname -m)"
  fact cpu_count "$(nproc)"
  while IFS=: read -r key value; do
    case $key in 'model name'*) fact cpu_model "${value# }"; break ;; esac
  done </proc/cpuinfo
  while IFS=': ' read -r key value _; do
    case $key in MemTotal) fact mem_kib "$value" ;; SwapTotal) fact swap_kib "$value" ;; esac
  done </proc/meminfo
  read -r seconds _ </proc/uptime; fact uptime_s "${seconds%.*}"
  if [ -d /run/systemd/system ]; then fact systemd "$(systemctl is-system-running 2>/dev/null)"; else fact systemd none; fi
  # Another number is another start of the machine.
  if read -r boot </proc/sys/kernel/random/boot_id; then fact boot_id "$boot"; fi
  kind=$(systemd-detect-virt 2>/dev/null) || :
  [ -z "$kind" ] || fact virtualization "$kind"
}

# The kernel counts one load for all. A container shows it as its own, unless what stands in for /proc counts for itself
# (lxcfs -l): then it counts the threads that are seen here, and not those of the whole host.
check_container() {
  kind=$(systemd-detect-virt -c 2>/dev/null) || :
  case $kind in '' | none) return 0 ;; esac
  fact container "$kind"
  read -r _ _ _ threads _ </proc/loadavg
  set -- /proc/[0-9]*/task/[0-9]*
  if [ "${threads#*/}" -gt $(($# * 3 / 2 + 20)) ]; then fact load host; else fact load own; fi
}

# disk_N: type, size and use in KiB, mount point (last, for it may hold spaces).
check_disks() {
  timeout 5 df -lPkT -x tmpfs -x devtmpfs -x overlay -x squashfs -x efivarfs 2>/dev/null | sed 1d | {
    n=0
    while [ "$n" -lt 32 ] && read -r _ type size used _ _ mount; do n=$((n + 1)); fact "disk_$n" "$type $size $used $mount"; done
  }
}

check_addresses() {
  if command -v ip >/dev/null; then
    # shellcheck disable=SC2046  # one address a word
    set -- $(ip -o addr show scope global 2>/dev/null | sed -n 's/.* inet6\{0,1\} \([0-9a-f.:]*\).*/\1/p' | head -n 32)
  else
    # shellcheck disable=SC2046
    set -- $(hostname -I 2>/dev/null)
  fi
  fact addresses "$*"
}

# Versions come from package records and file names: starting Glances takes a second.
check_software() {
  PACKAGES='glances python3 certbot ufw'
  command -v nginx >/dev/null && fact nginx "$(nginx -v 2>&1 | sed -n 's/^nginx version: //p')"
  if glances_find; then fact glances "$GLANCES_VERSION"; fact glances_path "$GLANCES"; fact glances_from "$(glances_from)"
  else fact glances_next "$(glances_next)"; fi
  for name in python3 certbot ufw; do package "$name" && fact "$name" "$VALUE"; done
  package certbot || ! command -v certbot >/dev/null || fact certbot "$(command -v certbot)"
  return 0
}

# Updates that wait, by the lists that the server has: none is fetched, and without lists nothing is known. No lock is taken
# and no cache written.
check_updates() {
  set -- /var/lib/apt/lists/*_Packages*
  [ -e "$1" ] || return 0
  list=$(timeout 30 apt-get -s -qq -o Debug::NoLocking=1 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    --with-new-pkgs upgrade 2>/dev/null) || return 0
  n=0 security=0
  while read -r verb what; do
    [ "$verb" = Inst ] || continue
    n=$((n + 1))
    case $what in *-security* | *-Security*) security=$((security + 1)) ;; esac
  done <<UPDATES
$list
UPDATES
  fact updates "$n"
  fact updates_security "$security"
}

# A package asked for it, or a newer kernel of the same flavour lies there. A container has its host's.
check_reboot() {
  needed=no
  [ ! -e /run/reboot-required ] || needed=yes
  if ! systemd-detect-virt -q -c 2>/dev/null; then
    running=$(uname -r)
    set -- /boot/vmlinuz-*-"${running##*-}"
    newest=$(printf '%s\n' "$@" | sort -V | tail -n 1)
    [ ! -e "$newest" ] || [ "$newest" = "/boot/vmlinuz-$running" ] || needed=yes
  fi
  fact reboot_needed "$needed"
}

main() {
  set -u
  check who check_who
  check machine check_machine
  check container check_container
  check disks check_disks
  check addresses check_addresses
  check software check_software
  check updates check_updates
  check reboot check_reboot
  check engines check_engines
  mark end
}
