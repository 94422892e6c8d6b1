"""Imports run one way: in no circle, and in the order that WORKSPACE.md states."""

import ast
import functools
import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
PACKAGES = ("rgan_tf", "pipelines", "export")


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))}


def imports_of(source: str, modules) -> set[str]:
    """Our modules that a source names, also in functions and for type checkers alone."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.update([whole] if whole in modules else [node.module] if node.module in modules else [])
    return found


@functools.lru_cache(maxsize=1)
def graph() -> dict[str, set[str]]:
    return {name: imports_of(path.read_text(), FILES) for name, path in FILES.items()}


def circle_in(edges: dict[str, set[str]]) -> list[str]:
    """The modules of a circle, in order; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :] + [name]
        if name in done:
            return []
        for other in sorted(edges[name]):
            found = visit(other, way + [name])
            if found:
                return found
        done.add(name)
        return []

    return next(filter(None, (visit(name, []) for name in sorted(edges))), [])


def stated_order() -> dict[str, int]:
    """Rooms of WORKSPACE.md's list of imports, each with the number of its line."""
    text = (REPOSITORY / "WORKSPACE.md").read_text()
    lines = re.findall(r"^    (\d+)  (.+)$", text[text.index("## Imports") :], re.MULTILINE)
    assert [int(number) for number, _ in lines] == list(range(1, len(lines) + 1))
    return {room: int(number) for number, rooms in lines for room in rooms.split()}


def line_of(module: str, order: dict[str, int]) -> int:
    """The number of the line that names the module, or the nearest package around it."""
    parts = module.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    # The package itself is the face of the whole, not the room of what nothing else names.
    named = [name for name in names if name in order and (name != "rgan_tf" or module == "rgan_tf")]
    assert named, f"WORKSPACE.md's list of imports has no place for {module}"
    return order[named[0]]


def test_no_circle():
    assert not circle_in(graph())


def test_every_import_goes_up_the_list():
    order = stated_order()
    wrong = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if line_of(other, order) > line_of(name, order)
    ]
    assert not wrong


def test_every_room_that_the_list_names_is_there():
    assert set(stated_order()) <= set(FILES)


@pytest.mark.parametrize(
    "frozen, place", [("tensorflow_addons", "rgan_tf.losses"), ("tensorflow_gan", "rgan_tf.gan_library")]
)
def test_frozen_libraries_have_one_importer(frozen, place):
    pattern = re.compile(rf"^\s*(from|import) {frozen}\b", re.MULTILINE)
    assert [name for name, path in FILES.items() if pattern.search(path.read_text())] == [place]


def test_the_check_sees_a_circle_and_hidden_imports():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert not circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    hidden = ["if TYPE_CHECKING:", "    from p import a", "def f():", "    import p.b", "    from p.c import thing"]
    hidden = "\n".join([*hidden, "from p import name"])
    assert imports_of(hidden, {"p", "p.a", "p.b", "p.c"}) == {"p", "p.a", "p.b", "p.c"}
