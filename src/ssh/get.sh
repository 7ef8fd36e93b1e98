set -eu
[ -f "$FILE" ] || exit 44
head -c "$MAX" -- "$FILE" | base64
