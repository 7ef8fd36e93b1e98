# Runs one script in a session of its own; ends all of it when the client hangs up without a bye, or says nothing for so
# long. A client that says "here" is told so on stderr, where no line of a log is in the middle of being written.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; LC_ALL=C.UTF-8; export PATH LC_ALL
umask 022; cd /
IFS= read -r mark; IFS= read -r seconds; IFS= read -r size
printf '\n%s ready\n' "$mark"; printf '\n%s ready\n' "$mark" >&2
script=$(dd bs="$size" count=1 iflag=fullblock 2>/dev/null)
# Only a part of the mark is in the environment: a script that prints its own must not be able to say "end".
tag=${mark#????????????????}
{
  # Without what a shell's start-up files may have set for other shells, and for the language of messages.
  printf '%s\n' "$script" | LAMPLIGHTER_JOB=$tag env -u BASH_ENV -u ENV -u CDPATH -u LANGUAGE -u POSIXLY_CORRECT setsid -w /bin/sh -s
  rc=$?
  printf '\n%s end\n' "$mark" >&2
  printf '\n%s end %s\n' "$mark" "$rc"
} &
while word=$(timeout "$seconds" /bin/sh -c 'IFS= read -r word && printf %s "$word"'); do
  case $word in (bye) exit ;; (here) printf '\n%s here\n' "$mark" >&2 ;; (*) break ;; esac
done
ours() { grep -lsFzx "LAMPLIGHTER_JOB=$tag" /proc/[0-9]*/environ | cut -d/ -f3; }
# Each as a group as well: a child that changed its user has a clean environment but is still in its parent's group.
end() { for p; do kill -s "$signal" -- "-$p"; kill -s "$signal" "$p"; done 2>/dev/null; }
all=$(ours); tries=0
signal=TERM; end $all
# At least one more look: what was just being started has no environment of its own before.
while sleep 0.1; [ "$tries" -lt 30 ] && [ -n "$(ours)" ]; do tries=$((tries + 1)); done
signal=KILL; end $all $(ours)
wait
printf '\n%s gone\n' "$mark"
