"""A child (`agent/child.py`) that ends as its order says: "quit", by itself; "crash", by a signal; "wait", when it is
ended."""

import json
import os
import signal
import sys

how = json.loads(sys.stdin.readline())
print(how, flush=True)
if how == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if how == "wait":
    sys.stdin.read()
