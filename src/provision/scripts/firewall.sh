# firewall: only the blocks in ALLOW reach PORT (no blocks: our rules are taken away). Values: SSH_PORT, PORT, ALLOW, REVERT_S.
#
# ufw can lock out the very connection that sets it up. So: SSH is let in first; a timer that puts everything back is started
# before anything changes; and only a second job, over a NEW connection, stops that timer (confirm.sh).
# A firewall that was off is switched on with "let in" as its default: whatever else this server offers stays reachable.

STATE=/run/lamplighter-ufw
REVERT=lamplighter-ufw-revert

check_firewall_free() {
  ! active firewalld.service || fail other_firewall 'Another firewall, firewalld, looks after this server.'
  ! active "$REVERT.timer" || fail job_running 'An earlier change of the firewall still waits for its confirmation or its end.'
}
check_firewall_package() { installed ufw; }
install_ufw() { apt_install ufw; }

on() { LC_ALL=C ufw status | grep -q '^Status: active'; }
rules() { LC_ALL=C ufw show added; }
has() { rules | grep -q "^ufw $1\( comment .*\)\{0,1\}\$"; }

# Whoever may reach SSH now may do so after: everyone when the firewall is off, this controller when it is on.
ssh_guards() {
  {
    echo "$SSH_PORT"
    ss -Hltnp | sed -n 's/.*:\([0-9]\{1,\}\) .*users:(("sshd".*/\1/p'
    connection | sed -n 's/.* //p'
  } | sort -un | while read -r port; do
    if [ "$WAS_ON" = no ]; then echo "allow $port/tcp"
    elif ! has "allow $port/tcp"; then connection | while read -r from _; do echo "allow from $from to any port $port proto tcp"; done; fi
  done
}

# The first rule that fits counts: the refusal is put on top, then the exceptions on top of it.
wanted() {
  [ -n "$ALLOW" ] || return 0
  # shellcheck disable=SC2153  # PORT is a value of the job
  echo "deny $PORT/tcp"
  for block in $ALLOW; do echo "allow from $block to any port $PORT proto tcp"; done
}
stale() {
  rules | sed -n "s/^ufw \(.*\) comment 'lamplighter'\$/\1/p" | while read -r rule; do
    wanted | grep -qxF "$rule" || echo "$rule"
  done
}
missing() { wanted | while read -r rule; do has "$rule" || echo "$rule"; done; }
guards_missing() { [ -z "$ALLOW" ] || ssh_guards | while read -r rule; do has "$rule" || echo "$rule"; done; }

check_firewall_guard() { [ -z "$(guards_missing)" ]; }
check_firewall_rules() { wrong=$(missing; stale); [ -z "$wrong" ] || because "ufw's rules are not as they should be: $(echo "$wrong" | paste -sd ',')"; }
check_firewall_on() { [ -z "$ALLOW" ] || on || because 'ufw does not call itself active'; }
# A guard matters only when something is about to change.
right() { check_firewall_rules && check_firewall_on; }

check_firewall_armed() { right || active "$REVERT.timer"; }
arm() {
  rm -rf "$STATE"; (umask 077; mkdir -p "$STATE/before/etc/default" "$STATE/before/etc/ufw")
  cp -a /etc/default/ufw "$STATE/before/etc/default/"
  cp -a /etc/ufw/ufw.conf /etc/ufw/user.rules /etc/ufw/user6.rules "$STATE/before/etc/ufw/"
  echo "$WAS_ON" >"$STATE/was_on"
  # The files after "disable", which writes to one of them.
  cat >"$STATE/revert" <<'REVERT_TEXT'
LC_ALL=C; PATH=/usr/sbin:/usr/bin:/sbin:/bin; export LC_ALL PATH
: >/run/lamplighter-ufw/reverted
ufw --force disable
cp -a /run/lamplighter-ufw/before/etc/. /etc/
if [ "$(cat /run/lamplighter-ufw/was_on)" = yes ]; then ufw --force enable; fi
REVERT_TEXT
  on_undo revert_now
  run systemd-run --quiet --on-active="$REVERT_S" --timer-property=AccuracySec=1s --unit="$REVERT" /bin/sh "$STATE/revert"
}
revert_now() { systemctl stop "$REVERT.timer"; sh "$STATE/revert"; rm -rf "$STATE"; }

# shellcheck disable=SC2086  # a rule is split into words here, on purpose
put_guards() { guards_missing | while read -r rule; do run ufw prepend $rule comment 'lamplighter ssh' || exit 1; done; }
put_rules() {
  # shellcheck disable=SC2086
  missing | while read -r rule; do run ufw prepend $rule comment lamplighter || exit 1; done
  # shellcheck disable=SC2086
  stale | while read -r rule; do run ufw --force delete $rule || exit 1; done
}
# Not yet for the next start: a reboot before the confirmation is a rollback too.
switch_on() {
  run ufw default allow incoming
  run ufw --force enable
  run sed -i 's/^ENABLED=yes/ENABLED=no/' /etc/ufw/ufw.conf
}

main() {
  begin
  ALLOW=$(guests) || fail controller_unknown 'The server does not tell from which address this connection comes; write the address instead of “controller”.'
  check system check_system
  check firewall_free check_firewall_free
  if [ -z "$ALLOW" ] && ! check_firewall_package; then
    for id in firewall_package firewall_armed firewall_guard firewall_rules firewall_on; do skip "$id"; done
    fact firewall unchanged
    return 0
  fi
  step firewall_package check_firewall_package install_ufw
  if on; then WAS_ON=yes; else WAS_ON=no; fi
  if right; then
    for id in firewall_armed firewall_guard firewall_rules firewall_on; do skip "$id"; done
    fact firewall unchanged
  else
    step firewall_armed check_firewall_armed arm
    step firewall_guard check_firewall_guard put_guards
    step firewall_rules check_firewall_rules put_rules
    step firewall_on check_firewall_on switch_on
    fact firewall armed
  fi
}
