# tmux: starts, stops or restarts (ACT) the session SESSION of the user OWNER. COMMAND is what a shell starts in it.

DONE=''
GONE="^can't find session|^no server running|^error connecting|^no sessions"
as_owner() { runuser -u "$OWNER" -- "$@"; }
is_there() {
  said=$(as_owner tmux has-session -t "=$SESSION" 2>&1) && return 0
  printf '%s\n' "$said" | grep -qE "$GONE" || fail tmux_refused "tmux cannot be asked as $OWNER: $said"
  return 1
}
# The first pane: whether its program has ended.
is_dead() { [ "$(as_owner tmux list-panes -s -t "=$SESSION" -F '#{pane_dead}' | head -n 1)" = 1 ]; }

check_known() {
  getent passwd "$OWNER" >/dev/null || fail no_such_user "There is no user $OWNER on this server."
  command -v tmux >/dev/null || fail no_tmux 'tmux is not installed on this server.'
}
check_started() {
  if is_there && ! is_dead; then return 0; fi
  because "the session $SESSION does not run"
}
check_lasts() {
  [ -n "$DONE" ] || return 1
  sleep 2
  check_started || because "the session $SESSION ended again at once"
}
check_stopped() { ! is_there || because "the session $SESSION is still there"; }

stop() {
  as_owner tmux send-keys -t "=$SESSION:" C-c || :
  n=0
  while is_there && ! is_dead && [ "$n" -lt 20 ]; do sleep 0.25; n=$((n + 1)); done
  ! is_there || run runuser -u "$OWNER" -- tmux kill-session -t "=$SESSION" || fail service_failed "The session $SESSION did not end."
}
# Not as a child of this job, which would end it.
start() {
  DONE=yes
  ! is_there || stop
  home=$(getent passwd "$OWNER" | cut -d: -f6)
  running tmux new-session -d -s "$SESSION"
  RC=0; (cd "$home" 2>/dev/null || cd /; exec env -i PATH="$PATH" HOME="$home" USER="$OWNER" LOGNAME="$OWNER" SHELL=/bin/sh TERM=screen \
    LANG=C.UTF-8 setsid -w runuser -u "$OWNER" -- tmux new-session -d -s "$SESSION" "$COMMAND") </dev/null 9>&- || RC=$?
  ran || fail service_failed "The session $SESSION did not start."
}

main() {
  begin
  check tmux_known check_known
  case $ACT in
    stop) step tmux_stopped check_stopped stop ;;
    start) if check_started; then step tmux_started check_started start; else step tmux_started check_lasts start; fi ;;
    *) step tmux_started check_lasts start ;;
  esac
}
