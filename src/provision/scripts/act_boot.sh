# boot: which start of the machine this is. Changes nothing, needs no root.

check_booted() {
  fact boot_id "$(cat /proc/sys/kernel/random/boot_id)"
  fact state "$(systemctl is-system-running 2>/dev/null || :)"
  fact failed "$(systemctl list-units --state=failed --plain --no-legend --no-pager 2>/dev/null | cut -d' ' -f1 | head -n 10 | paste -sd ' ')"
}

main() {
  set -u
  check booted check_booted
  mark end
}
