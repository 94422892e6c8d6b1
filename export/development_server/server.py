"""A model behind gRPC and REST ports, in this process."""

from export.development_server import grpc_api
from export.development_server.loaded_model import ServedModel
from export.development_server.rest_api import RestServer

_GRACE_SECONDS = 5.0


class DevelopmentServer:
    """Serves from its making until `stop`; also a context manager."""

    def __init__(self, model: ServedModel, host: str = "127.0.0.1", port: int = 0, rest_port: int = 0):
        """Opens both ports, any free one for 0.

        Raises:
          ServingError: a port is taken.
        """
        self._host = f"[{host}]" if ":" in host else host
        self._model = model
        self._rest = RestServer(model, host, rest_port)
        try:
            self._grpc, self._grpc_port = grpc_api.start(model, host, port)
        except BaseException:
            self._rest.stop(_GRACE_SECONDS)
            raise

    @property
    def address(self) -> str:
        """HOST:PORT of gRPC."""
        return f"{self._host}:{self._grpc_port}"

    @property
    def rest_url(self) -> str:
        """The model's address over REST."""
        return f"http://{self._host}:{self._rest.port}/v1/models/{self._model.name}"

    def stop(self) -> None:
        """Takes no more requests, lets those under way end for some seconds, and closes the ports."""
        stopped = self._grpc.stop(_GRACE_SECONDS)
        self._rest.stop(_GRACE_SECONDS)
        stopped.wait()

    def __enter__(self) -> "DevelopmentServer":
        return self

    def __exit__(self, *_):
        self.stop()
