"""Who draws when: so many pictures at once, of one page never two, and always its newest scene."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Callable, Optional

from export.studio.scene_editor import StudioScene
from export.studio.sessions import Drawn, Session
from rgan_tf.errors import UserError

_PATIENCE = 30.0


class BusyError(UserError):
    """No place to draw became free in time."""


class Turns:
    """Places to draw, shared by all pages."""

    def __init__(self, places: int):
        """Lets so many draw at once."""
        self._places = threading.BoundedSemaphore(places)

    @contextlib.contextmanager
    def place(self, patience: float = _PATIENCE) -> Iterator[None]:
        """Work of a picture's size.

        Raises:
          BusyError: none of the places became free for so many seconds.
        """
        if not self._places.acquire(timeout=patience):
            raise BusyError("Others are drawing, and no place became free in half a minute; try again.")
        try:
            yield
        finally:
            self._places.release()

    def draw(self, session: Session, make: Callable[[int, StudioScene], Drawn]) -> Optional[Drawn]:
        """Draws a page's newest scene; None where a later call for the page does it instead.

        While one picture of a page is drawn, the last call waits, and the calls between give up: changes are merged.

        Args:
          session: of the page.
          make: draws a revision's scene.

        Raises:
          BusyError: see `place`.
        """
        with session.changed:
            session.ticket += 1
            mine = session.ticket
            session.changed.notify_all()
            while session.busy and session.ticket == mine:
                session.changed.wait()
            if session.ticket != mine:
                return None
            session.busy = True
            revision, scene = session.present
        try:
            if session.drawn is None or session.drawn.revision != revision:
                with self.place():
                    session.keep(make(revision, scene))
            return session.drawn
        finally:
            with session.changed:
                session.busy = False
                session.changed.notify_all()
