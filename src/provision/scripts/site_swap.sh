# The swap of a site: shown to nginx before it is live, with the rollback on disk before the first change.
#
# $UNDO_DIR holds that rollback while a change is unproved: "list" (what to do about which path) and "revert" (does it).
# What was there before lies beside itself as .NAME.lamplighter-old, a hard link: going back takes no space on the disk.
# Three things run "revert": this job when it fails; a process that waits for this job's lock, which the kernel frees
# however the job ends; and a unit before nginx.service when the server starts again.

CERTS=/etc/lamplighter/certs PAIRS=/etc/lamplighter/pairs
UNDO_DIR=/var/lib/lamplighter-undo # not below a folder that a daemon of ours may own: root runs what is in it
BOOT_UNIT=/etc/systemd/system/lamplighter-undo.service
BOOT_LINK=/etc/systemd/system/nginx.service.wants/lamplighter-undo.service
ROLLBACK_ARMED='' BEFORE='' ROLLBACK='untouched The site was not touched.'

# --- the rollback ---------------------------------------------------------------------------------------------------

check_site_healed() { [ ! -e "$UNDO_DIR" ] && [ ! -e "$UNDO_DIR.done" ] && [ ! -e "$UNDO_DIR.new" ]; }
heal() {
  if [ -e "$UNDO_DIR" ]; then
    echo 'An earlier job ended here before its change was proved: what it left is put back.'
    WORKERS=$(workers)
    run sh "$UNDO_DIR/revert" || fail step_failed 'What an earlier job has left cannot be put back.'
    let_go
    fact healed yes
  fi
  disarm_half
  forget_undo
}

# will_change PATH...: notes how each of them is put back. Before anything changes.
will_change() {
  for path; do
    old=${path%/*}/.${path##*/}.lamplighter-old
    rm -f "$old"
    how=gone
    if [ -e "$path" ] || [ -L "$path" ]; then how=back; fi
    # The note first: whoever cleans up must know of the link.
    echo "$how $path" >>"$UNDO_DIR.new/list" || no_room "$UNDO_DIR.new/list"
    [ "$how" = gone ] || ln -P "$path" "$old" || no_room "$old"
  done
}
# private PATH: a folder for root alone, in one that is not.
private() { [ -d "$1" ] || { mkdir -p "${1%/*}" && mkdir -m 700 "$1"; } || no_room "$1"; }

arm() { # PATH...
  rm -rf "$UNDO_DIR.new"
  on_undo disarm_half
  private "$UNDO_DIR.new"
  cat >"$UNDO_DIR.new/revert" <<'REVERT' || no_room "$UNDO_DIR.new"
# Puts the sites of nginx back as they were before a change that nobody has proved. Twice is as good as once.
PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8; export PATH LC_ALL
undo=/var/lib/lamplighter-undo
[ -e "$undo/list" ] || exit 0
while read -r how path; do
  old=${path%/*}/.${path##*/}.lamplighter-old
  rm -f "${old%old}new"
  case $how in
    # What was not changed yet is the same file by two names, and mv leaves both.
    back)
      if [ -e "$old" ] || [ -L "$old" ]; then
        if [ "$(stat -c %d:%i "$old")" = "$(stat -c %d:%i "$path" 2>/dev/null)" ]; then rm -f "$old"; else mv -fT "$old" "$path"; fi
      fi ;;
    gone) rm -f "$path" ;;
  esac
done <"$undo/list"
sync /etc/nginx/sites-available /etc/nginx/sites-enabled
# At the start of the server nginx is not there yet; it reads the old files when it comes. Without waiting: while the server
# goes down, systemd would wait for our session and we for systemd.
[ "${1:-}" = boot ] || boot=no
set --; while read -r word; do set -- "$@" "$word"; done <"$undo/nginx"
if [ "${boot:-}" = no ] && "$@" -t; then systemctl --no-block reload nginx.service; fi
rm -f /etc/systemd/system/nginx.service.wants/lamplighter-undo.service /etc/systemd/system/lamplighter-undo.service
rmdir /etc/systemd/system/nginx.service.wants 2>/dev/null
rm -rf "$undo"
REVERT
  # shellcheck disable=SC2086  # words
  printf '%s\n' "$NGINX" $NGINX_ARGS >"$UNDO_DIR.new/nginx"
  will_change "$@"
  mkdir -p "${BOOT_LINK%/*}" || no_room "${BOOT_LINK%/*}"
  cat >"$BOOT_UNIT" <<'UNIT' || no_room "$BOOT_UNIT"
