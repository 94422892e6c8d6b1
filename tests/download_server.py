"""A server of files on this machine, with faults on order; archives of what one likes."""

import contextlib
import hashlib
import http.server
import re
import threading
import time
import zipfile


class Server:
    """Serves `files` by name; `faults` are taken one a request: functions of the handler that answer in its place."""

    def __init__(self):
        self.files, self.faults, self.asked = {}, [], []
        self.tags, self.parts = {}, True
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                owner.asked.append((self.path, self.headers.get("Range")))
                fault = owner.faults.pop(0) if owner.faults else None
                (fault or owner.answer)(self)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler, cut=None, length=None, pause=0.0):
        """The file, or a part of it; only `cut` bytes of what is announced, or with another length in the header."""
        name = handler.path.lstrip("/")
        if name not in self.files:
            handler.send_error(404)
            return
        content, tag = self.files[name], self.tags.get(name, f'"{hashlib.md5(self.files[name]).hexdigest()}"')
        asked, start = handler.headers.get("Range"), 0
        if asked and self.parts and handler.headers.get("If-Range") == tag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                handler.send_response(416)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        rest = content[start:]
        handler.send_header("Content-Length", str(len(rest) if length is None else length))
        handler.send_header("ETag", tag)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(rest[:cut])
            handler.wfile.flush()
            time.sleep(pause)
        if cut is not None or length is not None:
            handler.close_connection = True

    def cutting(self, cut, **more):
        return lambda handler: self.answer(handler, cut, **more)

    def failing(self, code):
        return lambda handler: handler.send_error(code)


def archive_of(path, members):
    """An archive of names to contents; a name may be a ZipInfo."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path
