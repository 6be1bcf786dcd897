"""The layers of the package, read from its source: who may import what, and who may do what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "annidx"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# From left to right: a module imports from what stands left of it, or from its own package.
# Packages on one line do not import each other.
LAYERS = [
    *(["errors"], ["kinds"], ["model"], ["found"], ["fields"], ["layouts"], ["wording"]),
    *(["recolouring"], ["explaining"], ["descriptors"], ["fingerprints"], ["asking"], ["globs"]),
    *(["showing"], ["prometheus"], ["native"], ["place"]),
    ["workers"],
    ["images", "store", "search"],
    *(["graphs"], ["roots"], ["sanity"], ["changes"], ["comparing"], ["answers"], ["pairlist"]),
    *(["decisions"], ["cleared"], ["selection"], ["queries"], ["catalogue"]),
    ["exports"],
    *(
        ["spool"],
        ["survey"],
        ["ledger"],
        ["options"],
        ["walked"],
        ["intended"],
        ["offline"],
        ["layout"],
    ),
    *(["arranging"], ["repair"]),
    *(["recognition"], ["failures"], ["building"], ["engines"], ["nearest"], ["index"], ["api"]),
    *(["uploads"], ["thresholds"], ["beside"]),
    ["review"],
    ["service"],
    ["commands"],
    ["cli"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# Each heavy or dangerous library has one door; Pillow has two.
DOORS: dict[str, str | tuple[str, ...]] = {
    "nmslib": "search/graph.py",
    "PIL": ("images/decode.py", "images/pixels.py"),
    "pillow_heif": "images/decode.py",
    "rawpy": "images/raw.py",
    "multiprocess": "workers.py",
    "multiprocessing": "nowhere",
    "blake3": "images/content.py",
    "pyarrow": "store/",
    "filelock": "store/",
    "fastapi": ("service/", "commands/serve.py"),
    "pydantic": "service/",
    "starlette": "service/",
    "uvicorn": "service/server.py",
    "jinja2": "service/page/",
}
MOST_LINES = 480


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text())


def dotted(module: str) -> str:
    """Return 'annidx.store.files' for 'store/files.py'."""
    parts = ["annidx", *Path(module).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST) -> list[str]:
    """Return the dotted modules that one statement imports; submodules by their own names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert node.level == 0, "imports are absolute"
    base = node.module or ""
    known = {dotted(module) for module in MODULES}
    names = [f"{base}.{alias.name}" for alias in node.names]
    inside = [name for name in names if name in known]
    return inside if len(inside) == len(names) else [base, *inside]


def imports(module: str) -> list[str]:
    """Return all that a module imports, inside functions and under TYPE_CHECKING included."""
    return [name for node in ast.walk(tree(module)) for name in imported(node)]


def at_module_level(module: str) -> Iterator[str]:
    """Yield what importing a module imports."""
    stack: list[ast.AST] = list(tree(module).body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported(node)
            stack += ast.iter_child_nodes(node)


def room(name: str) -> str:
    """Return 'store' for 'annidx.store.files'."""
    return name.split(".")[1]


def test_every_module_has_its_place() -> None:
    rooms = {Path(module).parts[0].removesuffix(".py") for module in MODULES}
    assert rooms - {"__init__", "__main__"} == set(RANK)


def test_imports_go_to_the_left() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if module not in {"__init__.py", "__main__.py"}
        for name in imports(module)
        if name.startswith("annidx.") and not may_import(room(dotted(module)), room(name))
    ]
    assert wrong == []


def may_import(here: str, there: str) -> bool:
    return here == there or RANK[there] < RANK[here]


def test_the_package_itself_imports_nothing_of_its_own() -> None:
    ours = [name for name in at_module_level("__init__.py") if name.startswith("annidx")]
    assert ours == []
    assert set(imports("__main__.py")) == {"sys", "annidx.cli"}


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    users = [
        module
        for module in MODULES
        if any(name.split(".")[0] == library for name in imports(module))
    ]
    assert [user for user in users if not user.startswith(DOORS[library])] == []
    if DOORS[library] != "nowhere":
        assert users


def test_nothing_is_imported_by_a_computed_name() -> None:
    """Or the tests above would not see it; to keep ``--help`` quick, and so that the
    registry of descriptors may name functions of images/."""
    users = {module for module in MODULES if {"import_module", "__import__"} & names(module)}
    assert users <= {"__init__.py", "cli.py", "images/compute.py"}


def names(module: str) -> set[str]:
    """Return every plain name and attribute that a module mentions."""
    nodes = list(ast.walk(tree(module)))
    plain = {node.id for node in nodes if isinstance(node, ast.Name)}
    return plain | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_no_import_cycles() -> None:
    graph = {dotted(module): set(at_module_level(module)) for module in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def calls(module: str) -> Iterator[tuple[str, str, int]]:
    """Yield (owner, name, number of arguments) of every call: ('os', 'rename', 2)."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            owner, _, name = ast.unparse(node.func).rpartition(".")
            yield owner, name, len(node.args) + len(node.keywords)


def test_only_commands_print() -> None:
    users = {module for module in MODULES for call in calls(module) if call[:2] == ("", "print")}
    assert {
        user for user in users if user != "cli.py" and not user.startswith("commands/")
    } == set()


DURABLE = {"rename", "renames", "replace", "link", "symlink", "fsync", "fdatasync", "move"}


def is_durable(owner: str, name: str, arguments: int) -> bool:
    """Tell whether a call renames, links or syncs; str.replace and dataclasses.replace do not."""
    if owner in {"os", "shutil"}:
        return name in DURABLE
    if name == "replace":
        return owner != "" and arguments == 1
    return owner != "" and name in {"rename", "hardlink_to", "symlink_to"}


def test_only_one_module_renames_links_and_syncs() -> None:
    users = {module for module in MODULES for call in calls(module) if is_durable(*call)}
    # review/moving.py does so to the files of the archive, everything else to those of the index.
    assert users == {"store/files.py", "review/moving.py"}
    by_name = [
        f"{module}: {ast.unparse(node)}"
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.module in {"os", "shutil"}
    ]
    assert by_name == []


def test_every_module_says_what_it_is() -> None:
    assert [module for module in MODULES if not ast.get_docstring(tree(module))] == []


def test_no_module_grows_too_long() -> None:
    lines = {module: (PACKAGE / module).read_text().count("\n") for module in MODULES}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = """
import sys
import annidx.cli
annidx.cli.make_parser().format_help()
print(*{name.split(".")[0] for name in sys.modules})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pyarrow", "PIL", "pillow_heif", "nmslib", "multiprocess", "scipy", "tqdm"}
    heavy |= {"fastapi", "pydantic", "starlette", "uvicorn"}
    assert heavy & set(ran.stdout.split()) == set()
    assert "annidx" in ran.stdout.split()


def test_the_reader_of_imports_sees_them_all() -> None:
    """The tests above are worth nothing if this one fails."""
    assert "nmslib" in imports("search/graph.py")  # inside a function
    assert "nmslib" not in set(at_module_level("search/graph.py"))
    assert "annidx.index" in imports("__init__.py")  # under TYPE_CHECKING
    assert "annidx.graphs" in imports("arranging.py")  # from annidx import graphs
    assert "annidx.search.exact" in set(at_module_level("search/query.py"))
