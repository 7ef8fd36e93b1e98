# What nginx says of its configuration: as it is, and as it would be in folders that nobody else sees. And what to do where
# files of ours alone are at fault: nginx must not stay down, and nothing be refused, for a site of ours.

CONF_D=/etc/nginx/conf.d
OFF='' REPLACED='' WAITS=''

# nginx_says -t|-T: nginx on its configuration as it is; messages in $TMP/said, its text (-T) in $TMP/dump, which is not
# shown, for the files of others may hold anything.
nginx_says() {
  running nginx "$1"
  RC=0; nginx "$1" >"$TMP/dump.new" 2>"$TMP/said" </dev/null 9>&- || RC=$?
  [ "$1" = -t ] || mv "$TMP/dump.new" "$TMP/dump"
  cat "$TMP/said" >&2
  ran
}

# The folders as they will be: copies, changed by the job before `stage_test`.
stage_begin() {
  STAGE=$TMP/stage
  rm -rf "$STAGE"; mkdir "$STAGE"
  { stage_copy "$AVAILABLE" available && stage_copy "$ENABLED" enabled && stage_copy "$CONF_D" conf.d; } || no_room "$STAGE"
  if [ -d "${CERTS:-}" ]; then cp -a "$CERTS" "$STAGE/certs"; fi
}
stage_copy() { mkdir "$STAGE/$2" && { [ ! -d "$1" ] || cp -a "$1/." "$STAGE/$2"; }; }
no_room() { fail write_failed "$1 cannot be written."; }

# stage_test -t|-T: nginx with the new folders where the old ones are: in a mount namespace of its own, so that every path,
# include and message is the real one and nobody else sees them. Where a container may not do that, in a copy of /etc/nginx
# whose paths are rewritten. Messages in $TMP/said, its text (-T) in $TMP/dump; the caller judges.
stage_test() {
  running nginx "$1"
  RC=0; staged "$1" >"$TMP/dump.new" 2>"$TMP/said" || RC=$?
  case $RC in
    0 | 121) fact tested namespace ;;
    *) RC=0; copied "$1" || RC=$?; fact tested copy ;;
  esac
  [ "$1" = -t ] || mv "$TMP/dump.new" "$TMP/dump"
  cat "$TMP/said" >&2
  ran
}
# shellcheck disable=SC2016,SC2086  # for the shell inside; words
staged() {
  unshare -m sh -c '
    put() { [ ! -d "$1" ] || mount --bind "$1" "$2" || exit 120; }
    put "$1/available" /etc/nginx/sites-available; put "$1/enabled" /etc/nginx/sites-enabled; put "$1/conf.d" /etc/nginx/conf.d
    put "$1/certs" /etc/lamplighter/certs
    what=$2; shift 2
    "$@" "$what" || exit 121' sh "$STAGE" "$1" "$NGINX" $NGINX_ARGS </dev/null 9>&-
}
COPY_MAX_KIB=65536 # nobody has so much text; /run is memory
copied() {
  COPY=$TMP/copy
  [ "$(du -skL /etc/nginx 2>/dev/null | cut -f 1)" -le "$COPY_MAX_KIB" ] || { echo '/etc/nginx is too large to be copied for the test.' >"$TMP/said"; return 1; }
  rm -rf "$COPY"; mkdir "$COPY"
  cp -rL /etc/nginx/. "$COPY/" 2>/dev/null || : # a link to nothing is not copied
  case $NGINX_MAIN in /etc/nginx/nginx.conf) ;; *) cp "$NGINX_MAIN" "$COPY/nginx.conf" || return 1 ;; esac
  rm -rf "$COPY/sites-available" "$COPY/sites-enabled" "$COPY/conf.d"; mkdir "$COPY/sites-enabled"
  { cp -rL "$STAGE/available" "$COPY/sites-available" && cp -rL "$STAGE/conf.d" "$COPY/conf.d"; } || return 1
  for file in "$STAGE/enabled"/*; do
    case $(readlink "$file" || :) in
      "$AVAILABLE"/*) aim=$(readlink "$file"); aim=$STAGE/available/${aim##*/} ;;
      *) aim=$file ;;
    esac
    [ ! -e "$aim" ] || cp -rL "$aim" "$COPY/sites-enabled/${file##*/}" || return 1
  done
  find "$COPY" -type f -exec sed -i "s|/etc/nginx/|$COPY/|g;s|/etc/lamplighter/certs/|$STAGE/certs/|g" {} +
  RC=0; nginx "$1" -c "$COPY/nginx.conf" >"$TMP/copied" 2>"$TMP/copied.said" </dev/null 9>&- || RC=$?
  real_paths "$TMP/copied" >"$TMP/dump.new"; real_paths "$TMP/copied.said" >"$TMP/said"
  return "$RC"
}
real_paths() { sed "s|$COPY/|/etc/nginx/|g;s|$STAGE/certs/|/etc/lamplighter/certs/|g" "$1"; }

