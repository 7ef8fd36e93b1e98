set -eu
[ -e "$FILE" ] || exit 44
[ -f "$FILE" ]
exec <"$FILE"
head -c "$MAX" | base64
