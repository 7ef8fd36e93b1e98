# Which container engines are on this server, where their sockets are, and whether this user may use them.

# engine NAME SOCKET...: the first socket that may be used, else the first that is there.
engine() {
  name=$1 found=''
  shift
  command -v "$name" >/dev/null && fact "$name" yes
  for socket; do
    [ -S "$socket" ] || continue
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
