# Takes the account ACCOUNT away with all that runs as it, if it is the one that NOTE was written to.
line=$(getent passwd "$ACCOUNT") || exit 0
[ "$(printf %s "$line" | cut -d: -f5)" = "$NOTE" ] || { echo "the account $ACCOUNT is not the one of this lease" >&2; exit 30; }
uid=$(printf %s "$line" | cut -d: -f3)
[ "$uid" -ge 1000 ] || { echo "the account $ACCOUNT has the number $uid" >&2; exit 31; }
usermod -L -e 1 -- "$ACCOUNT" || exit 32
command -v loginctl >/dev/null && loginctl terminate-user "$ACCOUNT" 2>/dev/null
n=0
while ps -u "$uid" -o pid= | grep -q .; do
  n=$((n + 1))
  [ "$n" -le 20 ] || { echo "processes of $ACCOUNT do not end" >&2; exit 33; }
  ps -u "$uid" -o pid= | xargs -r kill -KILL 2>/dev/null
  sleep 0.2
done
userdel -r -- "$ACCOUNT" 2>/dev/null || userdel -- "$ACCOUNT" || exit 34
if getent passwd "$ACCOUNT" >/dev/null; then echo "the account $ACCOUNT is still there" >&2; exit 35; fi
