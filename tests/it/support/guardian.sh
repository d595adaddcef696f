# shellcheck shell=sh
# Cleans up after a test process, however it ends: its standard input is a pipe from that process, and
# the pipe's end is the process's end. Until then it takes lines "watch SIGNAL:PID" and "forget SIGNAL:PID".
# $1: the scratch directory to remove.
trap '' INT HUP
watched=' '
while read -r verb entry; do
    case $verb in
        watch) watched="$watched$entry " ;;
        forget) case $watched in *" $entry "*) watched="${watched%%" $entry "*} ${watched#*" $entry "}" ;; esac ;;
    esac
done
for entry in $watched; do
    kill -s "${entry%%:*}" "${entry#*:}"
done
for entry in $watched; do
    tries=0
    while [ "$tries" -lt 50 ] && kill -0 "${entry#*:}"; do
        sleep 0.1
        tries=$((tries + 1))
    done
done
rm -rf -- "$1"
