# glances-source: where install-glances would take it from. Changes nothing. Values: SOURCE, BUNDLE.

check_way() {
  if glances_suits; then fact way there
  else case $SOURCE in wheels) fact way wheels ;; *) fact way "$(glances_next)" ;; esac; fi
}
main() {
  set -u
  check software check_way
  mark end
}
