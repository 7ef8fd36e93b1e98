# Common functions of all recipes: POSIX sh, run by `sh -s` as one job. Before this text stand assignments of
# single-quoted values; NONCE is one of them. Nothing runs before the last line of the job has arrived.
#
# Lines that begin with $NONCE are for the program, everything else is output of commands. The nonce is new in every job
# and never exported, so that no output can pass for a mark. (Commands run without it in argv or environment.)
# At the end, for certbot: where it comes as a snap, Debian's beside it would renew the same certificates a second time.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin
LC_ALL=C.UTF-8
DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1
export PATH LC_ALL DEBIAN_FRONTEND APT_LISTCHANGES_FRONTEND NEEDRESTART_SUSPEND
umask 022
STEP='' WHY='' EVIDENCE='' UNDO='' HELD='' ROLLBACK='' FILES=0 TOUCHED='' ADDED='' RETURNED='' SPACE_MIN_KIB=102400
# Starting a program costs more than its answer. So it is asked for all at once, and again only after a change of ours:
# systemd for UNITS, dpkg for PACKAGES, the file system for the modes of PATHS. PROVEN is a recipe's own.
UNITS='' SAID='' PACKAGES='' RECORDS='' PATHS='' MODES='' PROVEN=''
# shellcheck disable=SC2034  # recipes read PROVEN
changed() { SAID='' RECORDS='' MODES='' PROVEN=''; }
NL='
'

mark() { printf '%s %s\n' "$NONCE" "$*"; }
fact() { mark fact "$@"; }

# fail CODE SENTENCE: ends the job; `finish` puts our files back. What the command in EVIDENCE prints belongs to the reason.
fail() { [ -z "$EVIDENCE" ] || "$EVIDENCE" >&2 || :; mark fail "$@"; exit 1; }

# because CLAUSE: what a check found instead of what should be. It fails.
because() { WHY=$1; return 1; }

# run COMMAND...: its line, its output (both streams, each with its own mark, for they travel apart) and its exit code.
# What stderr says after the last mark is why a job failed; so a command that went well ends with one more.
run() {
  running "$@"
  RC=0; "$@" </dev/null 9>&- || RC=$?
  ran
}
running() { mark cmd "$*"; printf '%s\n' "$NONCE" >&2; }
ran() { changed; [ "$RC" != 0 ] || printf '%s\n' "$NONCE" >&2; mark rc "$RC"; return "$RC"; }

# sheltered COMMAND...: like `run`, for dpkg, which must not be cut in the middle. In a session of its own and without the
# job's sign in its environment it is not ended with the job: it finishes what it began. When the link is gone its output
# goes on into nothing instead of breaking it with SIGPIPE.
sheltered() {
  running "$@"
  tmp
  [ -p "$TMP/out" ] || mkfifo "$TMP/out" "$TMP/err"
  apart tee -p /dev/null <"$TMP/out" 9>&- & OUT_PID=$!
  apart tee -p /dev/null <"$TMP/err" >&2 9>&- & ERR_PID=$!
  apart "$@" </dev/null >"$TMP/out" 2>"$TMP/err" 9>&- &
  RC=0; wait $! || RC=$?
  wait "$OUT_PID" "$ERR_PID"
  ran
}
apart() { exec env -u LAMPLIGHTER_JOB setsid -w "$@"; }

# step ID CHECK CHANGE: already right, or changed and right when checked again, or the job fails.
step() {
  STEP=$1
  mark step "$1" running
  if "$2"; then mark step "$1" ok; STEP=''; return 0; fi
  "$3"
  WHY=''
  if ! "$2"; then fail step_failed "The change was made, but the server still does not show it${WHY:+: $WHY}."; fi
  mark step "$1" changed
  STEP=''
}

# why COMMAND...: what it says is the reason of the failure that follows.
why() { printf '%s\n' "$NONCE" >&2; "$@" >&2 || :; }

# check ID CHECK: a step that only checks; CHECK itself reports what is wrong.
check() { STEP=$1; mark step "$1" running; "$2"; mark step "$1" ok; STEP=''; }
skip() { mark step "$1" skipped; }

# on_undo COMMAND...: words without spaces; the last one noted is undone first.
on_undo() { UNDO="$*$NL$UNDO"; }
undo() {
  while read -r words; do
    # shellcheck disable=SC2086  # words are ours and split here on purpose
    [ -z "$words" ] || $words >/dev/null 2>&1
  done <<UNDO_LIST
$UNDO
UNDO_LIST
}

