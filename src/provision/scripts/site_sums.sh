# site-sums: hash, renewal and link of each file in SITES ("NAME HASH LINEAGE PATH BODY PORT", with commas between); the text of
# those with another hash; and how those with a proof (PATH, BODY) answer here.

# ask_inside NAME PATH BODY PORT...: for each a word, in one process: proved, other, refused or silent. Port 80 has every proof.
# shellcheck disable=SC2016  # for bash
ask_inside() {
  timeout 20 bash -c '
    at=$1 request=$2 nl=$3; shift 3; trap "" PIPE
    for ((; $#; )); do
      said=refused
      if { exec 3<>"/dev/tcp/$at/80"; } 2>/dev/null; then
        said=silent all=
        printf "$request" "$2" "$1" >&3
        IFS= read -r -t 5 -d "" -n 65536 -u 3 all
        all=${all%"$nl"}
        [ -z "$all" ] || said=other
        [ "${all##*"$nl"}" != "$3" ] || said=proved
        exec 3>&-
        if [ $said = proved ] && [ "$4" = 443 ]; then { exec 3<>/dev/tcp/$at/443 && exec 3>&-; } 2>/dev/null || said=refused; fi
      fi
      echo $said; shift 4
    done' bash "$ADDRESS" "$REQUEST" "$NL" "$@" 2>/dev/null
}

# Facts: `moved`: what site-follow would change; `lost`: names that do not resolve, whose last addresses stay.
check_names() {
  moved='' lost=''
  if [ -f "$RESOLVER_CONF" ] && [ "$(cat "$RESOLVER_CONF")" != "$(resolver_conf)" ]; then moved="$RESOLVER_CONF"; fi
  for file in "$TARGETS_DIR"/*.conf; do
    [ -f "$file" ] || continue
    target=${file##*/} target=${target%.conf}
    if text=$(target_text "$target"); then [ "$(cat "$file")" = "$text" ] || moved="$moved $file"; else lost="$lost ${target%%:*}"; fi
  done
  [ -z "$moved" ] || fact moved "${moved# }"
  [ -z "$lost" ] || fact lost "${lost# }"
}

main() {
  set -uf
  mark step site_sums running
  cd /etc/nginx/sites-available 2>/dev/null || cd /
  IFS=,; n=0 files='' told=''
  for site in $SITES; do files="$files,${site%% *}.conf"; done
  # One process for all of them; what cannot be read has no line.
  # shellcheck disable=SC2086  # names without blanks
  all=$(sha256sum -- ${files#,} 2>/dev/null)
  # shellcheck disable=SC2086  # the same
  set -- $SITES; unset IFS
  asked='' inside=''
  for site; do
    # shellcheck disable=SC2086  # words without globs
    set -- $site
    [ "$4" = - ] || asked="$asked $1 $4 $5 $6"
  done
  if [ -n "$asked" ]; then
    # shellcheck disable=SC2046  # words
    set -- $(connection | head -n 1)
    ADDRESS=${3:-127.0.0.1}; ADDRESS=${ADDRESS#::ffff:}
    case $ADDRESS in *:*) ADDRESS=127.0.0.1 ;; esac
    fact address "$ADDRESS"
    said nginx.service ActiveState; fact nginx_state "${VALUE:-unknown}"
    # shellcheck disable=SC2086  # words without globs
    words=$(ask_inside $asked)
  fi
  IFS=,
  # shellcheck disable=SC2086  # the same as above
  set -- $SITES; unset IFS
  for site; do
    # shellcheck disable=SC2086  # words without globs
    set -- $site
    name=$1 known=$2 lineage=$3 sum=- VALUE=-
    word=-
    # Whom time was left for has a word.
    if [ "$4" != - ]; then word=${words%%"$NL"*}; words=${words#"$word"}; words=${words#"$NL"}; fi
    inside="$inside${word:-silent}$NL"
    [ "$lineage" = - ] || renewal_fault "$lineage"
    case $NL$all$NL in *"  $name.conf$NL"*) sum=${all%%"  $name.conf"*} sum=${sum##*"$NL"} ;; esac
    link=/etc/nginx/sites-enabled/$name.conf aim=no
    # shellcheck disable=SC3013  # the sh of Debian and Ubuntu has it
    if [ -L "$link" ] && [ "$link" -ef "$name.conf" ]; then aim=yes
    elif [ -L "$link" ] && [ ! -e "$link" ]; then aim=no
    elif [ -L "$link" ]; then aim=$(readlink "$link")
    elif [ -e "$link" ]; then aim=$link; fi
    told="$told$sum $VALUE $aim$NL"
    if [ "$known" != - ] && [ "$sum" != - ] && [ "$known" != "$sum" ] && [ "$(stat -Lc %s "$name.conf")" -le 65536 ]; then
      mark text "live_$n" ''
      base64 -w 4000 "$name.conf" | while read -r piece; do mark text "live_$n" "$piece"; done
    fi
    n=$((n + 1))
  done
  [ -z "$asked" ] || printf '%s' "$inside" | base64 -w 4000 | while read -r piece; do mark text inside "$piece"; done
  set +f
  check_names
  printf '%s' "$told" | base64 -w 4000 | while read -r piece; do mark text sums "$piece"; done
  mark step site_sums ok
  mark end
}
