# Follows what sessions of tmux show, as root. SESSIONS: words "USER/NAME". Prints "@ MS" (the clock), and for each session whose
# screen changed "screen USER/NAME BASE64": its last lines, without those of a program that uses the whole screen.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
set -f
command -v tmux >/dev/null || { echo 'tmux is not installed' >&2; exit 47; }
printf '@ %s\n' "$(date +%s%3N)"
as() { if [ "$1" = "$(id -un)" ]; then shift; "$@"; else user=$1; shift; runuser -u "$user" -- "$@"; fi; }
SEEN=
while :; do
  seen=
  for session in $SESSIONS; do
    user=${session%%/*} name=${session#*/}
    [ "$(as "$user" tmux display-message -p -t "=$name:" '#{alternate_on}' 2>/dev/null)" = 0 ] || continue
    screen=$(as "$user" tmux capture-pane -p -J -S -300 -t "=$name:" 2>/dev/null | tail -c 100000 | base64 -w0)
    mark=$session:$(printf %s "$screen" | cksum | tr ' ' -)
    seen="$seen $mark"
    case " $SEEN " in *" $mark "*) ;; *) printf 'screen %s %s\n' "$session" "$screen" ;; esac
  done
  SEEN=$seen
  sleep 2
done