finish() {
  rc=$?
  trap '' HUP INT TERM PIPE; trap - EXIT; set +e
  if [ "$rc" != 0 ]; then
    mark time "$(date +%s%3N)"
    [ -z "$STEP" ] || mark step "$STEP" failed
    undo
    # One word for the program and a sentence for people.
    [ -z "$ROLLBACK" ] || { fact stands "${ROLLBACK%% *}"; mark rollback "${ROLLBACK#* }"; }
  fi
  [ -z "${TMP:-}" ] || rm -rf "$TMP"
  [ -z "$HELD" ] || drop_bundle
  [ "$rc" != 0 ] || mark end
  exit "$rc"
}

# begin: for jobs that change something. Two of them on one server would trip over each other.
begin() {
  set -eu
  trap finish EXIT; trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 141' PIPE; trap 'exit 143' TERM
  [ -w /run ] || fail not_root "This needs root, but it ran as $(id -un)."
  exec 9>/run/lamplighter-provision.lock
  flock -w 30 9 || fail job_running 'Another job of Lamplighter is changing this server.'
  HELD=yes
  for left in /run/lamplighter-job.*; do [ ! -e "$left" ] || rm -rf "$left"; done # of jobs that were killed
  if [ -n "${DEBS:-}" ]; then take_bundle; else drop_bundle; fi
}
# A folder for this job alone, made when it is needed. Until then TMP is not set at all, so that nothing can mean "/…".
tmp() { [ -n "${TMP:-}" ] || TMP=$(mktemp -d /run/lamplighter-job.XXXXXX); }

check_system() {
  [ -d /run/systemd/system ] || fail no_systemd 'This server was not started by systemd.'
  [ -r /etc/os-release ] || fail not_debian 'This server does not say which system it is (no /etc/os-release).'
  # shellcheck source=/dev/null
  OS=$(. /etc/os-release; printf '%s %s' "${ID:-}" "${ID_LIKE:-}")
  case " $OS " in *' debian '* | *' ubuntu '*) ;; *) fail not_debian "This server runs ${OS% }, which is neither Debian nor Ubuntu." ;; esac
  command -v apt-get >/dev/null || fail not_debian 'This server has no apt-get.'
}

# --- files ---------------------------------------------------------------------------------------------------------

# file_is PATH MODE OWNER:GROUP CONTENT
file_is() {
  { [ -f "$1" ] && mode_of "$1"; } || { because "$1 is no file"; return 1; }
  [ "$VALUE" = "$2:$3" ] || { because "$1 has the mode and owners $VALUE, and not $2:$3"; return 1; }
  [ "$(cat "$1")" = "$4" ] || because "$1 has another text"
}
# mode_of PATH: sets VALUE to mode and owners, like 644:root:root.
mode_of() {
  case " $PATHS " in *" $1 "*) ;; *) PATHS="$PATHS $1" MODES='' ;; esac
  # shellcheck disable=SC2086  # a list of paths of ours
  [ -n "$MODES" ] || MODES=$NL$(stat -c '%n %a:%U:%G' $PATHS 2>/dev/null || :)$NL
  VALUE=${MODES#*"$NL$1 "}
  [ "$VALUE" != "$MODES" ] || return 1
  VALUE=${VALUE%%"$NL"*}
}

# put_file PATH MODE OWNER:GROUP CONTENT: written beside and renamed, so that the old or the new text is there at any
# moment; what was there before comes back when the job fails.
put_file() {
  fresh=${1%/*}/.${1##*/}.lamplighter-new
  rm -f "$fresh"
  if ! { (umask 077; printf '%s\n' "$4" | cat >"$fresh") && chown "$3" "$fresh" && chmod "$2" "$fresh" && sync -d "$fresh"; }; then
    rm -f "$fresh"; fail write_failed "$1 cannot be written."
  fi
  keep "$1"
  # Whoever ran with the file as it was runs with another one from here on, even if this job dies.
  grep -lsF "  $1" "$APPLIED"/* | xargs -r rm -f
  mv -T "$fresh" "$1"
  TOUCHED=yes; changed
  echo "written: $1"
}

keep() {
  FILES=$((FILES + 1))
  tmp
  if [ -e "$1" ] || [ -L "$1" ]; then cp -a "$1" "$TMP/$FILES"; fi
  on_undo put_back "$FILES" "$1"
}
put_back() {
  if [ -e "$TMP/$1" ] || [ -L "$TMP/$1" ]; then
    cp -a "$TMP/$1" "${2%/*}/.${2##*/}.lamplighter-new" && mv -T "${2%/*}/.${2##*/}.lamplighter-new" "$2"
  else rm -f "$2"; fi
}

