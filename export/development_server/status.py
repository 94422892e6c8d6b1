"""How a served model says no: a code, and one sentence of bounded length."""

import grpc

from rgan_tf.runtime_messages import bounded, sentence_of

_SHOWN = 64
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class StatusError(Exception):
    """An answer other than OK: a gRPC status code and the sentence for the caller."""

    def __init__(self, code: grpc.StatusCode, message: str):
        """Takes the code, and the sentence, which is kept as `bounded` has it."""
        super().__init__(bounded(message))
        self.code = code

    @classmethod
    def invalid(cls, message: str) -> "StatusError":
        """The caller's fault, and nothing that trying again would mend."""
        return cls(grpc.StatusCode.INVALID_ARGUMENT, message)

    @classmethod
    def of_runtime(cls, code: int, message: str) -> "StatusError":
        """What TensorFlow's runtime raised; its error codes are gRPC's."""
        return cls(_CODES.get(code, grpc.StatusCode.UNKNOWN), sentence_of(message))


def shown(value) -> str:
    """A value of a request, as short as a sentence bears."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
