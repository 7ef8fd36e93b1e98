# Looks at services, all of a server in one job. Changes nothing and needs no root. POSIX sh; after this text stand calls of
# the functions below with quoted words. Each answer is a line: a word, a number, values; texts are base64.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
SHOWN=Id,LoadState,ActiveState,SubState,Result,MainPID,NRestarts,ExecMainCode,ExecMainStatus,Restart,InvocationID,ControlGroup
SHOWN=$SHOWN,CPUUsageNSec,MemoryCurrent,ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic,Type

machine() {
  read -r up _ </proc/uptime
  mem=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
  printf 'machine %s %s %s %s\n' "$up" "${mem:-0}" "$(getconf CLK_TCK)" "$(getconf PAGESIZE)"
}

# used ID PID...: ticks and pages of these processes.
used() {
  n=$1; shift; files=
  for pid; do files="$files /proc/$pid/stat"; done
  # shellcheck disable=SC2086  # a list of paths of ours
  [ -z "$files" ] || cat $files 2>/dev/null | awk -v n="$n" '{ sub(/.*\) /, ""); ticks += $12 + $13; pages += $22 }
    END { if (NR) printf "used %s %s %s\n", n, ticks, pages }'
}

# units HOW IDS UNIT...: blocks of systemd in the order of the units; HOW is system or user, IDS are numbers with commas.
units() {
  how=$1 ids=$2; shift 2
  if [ "$how" = user ]; then ctl='systemctl --user'; else ctl=systemctl; fi
  if ! said=$($ctl show -p "$SHOWN" -- "$@" 2>&1); then
    printf 'nounits %s %s\n' "$ids" "$(printf '%s' "$said" | head -c 600 | base64 -w0)"
    return 0
  fi
  printf 'units %s %s\n' "$ids" "$(printf '%s\n' "$said" | base64 -w0)"
  printf '%s\n' "$said" | awk -F= -v ids="$ids" '
    BEGIN { split(ids, id, ","); n = 1 }
    $1 == "ControlGroup" { group = $2 } $1 == "MainPID" { pid = $2 }
    $0 == "" { print id[n], pid + 0, group; n++; group = pid = "" }
    END { print id[n], pid + 0, group }' | while read -r n pid group; do
    [ "$pid" != 0 ] || [ -n "$group" ] || continue
    pids=
    for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
      if [ -z "$group" ] || [ ! -r "$root$group/cgroup.procs" ]; then continue; fi
      pids=$(head -n 500 "$root$group/cgroup.procs" | tr '\n' ' '); break
    done
    [ -n "$pids" ] || [ "$pid" = 0 ] || pids=$pid
    # shellcheck disable=SC2086  # a list of numbers
    used "$n" $pids
  done
}

as_user() { # USER COMMAND...
  if [ -z "$1" ] || [ "$1" = "$(id -un)" ]; then shift; "$@"
  elif [ "$(id -u)" = 0 ]; then user=$1; shift; runuser -u "$user" -- "$@"
  else user=$1; shift; sudo -n -u "$user" -- "$@"; fi
}

# session ID USER NAME: whether a session of tmux is there, and its first pane. A target begins with = to be the whole name.
session() {
  n=$1 user=$2 name=$3
  command -v tmux >/dev/null || { printf 'nosession %s missing\n' "$n"; return 0; }
  if ! said=$(as_user "$user" tmux has-session -t "=$name" 2>&1); then
    case $said in
      *"can't find session"* | *'no server running'* | *'error connecting'* | *'no sessions'*) printf 'nosession %s none\n' "$n" ;;
      *) printf 'nosession %s other %s\n' "$n" "$(printf '%s' "$said" | head -c 600 | base64 -w0)" ;;
    esac
    return 0
  fi
  pane=$(as_user "$user" tmux list-panes -s -t "=$name" -F '#{pane_pid} #{pane_dead} #{pane_dead_status} #{session_created}' | head -n 1)
  printf 'session %s %s %s\n' "$n" "$(date +%s)" "$pane"
  # shellcheck disable=SC2046  # a list of numbers
  used "$n" $(ps -eo pid=,ppid= | awk -v root="${pane%% *}" '{ parent[$1] = $2 }
    END { for (pid in parent) { p = pid; while (p > 1 && p != root) p = parent[p]; if (p == root) printf "%s ", pid } }')
}

now_ms() { date +%s%3N; }

# port ID HOST PORT
port() {
  begun=$(now_ms)
  # shellcheck disable=SC2016  # for that bash
  said=$(timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$2" "$3" 2>&1); rc=$?
  printf 'port %s %s %s %s\n' "$1" "$rc" "$(($(now_ms) - begun))" "$(printf '%s' "$said" | head -c 600 | base64 -w0)"
}

# program ID FOLDERS WORD...: only below one of the folders, wherever links lead.
program() {
  n=$1 folders=$2; shift 2
  real=$(readlink -f -- "$1") || real=
  for folder in $folders; do
    case $real in "$(readlink -f -- "$folder")"/?*) real=/; break ;; esac
  done
  [ "$real" = / ] || { printf 'noprogram %s\n' "$n"; return 0; }
  begun=$(now_ms)
  said=$({ timeout -k 2 10 "$@" </dev/null 2>&1; printf '\n%s' "$?"; } | tail -c 20000)
  rc=${said##*"
"}
  printf 'program %s %s %s %s\n' "$n" "$rc" "$(($(now_ms) - begun))" "$(printf '%s' "${said%?"$rc"}" | head -c 10000 | base64 -w0)"
}

# postgres ID USER CONNINFO, with QUERIES and PASSWORD, which are not exported: psql reads the password, which may be empty, as the first line of its
# stdin, for it has no terminal. Where it cannot connect, pg_isready tells a server that starts from one that is not there.
postgres() {
  n=$1 user=$2 info=$3
  command -v psql >/dev/null || { printf 'postgres %s 127 0 \n' "$n"; return 0; }
  if [ -n "$PASSWORD" ]; then ask=-W; else ask=-w user=${user:-postgres}; fi
  said=$({ [ "$ask" = -w ] || printf '%s\n' "$PASSWORD"; printf '%s\n' "$QUERIES"; } |
    { as_user "$user" timeout -k 2 10 psql -XAtq "$ask" -d "$info" -f - 2>&1; printf '\n%s' "$?"; } | head -c 40000)
  rc=${said##*"
"}
  ready=0
  [ "$rc" != 2 ] || { timeout 5 pg_isready -q -d "$info" >/dev/null 2>&1; ready=$?; }
  printf 'postgres %s %s %s %s\n' "$n" "$rc" "$ready" "$(printf '%s' "${said%?"$rc"}" | base64 -w0)"
}
