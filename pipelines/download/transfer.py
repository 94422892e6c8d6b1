"""One file over HTTP, gone on with where it broke off.

What has come lies in NAME.part; beside it NAME.part.json keeps what the server said of the file, so that the rest is
asked for only of the same one. `requests` does the talking.
"""

import hashlib
import json
import pathlib
import re
import time
from typing import Optional

import requests

from pipelines.download.catalogue import PublishedFile
from rgan_tf.errors import UserError
from rgan_tf.progress import progress_bar

_BLOCK = 2**20
_CONNECTING = 15.0
# Failed tries in a row, none of which came further than all before; the longest wait before the next one, in seconds.
_TRIES, _LONGEST_WAIT = 5, 60.0
# Answers that may be another one soon.
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class DownloadError(UserError):
    """A file that cannot be had; the message names it, its address and the mend."""


def fetch(file: PublishedFile, address: str, folder: pathlib.Path, stall: float, wait: float = 1.0) -> pathlib.Path:
    """Fetches a file, or the rest of it, and compares size and checksum.

    Args:
      file: what is expected.
      address: where to get it.
      folder: that it goes to.
      stall: seconds without a byte after which a transfer counts as broken.
      wait: seconds before a second try; twice as long before each further one.

    Returns:
      The whole file; one that was there already is not fetched again.

    Raises:
      DownloadError: it cannot be had, or is not what is expected.
    """
    whole = folder / file.name
    if whole.exists():
        return whole
    part, tries = folder / f"{file.name}.part", 0
    furthest = _size(part)
    while True:
        try:
            _fetch_rest(file, address, part, stall)
            break
        except (requests.exceptions.RequestException, _Busy) as error:
            tries = 0 if _size(part) > furthest else tries + 1
            furthest = max(furthest, _size(part))
            if tries >= _TRIES:
                raise DownloadError(
                    f"{file.name} cannot be had from {address}: {_reason(error)}. {_size(part):,} bytes of it are "
                    "kept; run the command again to go on, or name another place with --mirror."
                ) from error
            time.sleep(min(wait * 2**tries, _LONGEST_WAIT))
        except OSError as error:
            raise DownloadError(f"{part} cannot be written: {error.strerror}; what has come of it is kept.") from error
    _compare(file, address, part)
    part.rename(whole)
    _said(part).unlink(missing_ok=True)
    return whole


class _Busy(Exception):
    """An answer that may be another one soon."""


def _fetch_rest(file: PublishedFile, address: str, part: pathlib.Path, stall: float) -> None:
    """Appends what is missing; returns when the server has sent all that it announced."""
    start, known = _size(part), _known(part, address)
    headers = {"Accept-Encoding": "identity"}
    if start and known:
        headers.update({"Range": f"bytes={start}-", "If-Range": known})
    with requests.get(address, headers=headers, stream=True, timeout=(_CONNECTING, stall)) as answer:
        if answer.status_code == 416 and start == file.size:
            return
        if answer.status_code == 416:
            part.unlink()
            raise _Busy("the server has no such part of the file")
        if answer.status_code in _BUSY:
            raise _Busy(f"the server answered {answer.status_code} {answer.reason}")
        if answer.status_code not in (200, 206):
            raise DownloadError(
                f"{file.name}: {address} answered {answer.status_code} {answer.reason}; name another place with "
                "--mirror."
            )
        # A whole file in answer to a part's request: it changed, or the server knows no parts.
        start = start if answer.status_code == 206 else 0
        total = _announced(answer, start)
        if file.size is not None and total is not None and total != file.size:
            raise DownloadError(
                f"{file.name} has {total:,} bytes at {address} and {file.size:,} are expected; name another place with "
                "--mirror."
            )
        _said(part).write_text(json.dumps({"address": address, "validator": _validator(answer)}), encoding="utf-8")
        with (
            open(part, "ab") as out,
            progress_bar(total=total, initial=start, desc=file.name, unit="B", unit_scale=True) as bar,
        ):
            out.truncate(start)
            for block in answer.iter_content(_BLOCK):
                out.write(block)
                bar.update(len(block))
    if total is not None and _size(part) != total:
        raise _Busy(f"{_size(part):,} of {total:,} bytes came")


def _announced(answer: requests.Response, start: int) -> Optional[int]:
    """The whole file's size by an answer's headers."""
    if answer.status_code == 206:
        said = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", said)
        if not found or int(found[1]) != start:
            raise _Busy(f"the server sent {said or 'some part'} where bytes from {start} were asked for")
        return None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _validator(answer: requests.Response) -> str:
    """What tells this content from another; a weak tag does not tell by the byte."""
    tag = answer.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _known(part: pathlib.Path, address: str) -> str:
    """The validator of what lies in a part; empty where there is none for this address."""
    try:
        said = json.loads(_said(part).read_text(encoding="utf-8"))
        return said["validator"] if said["address"] == address else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _said(part: pathlib.Path) -> pathlib.Path:
    return part.with_name(f"{part.name}.json")


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, requests.exceptions.Timeout):
        return "no byte came for too long"
    return " ".join(str(error).split())[:200]


def _compare(file: PublishedFile, address: str, part: pathlib.Path) -> None:
    """Size and checksum of what has come; what differs is deleted."""
    fault = None
    if file.size is not None and _size(part) != file.size:
        fault = f"has {_size(part):,} bytes instead of {file.size:,}"
    elif file.checksum:
        algorithm, expected = file.checksum
        digest = hashlib.new(algorithm)
        with (
            open(part, "rb") as content,
            progress_bar(total=_size(part), desc=f"{algorithm} of {file.name}", unit="B", unit_scale=True) as bar,
        ):
            for block in iter(lambda: content.read(_BLOCK), b""):
                digest.update(block)
                bar.update(len(block))
        if digest.hexdigest() != expected:
            fault = f"has the {algorithm} {digest.hexdigest()} instead of {expected}"
    if fault:
        part.unlink()
        _said(part).unlink(missing_ok=True)
        raise DownloadError(
            f"{file.name} from {address} {fault}, and was deleted; run the command again, or name another place with "
            "--mirror."
        )