# --- faults of our own ----------------------------------------------------------------------------------------------

# nginx's words for why it does not take it, without their head.
emerg() { sed -n 's/.*\[emerg\] *\([0-9#]*: \)\{0,1\}//p' "$TMP/said" | head -n 1 | cut -c 1-300; }

# is_own FILE: a link of sites-enabled to a file that begins with our mark, or a file of ours in conf.d. One that this job
# is about goes by its name: MINE, or NAME and OLD_NAME.
is_own() {
  name=${1##*/} name=${name%.conf}
  case $1 in
    "$CONF_D"/lamplighter*.conf) [ "$1" != "$NGINX_CONF" ] || [ "$(cat "$STAGE/conf.d/lamplighter.conf" 2>/dev/null)" != "$(nginx_conf)" ] ;;
    "$ENABLED"/*.conf)
      { [ -L "$1" ] && [ -L "$STAGE/enabled/$name.conf" ]; } || return 1
      case " ${MINE:-} ${NAME:-} ${OLD_NAME:-} " in *" $name "*) return 0 ;; esac
      [ "$(link_state "$name")" = yes ] && head -n 1 "$1" | grep -q '^# lamplighter domain=[0-9]' ;;
    *) return 1 ;;
  esac
}
# The file of ours, still in the stage, that the messages in $TMP/said are about: by its place, or by a path they quote.
own_fault() {
  place=$(blame "$TMP/said")
  if is_own "${place%:*}"; then echo "${place%:*}"; return 0; fi
  quoted=$(emerg | sed -n 's|^[^"]*"\(/[^"]*\)".*|\1|p')
  [ -n "$quoted" ] || return 0
  if is_own "$quoted"; then echo "$quoted"; return 0; fi
  for file in "$ENABLED"/*.conf "$CONF_D"/lamplighter*.conf; do
    if grep -qsF -- "$quoted" "$file" && is_own "$file"; then echo "$file"; return 0; fi
  done
}
leave_out() {
  case $1 in
    "$NGINX_CONF") nginx_conf >"$STAGE/conf.d/lamplighter.conf" ;;
    "$CONF_D"/*) rm -f "$STAGE/conf.d/${1##*/}" ;;
    *) rm -f "$STAGE/enabled/${1##*/}" ;;
  esac
}
# The configuration as it is, but for files of ours that nginx does not take: those are in OFF, each with nginx's reason. Our
# common file is put right by deploy-proxy, and what is being replaced by this very job.
sound() {
  OFF=''
  if nginx_says -T; then return 0; fi
  stage_begin
  while file=$(own_fault); [ -n "$file" ]; do
    name=${file##*/} name=${name%.conf}
    case $name:$file in
      *:"$NGINX_CONF") WAITS=yes ;;
      "${NAME:--}:"* | "${OLD_NAME:--}:"*) if active nginx.service; then REPLACED=yes; else OFF="$OFF$file $(emerg)$NL"; fi ;;
      *) OFF="$OFF$file $(emerg)$NL" ;;
    esac
    leave_out "$file"
    if stage_test -T; then return 0; fi
  done
  OFF=''
  return 1
}
check_sound() {
  sound || {
    place=$(blame "$TMP/said")
    fail nginx_red "The server's nginx configuration was already faulty before anything was changed.${place:+ Line $place: “$(line_of "$place" "${place%:*}")”.}"
  }
}