# --- packages ------------------------------------------------------------------------------------------------------

# package NAME: is it installed? Sets VALUE to its version, without epoch and revision.
package() {
  case " $PACKAGES " in *" $1 "*) ;; *) PACKAGES="$PACKAGES $1" RECORDS='' ;; esac
  # shellcheck disable=SC2086  # a list of packages
  [ -n "$RECORDS" ] || RECORDS=$NL$(dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' $PACKAGES 2>/dev/null || :)$NL
  VALUE=${RECORDS#*"$NL$1 installed "}
  if [ "$VALUE" = "$RECORDS" ]; then
    state=${RECORDS#*"$NL$1 "}
    if [ "$state" = "$RECORDS" ]; then state='not there'; else state=${state%% *}; fi
    because "dpkg calls the package $1 $state"; return 1
  fi
  VALUE=${VALUE%%"$NL"*}; VALUE=${VALUE#*:}; VALUE=${VALUE%%[-+]*}
}
installed() { for name; do package "$name" || return 1; done; }

# Who holds one of apt's locks: /proc/locks has their inode numbers (fuser is not on every server).
lock_holder() {
  for file in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock; do
    inode=$(stat -c %i "$file" 2>/dev/null) || continue
    while read -r _ _ _ mode pid where _; do
      case $mode:${where##*:} in WRITE:"$inode")
        read -r name 2>/dev/null <"/proc/$pid/comm" || name='a process'
        echo "$name (process $pid)"; return 0 ;;
      esac
    done </proc/locks
  done
  return 1
}

wait_dpkg_lock() {
  waited=0
  while holder=$(lock_holder); do
    [ "$waited" -lt 120 ] || fail dpkg_locked "$holder has held the package system for two minutes."
    [ $((waited % 10)) != 0 ] || echo "waiting for the package system: $holder holds it"
    sleep 1; waited=$((waited + 1))
  done
}

# From a bundle: DEBS is the SHA-256 of the tar whose parts lie in BROUGHT/DEBS, or "none" when no package is lacking; empty
# where this server's own sources are asked. apt is told of that folder on its command line alone (FROM, words without spaces): its
# own sources, lists and caches stay as they are, and it has nobody to ask outside.
BROUGHT=/var/cache/lamplighter-bundle FROM=''
only_from() { # DIR: in DIR/repo lie Packages and the files it names
  mkdir -p "$1/lists/partial" "$1/archives/partial" && echo "deb [trusted=yes] file:$1/repo ./" >"$1/sources.list" || return 1
  FROM="-o Dir::Etc::SourceList=$1/sources.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$1/lists \
    -o Dir::Cache::Archives=$1/archives -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Default-Release= \
    -o APT::Sandbox::User=root -o Acquire::Languages=none"
  # shellcheck disable=SC2086  # words
  run apt-get $FROM -q update
}
take_bundle() {
  wait_dpkg_lock # apt may still be at work for a job that was cut off
  parts=$BROUGHT/$DEBS
  for left in "$BROUGHT"/*; do [ "$left" = "$parts" ] || rm -rf "$left"; done
  mkdir -p "$BROUGHT/repo" || fail write_failed "$BROUGHT cannot be written."
  if [ "$DEBS" = none ]; then : >"$BROUGHT/repo/Packages"
  else
    sum=$(cat "$parts"/[0-9]* 2>/dev/null | sha256sum)
    [ "${sum%% *}" = "$DEBS" ] || fail bundle_missing "The packages of the bundle did not arrive on this server: they have the SHA-256 ${sum%% *} there."
    cat "$parts"/[0-9]* | tar -xf - -C "$BROUGHT/repo" --no-same-owner --no-same-permissions || fail write_failed "$BROUGHT cannot be written."
    rm -rf "$parts"
  fi
  only_from "$BROUGHT" || fail apt_failed 'The list of the bundle cannot be read.'
}
# Not from under an apt that goes on after its job: the next job takes the rest away.
drop_bundle() { [ ! -e "$BROUGHT" ] || lock_holder >/dev/null || rm -rf "$BROUGHT"; }

# apt itself waits too: between our check and its start another process may come first. confold: a question about a changed
# configuration file is answered with "keep it".
apt() {
  # shellcheck disable=SC2086  # words
  sheltered apt-get $FROM -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 -o Acquire::Retries=2 -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold --no-install-recommends "$@"
}

# shellcheck disable=SC2086  # words
candidate() { apt-cache $FROM policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '^(none)$'; }

apt_install() {
  free=$(free_below /var/cache/apt/archives)
  [ "${free:-$SPACE_MIN_KIB}" -ge "$SPACE_MIN_KIB" ] || fail disk_full "Only $free KiB are free on this server's disk; installing packages needs $SPACE_MIN_KIB."
  wait_dpkg_lock
  # An installation that was broken off earlier (dpkg's word for it: interrupted) is finished first. One that cannot be
  # finished and is not ours is no matter where ours goes well.
  if [ -n "$(dpkg --audit 2>/dev/null)" ] || [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then
    sheltered dpkg --force-confdef --force-confold --configure -a || echo "An earlier, broken-off installation cannot be finished$(unfinished)."
  fi
  updated=''
  for package; do
    if ! candidate "$package" >/dev/null; then
      [ -n "$updated" ] || apt_update
      updated=1
      candidate "$package" >/dev/null || {
        no_pin "$package"
        [ -z "$UPDATE_FAILED" ] || fail apt_failed "The package lists cannot be read anew, and those of this server have no package $package."
        fail package_missing "The package sources of this server have no package $package."
      }
    fi
  done
  # The download can be cut at any time, so a job is rarely stopped in the sheltered part.
  if ! fetch "$@"; then
    [ -z "$updated" ] || fail apt_failed "The packages cannot be fetched: $*."
    # Old lists name versions that the mirror does not have any more.
    apt_update
    fetch "$@" || { unmet "$@" >&2; fail apt_failed "The packages cannot be fetched: $*."; }
  fi
  note_new "$@"
  apt install "$@" || {
    if installed "$@"; then echo "These are installed; what else apt had to do failed$(unfinished)."; return 0; fi
    left=$(unfinished)
    packages_back >/dev/null 2>&1 # its words are not the reason
    fail apt_failed "The packages cannot be installed: $*$left. What was installed of them was taken back."
  }
}
# KiB that are free where this folder is or would be; nothing when df does not know.
free_below() {
  dir=$1
  while [ -n "$dir" ] && [ ! -d "$dir" ]; do dir=${dir%/*}; done
  df -Pk "${dir:-/}" 2>/dev/null | sed -n '2s/ *[0-9]*%.*//;2s/.* //p'
}
# What dpkg has begun and not ended, as the end of a sentence.
unfinished() {
  # shellcheck disable=SC2016  # fields of dpkg
  dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n '/^\(installed\|config-files\|not-installed\) /!s/\([^ ]*\) \(.*\)/\2 is \1/p' |
    head -n 5 | paste -sd ',' | sed 's/,/, /g;s/./: &/'
}
# Why apt finds no way to install these.
# shellcheck disable=SC2086  # words
unmet() { apt-get $FROM -s -q --no-install-recommends install "$@" 2>/dev/null | grep -F ' : Depends: ' || :; }
# no_pin PACKAGE: a source has it, but the server's own preferences forbid every version.
no_pin() {
  # shellcheck disable=SC2086  # words
  versions=$(apt-cache $FROM policy "$1" 2>/dev/null | sed -n 's/^  *\([0-9][^ ]*\) -[0-9]*$/\1/p' | paste -sd ' ')
  [ -z "$versions" ] || fail package_barred "The package sources have the package $1 ($versions), but this server's preferences forbid it: $(grep -lsE '^ *Pin-Priority: *-' /etc/apt/preferences /etc/apt/preferences.d/* | paste -sd ' ')."
}
# One source of somebody else that is dead does not matter where the others have what is wanted.
UPDATE_FAILED=''
apt_update() { apt update || { UPDATE_FAILED=yes; echo 'Not all package lists could be read anew.'; }; }
# What apt would install anew: ADDED, and RETURNED where an earlier removal has left settings.
note_new() {
  # shellcheck disable=SC2086  # words
  for name in $(apt-get $FROM -s -q --no-install-recommends install "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\) (.*/\1/p'); do
    # dpkg remembers names of which nothing is left, too.
    case $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || :) in
      config-files) RETURNED="$RETURNED $name" ;;
      *) ADDED="$ADDED $name" ;;
    esac
  done
}
# packages_back: what this job has installed goes, with its services.
# shellcheck disable=SC2086  # lists of packages
packages_back() {
  # All at once: some of either may need some of the other.
  [ -z "$RETURNED" ] || sheltered dpkg --remove $RETURNED $ADDED || :
  [ -z "$ADDED" ] || sheltered dpkg --purge $ADDED || :
  ADDED='' RETURNED=''
}
# shellcheck disable=SC2086  # words
fetch() { run apt-get $FROM -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 --no-install-recommends --download-only install "$@"; }

# --- services ------------------------------------------------------------------------------------------------------

# said UNIT PROPERTY: sets VALUE to what systemd says of it: a paragraph for each of UNITS, in their order.
said() {
  case " $UNITS " in *" $1 "*) ;; *) UNITS="$UNITS $1"; SAID='' ;; esac
  # shellcheck disable=SC2086  # a list of units
  [ -n "$SAID" ] || SAID=$(TZ=UTC systemctl show -p ActiveState,UnitFileState,FragmentPath,MainPID,NRestarts $UNITS || :)
  rest=$SAID$NL$NL
  for unit in $UNITS; do
    [ "$unit" != "$1" ] || break
    rest=${rest#*"$NL$NL"}
  done
  VALUE=$NL${rest%%"$NL$NL"*}$NL
  case $VALUE in *"$NL$2="*) VALUE=${VALUE#*"$NL$2="}; VALUE=${VALUE%%"$NL"*} ;; *) VALUE='' ;; esac
}
enabled() { said "$1" UnitFileState; [ "$VALUE" = enabled ] || because "systemd calls $1 ${VALUE:-unknown}, and not enabled"; }
# A unit that reloads runs meanwhile.
active() { said "$1" ActiveState; case $VALUE in active | reloading) ;; *) because "systemd calls $1 ${VALUE:-unknown}, and not active" ;; esac; }
active_now() { SAID=''; active "$1"; }

