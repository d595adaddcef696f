"""Child processes that never outlive the run: a guardian kills them by pid, however this process ends."""

from __future__ import annotations

import subprocess
import threading

# Reads "watch PID", "forget PID" and "mount PATH"; its standard input ends when we do.
_GUARDIAN = r"""
trap '' INT HUP TERM
watched=' ' mounts=
while read -r verb what; do
    case $verb in
        watch) watched="$watched$what " ;;
        forget) case $watched in *" $what "*) watched="${watched%%" $what "*} ${watched#*" $what "}" ;; esac ;;
        mount) mounts="$mounts $what" ;;
    esac
done
for pid in $watched; do kill -s CONT "$pid"; kill -s QUIT "$pid"; done
[ "$watched" = "${watched#* [0-9]}" ] || sleep 1
for pid in $watched; do kill -s KILL "$pid"; done
for path in $mounts; do umount -l "$path"; done
"""


class Guardian:
    """Watches over processes and mounts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell = subprocess.Popen(
            ["sh", "-c", _GUARDIAN],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            text=True,
        )

    def watch(self, pid: int) -> None:
        self._tell(f"watch {pid}")

    def forget(self, pid: int) -> None:
        """To be called once the process has been waited for: its number may be somebody else's soon."""
        self._tell(f"forget {pid}")

    def mount(self, path: str) -> None:
        self._tell(f"mount {path}")

    def end(self) -> None:
        """Kills what is still there."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait()

    def _tell(self, line: str) -> None:
        assert self._shell.stdin is not None
        with self._lock:
            self._shell.stdin.write(line + "\n")
            self._shell.stdin.flush()
