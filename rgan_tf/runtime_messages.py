"""What TensorFlow's runtime says, for people: the sentence of a failed assertion, without names of nodes."""

import re

# As long as the longest message of tensorflow/serving.
MAX_MESSAGE_BYTES = 1024
# The runtime puts what an assertion says in brackets, with quotation marks escaped, between lines about itself.
_ASSERTION = re.compile(r"assertion failed: \[(.*\.|.*)\]")
_ESCAPED = re.compile(r"""\\(["'\\])""")
_WRAPPING = re.compile(r"^(Graph execution error:|Detected at node .*|<stack traces unavailable>)$")
_NODE_NAMES = re.compile(r"\s*(\[\[|\[Op:|Encountered when executing).*$")


def sentence_of(message: str) -> str:
    """What the model itself says in a message of TensorFlow's runtime, without names of nodes and functions."""
    assertion = _ASSERTION.search(message)
    if assertion:
        return bounded(_ESCAPED.sub(r"\1", assertion[1]))
    lines = [_NODE_NAMES.sub("", line) for line in message.splitlines() if not _WRAPPING.match(line.strip())]
    return bounded(" ".join(line.strip() for line in lines if line.strip()) or "The model gave no reason.")


def bounded(message: str) -> str:
    """The message on one line, printable, encodable as UTF-8 and at most `MAX_MESSAGE_BYTES` long."""
    # A request may bring megabytes: no more of it is looked at than could be kept.
    kept = "".join(c if c.isprintable() else " " for c in message[: MAX_MESSAGE_BYTES + 1])
    encoded = kept.encode("utf-8", "replace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[: MAX_MESSAGE_BYTES - 3].decode("utf-8", "ignore") + "…"