# A service that was stopped by a person is left so; one that failed is started again.
failed() { said "$1" ActiveState; [ "$VALUE" = failed ]; }
check_mended() { [ -z "$OFF" ] && { [ -n "$WAITS" ] || ! failed nginx.service; }; }
# Nobody can be served from them. A site's text stays in sites-available; a file in conf.d is made anew by whoever needs it.
mend() {
  count=0
  while read -r file reason; do
    [ -n "$file" ] || continue
    count=$((count + 1))
    rm -f "$file"
    echo "switched off: $file"
    fact "off_$count" "$file $reason"
  done <<OFF_LIST
$OFF
OFF_LIST
  OFF=''; changed
  if [ -n "$WAITS" ]; then return 0; fi
  if active nginx.service; then WORKERS=$(workers); reload_nginx; let_go; return 0; fi
  failed nginx.service || return 0
  run systemctl reset-failed nginx.service || :
  run systemctl start nginx.service || {
    why journalctl --no-pager -o cat -n 5 -u nginx.service
    fail nginx_not_running 'nginx does not start.'
  }
}

# --- what is read ---------------------------------------------------------------------------------------------------

# probe: would nginx read a file of ours in conf.d and one in sites-enabled, each once? An upstream of one name twice is an
# error to it, while its dump shows a file once however often it is read. Sets SITES_READ; or CODE and WHY.
probe() {
  tmp
  if [ -s "$TMP/dump" ]; then cp "$TMP/dump" "$TMP/dump.real"; else nginx -T >"$TMP/dump.real" 2>/dev/null </dev/null 9>&- || :; fi
  RC=0; probe_read || RC=1
  mv "$TMP/dump.real" "$TMP/dump"
  return "$RC"
}
probe_read() {
  SITES_READ=yes
  probe_test || return 1
  if is_read "$PROBE"; then return 0; fi
  SITES_READ=no
  probe_test || return 1
  if ! is_read "$PROBE"; then unread "$PROBE"; return 1; fi
  sed -n 's|^# configuration file \(/etc/nginx/sites-enabled/.*\):$|\1|p' "$TMP/dump" >"$TMP/reads"
  while read -r file; do
    if [ "$file" = "$PROBE" ] || is_own "$file" || grep -qxF "# configuration file $file:" "$TMP/dump.real"; then continue; fi
    CODE=nginx_not_read WHY="nginx does not read /etc/nginx/sites-enabled. With an include line of Lamplighter’s it would begin to read $file, which is not ours: move that file away, or add “$OUR_INCLUDE” to the http block of $NGINX_MAIN yourself."
    return 1
  done <"$TMP/reads"
}
PROBE=$ENABLED/lamplighter-probe.conf
probe_test() {
  stage_begin
  { nginx_conf; echo 'upstream lamplighter_probe_conf { server 127.0.0.1:9; }'; } >"$STAGE/conf.d/lamplighter.conf"
  echo 'upstream lamplighter_probe_site { server 127.0.0.1:9; }' >"$STAGE/enabled/${PROBE##*/}"
  if stage_test -T >/dev/null; then
    if is_read "$NGINX_CONF"; then return 0; fi
    unread "$NGINX_CONF"
    return 1
  fi
  case $(emerg) in
    *'"lamplighter_probe_site"'*) read_twice sites-enabled ;;
    *'"lamplighter_probe_conf"'*) read_twice conf.d ;;
    *) CODE=nginx_red WHY="nginx does not take a file of Lamplighter’s: $(emerg)." ;;
  esac
  return 1
}
is_read() { grep -qxF "# configuration file $1:" "$TMP/dump"; }
unread() { CODE=nginx_not_read WHY="nginx ($NGINX) does not read ${1%/*}/*.conf: no include line in the http block of $NGINX_MAIN leads there."; }
read_twice() {
  CODE=nginx_read_twice
  WHY=$(awk -v dir="$1/" '
    /^# configuration file \/.*:$/ { file = substr($0, 22, length($0) - 22); next }
    /^[ \t]*include[ \t]/ && index($0, dir) { sub(/^[ \t]+/, ""); sub(/;.*/, ";"); print file ": " $0 }' "$TMP/dump.real" | head -n 5 | paste -sd ',' | sed 's/,/, /g')
  WHY="nginx reads the files of /etc/nginx/$1 twice: $WHY."
}
check_nginx_reads() {
  if probe; then return 0; fi
  case $CODE in
    nginx_read_twice) fail nginx_read_twice "$WHY" ;;
    nginx_red) fail nginx_red "$WHY It was taken back." ;;
    *) fail nginx_not_read "$WHY" ;;
  esac
}

step_nginx_before() {
  if ! has_nginx; then skip nginx_before; skip nginx_mended; return 0; fi
  tmp
  check nginx_before check_sound
  step nginx_mended check_mended mend
}
