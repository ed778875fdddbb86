"""A page in headless Chromium, driven over a pipe: nothing but the standard library. And a server of a folder."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUIET = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """The browser's path, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Page:
    """The first tab of a browser. Commands go out on one pipe and answers come in on another, each ended by a zero byte."""

    def __init__(self, out: int, into: int) -> None:
        self.out, self.into, self.held = out, into, b""
        self.number, self.session = 0, ""
        self.said: list[str] = []  # what the page logs, and what went wrong in it
        self.asked: list[str] = []  # addresses that it fetched
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.command(f"{domain}.enable")
        self.command("Emulation.setDeviceMetricsOverride", width=1180, height=800, deviceScaleFactor=1, mobile=False)

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def message(self) -> dict[str, Any]:
        while b"\0" not in self.held:
            part = os.read(self.into, 1 << 20)
            assert part, "the browser has ended"
            self.held += part
        text, _, self.held = self.held.partition(b"\0")
        message = json.loads(text)
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.said.append(message["params"]["exceptionDetails"].get("exception", {}).get("description", "?"))
            case "Log.entryAdded":
                self.said.append(message["params"]["entry"]["text"])
        return message

    def open(self, address: str, ready: str, seconds: float = 60) -> None:
        """Load a page and wait until an expression is true."""
        self.command("Page.navigate", url=address)
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({ready})"):
            assert time.monotonic() < end, (self.said, self.run("document.body.innerText"))
            time.sleep(0.05)

    def run(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        answer = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, path: Path) -> Path:
        whole = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(whole["data"]))
        return path


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Page]:
    """A fresh browser, ended afterwards."""
    path = found()
    assert path is not None
    down, up = os.pipe(), os.pipe()  # to the browser, which reads from its 3, and from it: it writes to its 4
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [path, "--headless", "--no-sandbox", *QUIET.split(), *flags, "--remote-debugging-pipe"]
        plumbing = f'exec "$@" 3<&{down[0]} 4>&{up[1]}'  # sh knows only descriptors of one digit
        process = subprocess.Popen(
            ["bash", "-c", plumbing, "bash", *words, f"--user-data-dir={profile}"],
            pass_fds=(down[0], up[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(down[0])
        os.close(up[1])
        try:
            yield Page(down[1], up[0])
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(down[1])
            os.close(up[0])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, on this machine only."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
