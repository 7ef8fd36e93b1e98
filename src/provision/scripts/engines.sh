# Which container engines are on this server, where their sockets are, and whether this user may use them.

# engine NAME SOCKET...: the first socket that may be used, else the first that is there, or may be: in a folder that is closed
# to us nothing can be seen.
engine() {
  name=$1 found=''
  shift
  if command -v "$name" >/dev/null; then
    version=$("$name" --version 2>/dev/null | sed -n '1s/.*version \([0-9][^, ]*\).*/\1/p')
    fact "$name" "${version:-yes}"
  fi
  for socket; do
    if [ ! -S "$socket" ]; then
      folder=${socket%/*}
      [ ! -d "$folder" ] || [ -x "$folder" ] || [ -n "$found" ] || found=$socket
      continue
    fi
    if [ -r "$socket" ] && [ -w "$socket" ]; then
      fact "${name}_socket" "$socket"
      fact "${name}_access" yes
      return 0
    fi
    [ -n "$found" ] || found=$socket
  done
  [ -z "$found" ] || { fact "${name}_socket" "$found"; fact "${name}_access" no; }
}

check_engines() {
  own=/run/user/$(id -u)
  engine docker /run/docker.sock /var/run/docker.sock "$own/docker.sock"
  engine podman /run/podman/podman.sock "$own/podman/podman.sock"
}