# What a unit has read is known by the hashes of its files when it was last started or reloaded from here. Their times say
# nothing: a clock was wrong, a backup was unpacked.
APPLIED=/var/lib/lamplighter-applied
# applied UNIT FILE...: it has just been started or reloaded with these.
applied() {
  TOUCHED=''; unit=$1; shift
  { mkdir -p "$APPLIED" && sha256sum "$@" >"$APPLIED/.$unit" 2>/dev/null; mv -f "$APPLIED/.$unit" "$APPLIED/$unit"; } || fail write_failed "$APPLIED cannot be written."
}
# fresh UNIT FILE...: it runs, and with these files as they are.
fresh() {
  active "$1" || return 1
  [ -r "$APPLIED/$1" ] || { because "it is not known what $1 was started with"; return 1; }
  unit=$1; shift
  for file; do shift; [ ! -e "$file" ] || set -- "$@" "$file"; done
  [ $# = 0 ] || ! sha256sum "$@" | grep -qvxF -f "$APPLIED/$unit" || because "$unit was started before one of these was changed: $*"
}

# "CLIENT CLIENT_PORT SERVER SERVER_PORT" of this connection: sudo takes it out of the environment, so it is looked for among
# our ancestors.
connection() {
  if [ -n "${SSH_CONNECTION:-}" ]; then echo "$SSH_CONNECTION"; return 0; fi
  pid=$$
  while [ "${pid:-0}" -gt 1 ]; do
    tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p' | grep . && return 0
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
  done
  return 0
}

# The blocks in ALLOW, "controller" being the address that this connection comes from. False when that is not known: an empty
# list would let in everybody.
guests() {
  case " $ALLOW " in
    *' controller '*) from=$(connection | sed 's/[ %].*//'); [ -n "$from" ] || return 1 ;;
  esac
  for guest in $ALLOW; do
    if [ "$guest" = controller ]; then echo "$from"; else echo "$guest"; fi
  done | awk '!seen[$0]++' | tr '\n' ' '
}

# listener PORT: who listens there, as "name (process N)"; nothing when nobody does. A name says little, for containers and
# GitLab bring an nginx of their own: only the one of nginx.service is called so, and anybody else is told before it.
listener() {
  said nginx.service MainPID; main=$VALUE
  [ "$main" != 0 ] || main=none
  ss -Hltnp "sport = :$1" 2>/dev/null | {
    ours=''
    while read -r who; do
      case $who in *'users:(("'*) ;; *) continue ;; esac
      who=${who#*'users:(("'}; pid=${who#*'",pid='}; pid=${pid%%,*}
      case ${who%%'"'*} in
        nginx)
          if [ "$pid" = "$main" ] || grep -qsx "PPid:[[:space:]]*$main" "/proc/$pid/status"; then ours="nginx (process $pid)"; continue; fi
          echo "an nginx that is not the service nginx.service (process $pid)" ;;
        *) echo "${who%%'"'*} (process $pid)" ;;
      esac
      exit 0
    done
    [ -z "$ours" ] || echo "$ours"
  }
}