# Written by Lamplighter for as long as a change of a site is not proved.
[Unit]
Description=Put an unproved nginx site of Lamplighter back
Before=nginx.service
RequiresMountsFor=/var/lib /etc/nginx

[Service]
Type=oneshot
ExecStart=-/bin/sh /var/lib/lamplighter-undo/revert boot
UNIT
  ln -sf "$BOOT_UNIT" "$BOOT_LINK" || no_room "$BOOT_LINK"
  sync "$UNDO_DIR.new/list" "$UNDO_DIR.new/revert" "$BOOT_UNIT" "${BOOT_LINK%/*}" "$AVAILABLE" "$ENABLED"
  on_undo put_site_back
  # Not in our session: it outlives us, and the connection. It waits for our lock, and only then looks whether there is
  # anything to be put back.
  # shellcheck disable=SC2016  # for the shell inside
  run systemd-run --quiet --collect --unit="lamplighter-undo-${TMP##*.}" --property=Restart=no \
    flock /run/lamplighter-provision.lock sh -c '[ ! -e "$0" ] || sh "$0"' "$UNDO_DIR/revert" || fail step_failed 'The rollback cannot be watched.'
  ROLLBACK_ARMED=yes
  mv -T "$UNDO_DIR.new" "$UNDO_DIR"
  sync "${UNDO_DIR%/*}"
}
check_site_armed() { [ -n "$ROLLBACK_ARMED" ]; }

# A rollback that was not finished is none, and nothing was changed yet.
disarm_half() {
  [ -d "$UNDO_DIR.new" ] || return 0
  [ ! -e "$UNDO_DIR.new/list" ] || while read -r _ path; do rm -f "${path%/*}/.${path##*/}.lamplighter-old"; done <"$UNDO_DIR.new/list"
  rm -rf "$UNDO_DIR.new" "$BOOT_LINK" "$BOOT_UNIT"; rmdir "${BOOT_LINK%/*}" 2>/dev/null || :
}

# The change is proved: from the first line on nobody goes back.
keep_site() {
  # In this order on the disk, too: a power cut must not bring a rollback that was closed.
  sync "$AVAILABLE" "$ENABLED"
  mv -T "$UNDO_DIR" "$UNDO_DIR.done"
  sync "${UNDO_DIR%/*}"
  ROLLBACK_ARMED='' KEPT=yes ROLLBACK=''
  forget_undo
}
check_site_kept() { [ -n "${KEPT:-}" ] || [ -z "$ROLLBACK_ARMED" ]; }
forget_undo() {
  [ ! -e "$UNDO_DIR.done/list" ] || while read -r _ path; do rm -f "${path%/*}/.${path##*/}.lamplighter-old"; done <"$UNDO_DIR.done/list"
  rm -f "$BOOT_LINK" "$BOOT_UNIT"
  rmdir "${BOOT_LINK%/*}" 2>/dev/null || :
  rm -rf "$UNDO_DIR.done" "$UNDO_DIR.new"
}

# check_before NAME...: the first of these sites that answers as its file says; the rollback must lead there.
check_before() {
  for site; do
    proof=$(proof_in "$AVAILABLE/$site.conf")
    # shellcheck disable=SC2086  # path and body
    if [ "${proof#* }" != "$proof" ] && proves "$site" $proof; then BEFORE="$site $proof"; return 0; fi
  done
}

