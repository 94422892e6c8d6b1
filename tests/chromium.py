"""Drives headless Chromium over its DevTools protocol through a pipe; needs no driver and no package."""

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import time

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe --window-size=1280,800"
).split()
_KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Backspace": 8, "Enter": 13}
_PATIENCE = 30


class Chromium:
    """One browser with one page; a context manager.

    Attributes:
      errors: what the page's console and policy complained of.
      requests: addresses that the page asked for, data and blob addresses aside.
    """

    def __init__(self, folder: pathlib.Path):
        """Takes a folder for the profile; downloads go to its `downloads`."""
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True, exist_ok=True)
        self.errors, self.requests = [], []
        self._number, self._buffer, self._session = 0, b"", None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The protocol wants to be file descriptors 3 and 4; a shell puts them there.
        script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, PROGRAM, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def __enter__(self):
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(_PATIENCE)
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, **parameters) -> dict:
        """A command of the protocol; gives its result."""
        self._number += 1
        number, message = self._number, {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _receive(self) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], _PATIENCE)
            assert ready, "Chromium does not answer."
            read = os.read(self._in, 1 << 20)
            assert read, "Chromium has ended."
            self._buffer += read
        first, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(first)

    def _note(self, event: dict) -> None:
        method, parameters = event.get("method"), event.get("params")
        if method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"]["text"])
        elif method == "Network.requestWillBeSent":
            address = parameters["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)

    def open(self, address: str) -> None:
        """Loads a page and waits until it is there."""
        # A mark that is gone when the new document is there, also where it has the address of the old one.
        self.run("window.earlier = true")
        self.call("Page.navigate", url=address)
        self.until("!window.earlier && document.readyState === 'complete'")

    def run(self, expression: str):
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits until an expression is true."""
        deadline = time.monotonic() + _PATIENCE
        while not self.run(expression):
            assert time.monotonic() < deadline, f"{expression} did not come true."
            time.sleep(0.02)

    def press(self, key: str, repeat: bool = False, modifiers: int = 0) -> None:
        """Presses and releases a key as a user does; `repeat`, as a held key goes on; modifiers: 1 Alt, 2 Control."""
        code = _KEYS.get(key) or ord(key.upper())
        text = {"text": "\r" if key == "Enter" else key} if (len(key) == 1 or key == "Enter") and not modifiers else {}
        shared = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", autoRepeat=repeat, **shared, **text
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def click(self, selector: str) -> None:
        """Clicks the middle of the first visible element that fits a selector."""
        x, y = self.run(
            f"""(() => {{
              const found = [...document.querySelectorAll({json.dumps(selector)})].find((e) => e.offsetParent);
              found.scrollIntoView({{ block: "center" }});
              const box = found.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def downloaded(self, count: int) -> list[pathlib.Path]:
        """Waits for as many whole downloads; gives their paths by name."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            files = sorted(self.downloads.iterdir())
            if len(files) >= count and not any(file.suffix == ".crdownload" for file in files):
                return files
            assert time.monotonic() < deadline, f"{[file.name for file in files]} instead of {count} downloads."
            time.sleep(0.05)

    def screenshot(self, path: pathlib.Path) -> None:
        """Writes what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
