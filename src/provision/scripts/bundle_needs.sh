# bundle-needs: which packages of a bundle this server would have to get to have what it lacks. Values: INDEX (the bundle's
# Packages, base64), LACKS (programs, as bundle-ask tells them). Changes nothing and needs no root: apt only reckons, in a
# folder that is gone at the end. Text `needs`: a line each, name and version.

check_needs() {
  DIR=$(mktemp -d "${TMPDIR:-/tmp}/lamplighter-bundle.XXXXXX") || fail write_failed 'No folder can be made in /tmp.'
  trap 'rm -rf "$DIR"' EXIT; trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM
  { mkdir "$DIR/repo" && printf '%s' "$INDEX" | base64 -d >"$DIR/repo/Packages"; } || fail write_failed "$DIR cannot be written."
  only_from "$DIR" || fail apt_failed 'The list of the bundle cannot be read.'
  set --
  for program in $LACKS; do
    case $program in
      glances:wheels) set -- "$@" python3-venv ;;
      glances:*)
        # shellcheck disable=SC2046  # a list of packages
        if version=$(candidate glances); then set -- "$@" glances $(web_packages "$version")
        elif [ "$program" = glances:auto ]; then set -- "$@" python3-venv
        else fail glances_no_package 'The bundle has no package glances.'; fi ;;
      *) set -- "$@" "$program" ;;
    esac
  done
  # shellcheck disable=SC2086  # words
  if ! reckoned=$(apt-get $FROM -s -q -o Debug::NoLocking=1 --no-install-recommends install "$@" 2>&1); then
    printf '%s\n' "$reckoned" | grep -E '^E: | : Depends: ' >&2
    fail bundle_unfit "The bundle does not have all that this server needs for: $*."
  fi
  printf '%s\n' "$reckoned" | sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\{0,1\}(\([^ )]*\).*/\1 \3/p' |
    base64 -w 4000 | while read -r piece; do mark text needs "$piece"; done
}

main() {
  set -u
  check bundle_needs check_needs
  mark end
}
