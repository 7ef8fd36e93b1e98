# site-sums: hash, renewal and link of each file in SITES ("NAME HASH LINEAGE", with commas between); the text of those with another hash.

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
  for site; do
    name=${site%% *} known=${site#* } lineage=${site##* } sum=- VALUE=-
    known=${known% *}
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
  printf '%s' "$told" | base64 -w 4000 | while read -r piece; do mark text sums "$piece"; done
  mark step site_sums ok
  mark end
}
