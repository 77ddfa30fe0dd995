"""Waits until a server answers: wait_http.py URL PID SECONDS [JSON-BODY]. Fails as soon as the process is gone."""

import os
import sys
import time
import urllib.error
import urllib.request


def answers(url, body):
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=20).read()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def main():
    url, pid, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    body = sys.argv[4].encode() if len(sys.argv) > 4 else None
    deadline = time.monotonic() + seconds
    while not answers(url, body):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.exit(f"the server of {url} (process {pid}) ended before it was ready")
        if time.monotonic() > deadline:
            sys.exit(f"no answer from {url} in {seconds:.0f} s")
        time.sleep(0.05)


main()