# By `finish` of a job that fails. Tells how it went in ROLLBACK.
put_site_back() {
  [ -n "$ROLLBACK_ARMED" ] && [ -e "$UNDO_DIR" ] || return 0
  if ! nginx_takes_back; then
    if [ -n "$REPLACED" ]; then ROLLBACK='red The old file was put back. nginx did not take it before either; what ran before goes on running.'
    else ROLLBACK='red The files were put back, but nginx cannot read its configuration: another file is faulty now. What ran before goes on running; repair that file.'; fi
  elif gone_back; then
    if [ -n "$BEFORE" ]; then ROLLBACK='back Everything was put back, and the site that was there before answers again.'
    else ROLLBACK='empty Everything was put back: nothing of the new site is left.'; fi
  else ROLLBACK='stuck The files were put back and nginx was told to reload, but it does not answer as it did before: the server needs a person.'; fi
}
nginx_takes_back() { WORKERS=$(workers); sh "$UNDO_DIR/revert"; nginx -t; }
gone_back() {
  active_now nginx.service || return 1
  let_go
  tries=0
  while [ "$tries" -lt 100 ]; do
    # shellcheck disable=SC2086  # path and body
    if [ -n "$BEFORE" ]; then proves $BEFORE && return 0
    elif ! proves "$NAME" "${PROOF:-/}" "${PROOF_BODY:--}" && { [ -z "${FIRST_PROOF:-}" ] || ! proves "$NAME" "$FIRST_PROOF" "$FIRST_BODY"; }; then return 0; fi
    sleep 0.05; tries=$((tries + 1))
  done
  return 1
}

# --- before -------------------------------------------------------------------------------------------------------

# The new folders must be green, and nobody else may answer for NAME. $1: how the sentence begins.
stage_judge() {
  if ! stage_test -T; then
    ! grep -qF 'could not build server_names_hash' "$TMP/said" ||
      fail site_red "This server's nginx is not set up for so long a name: server_names_hash_bucket_size 128 is missing in the http block of /etc/nginx/nginx.conf."
    place=$(blame "$TMP/said")
    case ${place%:*} in
      "$ENABLED"/* | "$AVAILABLE"/*) file=${place%:*}; file=$STAGE/available/${file##*/} ;;
      *) file=${place%:*} ;;
    esac
    fail site_red "$1${place:+ Line $place: “$(line_of "$place" "$file")”.}"
  fi
  if [ -n "${NAME:-}" ] && grep -qF "conflicting server name \"$NAME\"" "$TMP/said"; then
    no_others
    fail foreign_site "Another file on this server answers for $NAME already."
  fi
}
# By the last dump.
no_others() {
  who=$(others "$NAME" "$TMP/dump" "$ENABLED/$NAME.conf" "$ENABLED/${OLD_NAME:-$NAME}.conf" | paste -sd ' ')
  [ -z "$who" ] || fail foreign_site "Another file on this server answers for $NAME already: $who."
}

# expected NAME HASH: the file is the one the plan saw (empty: none).
expected() {
  sum=$(file_sum "$AVAILABLE/$1.conf")
  [ "$sum" = "${2:--}" ] || fail site_changed "$AVAILABLE/$1.conf was changed by somebody since the plan was made."
  ours "$1"
}
# What stands in sites-enabled under our name is our link or nothing.
ours() {
  state=$(link_state "$1")
  case $state in yes | no) ;; *) fail foreign_site "$ENABLED/$1.conf is not Lamplighter's link: it is or points to $state." ;; esac
}

# --- the swap -------------------------------------------------------------------------------------------------------

# put_in_place PATH FILE: FILE's bytes as PATH, at once.
put_in_place() {
  ! cmp -s "$1" "$2" || return 0
  fresh=${1%/*}/.${1##*/}.lamplighter-new
  on_undo rm -f "$fresh"
  rm -f "$fresh"
  { cp "$2" "$fresh" && chmod 644 "$fresh" && sync -d "$fresh" && mv -fT "$fresh" "$1"; } || no_room "$1"
  echo "written: $1"
}
# link_in_place PATH AIM
link_in_place() {
  [ "$(readlink "$1" || :)" != "$2" ] || return 0
  fresh=${1%/*}/.${1##*/}.lamplighter-new
  on_undo rm -f "$fresh"
  { ln -sfn "$2" "$fresh" && mv -fT "$fresh" "$1"; } || no_room "$1"
  echo "linked: $1"
}

# --- our default ----------------------------------------------------------------------------------------------------

