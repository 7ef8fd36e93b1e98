# Lets OWNER use SOCKET, which only root may open, by a socket of its own, as long as this runs. Says where that one is:
# "relay PATH". Ends with 3: nothing is at SOCKET; 4: no program for it is here; 5: that program did not begin.
set -u
umask 077
[ -S "$SOCKET" ] || exit 3
proxy=''
for there in /usr/lib/systemd/systemd-socket-proxyd /lib/systemd/systemd-socket-proxyd; do
  [ ! -x "$there" ] || proxy=$there
done
command -v systemd-socket-activate >/dev/null || proxy=''
[ -n "$proxy" ] || command -v socat >/dev/null || exit 4
# Of one that was killed before it could tidy up: nobody lives who made it.
for left in /run/lamplighter-relay.*; do
  [ -z "$(find "$left" -maxdepth 0 -mmin +1 2>/dev/null)" ] || kill -0 "$(cat "$left/pid" 2>/dev/null)" 2>/dev/null || rm -rf "$left"
done
relay='' dir=''
gone() {
  [ -z "$relay" ] || kill "$relay" 2>/dev/null
  [ -z "$dir" ] || rm -rf "$dir"
}
trap gone EXIT
trap 'exit 143' HUP INT TERM
dir=$(mktemp -d /run/lamplighter-relay.XXXXXXXXXX) || exit 5
echo "$$" >"$dir/pid"
if [ -n "$proxy" ]; then
  systemd-socket-activate -l "$dir/s" "$proxy" --connections-max=2000 "$SOCKET" >/dev/null 2>&1 &
else
  socat "UNIX-LISTEN:$dir/s,fork,max-children=2000" "UNIX-CONNECT:$SOCKET" >/dev/null 2>&1 &
fi
relay=$! tries=0
until [ -S "$dir/s" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] && kill -0 "$relay" 2>/dev/null || exit 5
  sleep 0.05
done
chown -- "$OWNER" "$dir/s" "$dir"
echo "relay $dir/s"
wait "$relay"
exit 5
