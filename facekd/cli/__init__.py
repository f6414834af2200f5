"""The command line: one file per command; each parses, calls a workflow and prints."""

import signal
import threading

# Ctrl-C before `main` can handle it: the system ends the process at once, which a shell reports as 130, where
# Python would show a traceback
_mine = threading.current_thread() is threading.main_thread()
_usual = signal.signal(signal.SIGINT, signal.SIG_DFL) if _mine else None
try:
    from facekd.cli.main import main, run
finally:
    if _mine:
        signal.signal(signal.SIGINT, _usual)

__all__ = ["main", "run"]