# wish_default: after `will_be`: what is to be done with it, in DEFAULT: put, drop or nothing.
DEFAULT=''
wish_default() {
  if [ "$HAD" = "$KEYS" ]; then return 0; fi
  if [ -z "$KEYS" ]; then DEFAULT=drop; return 0; fi
  case $KEYS in *:443*) rejects_handshakes || default_pair ;; esac
  DEFAULT=put
  default_conf >"$TMP/default"
}
default_pair() {
  [ ! -s "$DEFAULT_PAIR.crt" ] || [ ! -s "$DEFAULT_PAIR.key" ] || return 0
  on_undo rm -f "$DEFAULT_PAIR.crt" "$DEFAULT_PAIR.key"
  (umask 077; run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=nobody \
    -keyout "$DEFAULT_PAIR.key" -out "$DEFAULT_PAIR.crt") || fail step_failed 'openssl cannot make a certificate.'
}
stage_default() {
  case $DEFAULT in
    put) cp "$TMP/default" "$STAGE/conf.d/${DEFAULT_CONF##*/}" ;;
    drop) rm -f "$STAGE/conf.d/${DEFAULT_CONF##*/}" ;;
  esac
}
put_default() {
  case $DEFAULT in
    put) put_in_place "$DEFAULT_CONF" "$TMP/default" ;;
    drop) rm -f "$DEFAULT_CONF"; echo "removed: $DEFAULT_CONF" ;;
  esac
}
# After the change is kept: nginx has been reloaded with it.
default_loaded() {
  [ -n "$DEFAULT${FOLLOWED:-}" ] || return 0
  case "$KEYS" in *:443*) ;; *) rm -f "$DEFAULT_PAIR.crt" "$DEFAULT_PAIR.key" ;; esac
  applied_nginx
}

# The configuration is live: once more as a whole, for others write there too; then nginx is told.
go() {
  if ! nginx_says -t; then
    place=$(blame "$TMP/said")
    fail site_red "The configuration became faulty while the site was put there.${place:+ Line $place: “$(line_of "$place" "${place%:*}")”.}"
  fi
  heed_log
  WORKERS=$(workers)
  run systemctl reload nginx.service || {
    why journalctl --no-pager -o cat -n 5 -u nginx.service
    fail nginx_not_running 'nginx does not take the new configuration.'
  }
}
# What nginx has logged as a reason since it was told; it reloads on its own time.
refusal() { new_in_log | grep -qF '[emerg]'; }

# wait_until COMMAND...: up to 10 s, or until nginx says why not.
wait_until() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    if [ "$tries" = 150 ] || refusal; then return 1; fi
    sleep 0.05
  done
}

# --- after ----------------------------------------------------------------------------------------------------------

# sweep_pairs NAME PAIR: uploaded certificates of NAME but this one.
sweep_pairs() {
  [ -n "$2" ] || rm -f "$CERTS/$1"
  for pair in "$PAIRS/$1".*; do
    # A name may be another's beginning: what follows the last dot is the hash.
    [ "${pair%.*}" != "$PAIRS/$1" ] || [ "$pair" = "$2" ] || rm -rf "$pair"
  done
}
# Nobody serves NAME any more, so renewing its lineages would fail for ever. Only ours, and only where nobody else uses them;
# nginx itself has the last word.
sweep_lineages() {
  [ -n "$(lineages_of "$1")" ] || return 0
  : >"$TMP/dump"
  if command -v nginx >/dev/null && ! nginx_says -T; then
    echo "The certificates that certbot keeps for $1 are left: nginx does not accept its configuration, so nobody can say who uses them."
    return 0
  fi
  for lineage in $(lineages_of "$1"); do
    user=$(user_of "$lineage" "$1")
    if [ -z "$user" ]; then drop_lineage "$lineage"
    else echo "certbot's $lineage is left: $user uses it. certbot cannot renew it over this server's port 80 any more."; fi
  done
}
drop_lineage() {
  kept=$TMP/lineage
  (umask 077; rm -rf "$kept"; mkdir -p "$kept/live" "$kept/archive" "$kept/renewal")
  for place in "live/$1" "archive/$1" "renewal/$1.conf"; do
    [ ! -e "$LINEAGES/$place" ] || cp -a "$LINEAGES/$place" "$kept/$place" || return 0
  done
  run certbot delete -n --cert-name "$1" || { echo "certbot cannot delete $1; it will try to renew it in vain."; return 0; }
  ! command -v nginx >/dev/null || nginx_says -t || {
    for place in "live/$1" "archive/$1" "renewal/$1.conf"; do cp -a "$kept/$place" "$LINEAGES/$place"; done
    echo "nginx needs certbot's $1: it was put back."
  }
}
