# What stands in the way of another password for ACCOUNT. Changes nothing that stays.
say() { printf '%s=%s\n' "$1" "$2"; }
getent passwd "$ACCOUNT" >/dev/null || { say code no_account; exit 0; }
grep -q "^$ACCOUNT:" /etc/passwd || { say code not_local; exit 0; }
command -v chpasswd >/dev/null || { say code no_chpasswd; exit 0; }
set -- $(passwd -S "$ACCOUNT" 2>/dev/null)
case ${2:-} in L*) say code account_locked; exit 0 ;; esac
end=$(getent shadow "$ACCOUNT" | cut -d: -f8)
if [ -n "$end" ] && [ "$(($(date +%s) / 86400))" -ge "$end" ]; then say code account_expired; exit 0; fi
# chpasswd writes the file anew beside the old one: what it needs is tried before anything is at stake.
if ! why=$({ t=$(mktemp /etc/.lamplighter.XXXXXX) && { head -c "$(stat -c %s /etc/shadow)" /dev/zero >"$t"; rc=$?; rm -f "$t"; [ "$rc" = 0 ]; }; } 2>&1); then
  say code etc_not_writable; say why "$(printf %s "$why" | tr '\n' ' ')"; exit 0
fi
say code ok
