"""Open pages: each one's scenes, back and forth, and what was drawn of them last."""

import collections
import secrets
import threading
from typing import Callable, NamedTuple, Optional

from export.studio.scene_editor import StudioScene
from rgan_tf.errors import UserError
from rgan_tf.scene_graph import SceneGraph
from rgan_tf.scene_requests import CandidatePatches, GeneratedScene

# Of a page's steps back, of the revisions whose graphs are known, and of pages; the oldest go.
_STEPS = 200
_GRAPHS = 50
_PAGES = 64


class SessionError(UserError):
    """A page that the studio does not know any more."""


class Drawn(NamedTuple):
    """A picture of a page: of which revision and scene, and what each object's patch was chosen from; `candidates` is
    None of a model that draws without patches."""

    revision: int
    scene: StudioScene
    answer: GeneratedScene
    candidates: Optional[list[CandidatePatches]]


class Session:
    """One open page. Its methods may be called from several threads.

    Attributes:
      changed: notified of whatever happens to it.
      ticket, busy: of `turns.Turns`.
      drawn, before: the newest picture, and the last one that looked otherwise.
    """

    def __init__(self, scene: StudioScene):
        """Starts at a scene."""
        self.changed = threading.Condition(threading.RLock())
        self.ticket, self.busy = 0, False
        self.drawn: Optional[Drawn] = None
        self.before: Optional[Drawn] = None
        self._past: collections.deque[StudioScene] = collections.deque(maxlen=_STEPS)
        self._future: list[StudioScene] = []
        self._scene, self._revision = scene, 0
        self._graphs = collections.OrderedDict({0: scene.graph})
        self._clicks: dict[str, int] = {}

    @property
    def present(self) -> tuple[int, StudioScene]:
        """The scene as it is now, and how often it was changed before."""
        with self.changed:
            return self._revision, self._scene

    @property
    def can(self) -> tuple[bool, bool]:
        """Whether there is something to undo, and to redo."""
        with self.changed:
            return bool(self._past), bool(self._future)

    def edit(self, change: Callable[[StudioScene], StudioScene]) -> bool:
        """Changes the scene as it is at this moment; whether anything changed. What `change` raises changes nothing."""
        with self.changed:
            scene = change(self._scene)
            if scene == self._scene:
                return False
            self._past.append(self._scene)
            self._future.clear()
            return self._become(scene)

    def clicks(self, button: str, count: int) -> int:
        """How often a button was clicked since this was last asked, by its count of all: pages merge quick ones."""
        with self.changed:
            more = count - self._clicks.get(button, 0)
            self._clicks[button] = max(count, self._clicks.get(button, 0))
            return max(0, more)

    def graph_at(self, revision: int) -> Optional[SceneGraph]:
        """The scene graph of a revision, as a page may still show it; None of one long ago."""
        with self.changed:
            return self._graphs.get(revision)

    def undo(self) -> bool:
        """Back by an edit, where there is one."""
        with self.changed:
            if not self._past:
                return False
            self._future.append(self._scene)
            return self._become(self._past.pop())

    def redo(self) -> bool:
        """Forth again by an edit that was undone."""
        with self.changed:
            if not self._future:
                return False
            self._past.append(self._scene)
            return self._become(self._future.pop())

    def keep(self, drawn: Drawn) -> None:
        """Remembers a picture, and the one before it."""
        with self.changed:
            if self.drawn is not None and (self.drawn.answer.image != drawn.answer.image).any():
                self.before = self.drawn
            self.drawn = drawn

    def _become(self, scene: StudioScene) -> bool:
        self._scene, self._revision = scene, self._revision + 1
        self._graphs[self._revision] = scene.graph
        while len(self._graphs) > _GRAPHS:
            self._graphs.popitem(last=False)
        self.changed.notify_all()
        return True


class Sessions:
    """All open pages by name; the one that was not used for longest goes when there are too many."""

    def __init__(self, most: int = _PAGES):
        """Holds at most so many."""
        self._most, self._lock = most, threading.Lock()
        self._open: collections.OrderedDict[str, Session] = collections.OrderedDict()

    def create(self, scene: StudioScene) -> str:
        """Opens a page; its name cannot be guessed."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._open[name] = Session(scene)
            while len(self._open) > self._most:
                self._open.popitem(last=False)
        return name

    def get(self, name: str) -> Session:
        """An open page.

        Raises:
          SessionError: there is none of that name.
        """
        with self._lock:
            if name not in self._open:
                raise SessionError("The studio was started again since this page was opened; reload the page.")
            self._open.move_to_end(name)
            return self._open[name]
