# engines: as a part of check, alone. Changes nothing, needs no root.

main() {
  set -u
  check engines check_engines
  mark end
}
