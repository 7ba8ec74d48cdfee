import ast
import importlib
import inspect
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import labelvae
from labelvae._moved import MOVED


def modules_after(code: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in result.stdout.split()}


HEAVY = {"lightning", "torchvision", "torchmetrics", "wandb", "sklearn", "skimage", "PIL", "matplotlib"}


def test_importing_the_package_imports_nothing_heavy():
    assert not modules_after("import labelvae") & (HEAVY | {"torch"})


def test_models_need_torch_alone():
    loaded = modules_after("from labelvae import ConditionalVAE, LabelClassifier, GuidedELBO, DiagonalGaussian")
    assert "torch" in loaded
    assert not loaded & HEAVY


UNUSED = {"lightning", "torchvision", "torchmetrics", "wandb", "sklearn", "matplotlib", "pandas", "gradio", "requests"}
COMPILERS = {"sympy", "mpmath", "triton", "onnx", "torch._dynamo", "torch._inductor", "torch.onnx"}
"""What takes seconds to import, unless torch itself imports it."""


@pytest.mark.parametrize("model", ["mnist", "cifar10"])
def test_relabelling_a_photograph_imports_little(model, tmp_path):
    words = ["relabel", "--model", model, "--to", "8", "docs/images/photo.jpg", str(tmp_path / "out.png")]
    code = "import sys; from labelvae.__main__ import main; main(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert (tmp_path / "out.png").is_file()
    assert {"torch", "scipy.ndimage"} <= loaded
    assert not loaded & UNUSED
    torch_alone = subprocess.run(
        [sys.executable, "-c", "import torch, sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not (loaded & COMPILERS) - set(torch_alone.stdout.split())


@pytest.mark.parametrize("name", labelvae.__all__)
def test_every_public_name_is_there_and_described(name):
    assert inspect.getdoc(getattr(labelvae, name))
    assert name in dir(labelvae)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="Nothing"):
        _ = labelvae.Nothing


ROOMS = [
    "system",
    "inputs",
    "attributes",
    "data",
    "models",
    "losses",
    "visual",
    "photos",
    "evaluation",
    "training",
    "segmentation",
    "flows",
    "runs",
    "page",
    "cli",
]
"""Each imports from itself and from those before it."""

PACKAGE = Path(labelvae.__file__).parent


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "labelvae":
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name for name in inside if PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").is_file()}
            found.add(node.module)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "labelvae"}
    return found


def test_the_rooms_are_the_folders():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "_moved.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room):
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for path in (PACKAGE / room).glob("*.py"):
        rooms = {module.split(".")[1] for module in imports(path) if module.count(".")}
        assert rooms <= set(allowed), f"{path.name} imports {rooms - set(allowed)}, which stand above {room}"


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_is_imported_in_a_circle(room):
    modules = {f"labelvae.{room}.{path.stem}": imports(path) for path in (PACKAGE / room).glob("[!_]*.py")}
    TopologicalSorter({name: used & set(modules) for name, used in modules.items()}).prepare()  # CycleError names one


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_is_long(path):
    assert len(path.read_text().splitlines()) <= 320


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_room_is_there(room):
    module = importlib.import_module(f"labelvae.{room}")
    assert module.__doc__
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("old", sorted(MOVED))
def test_the_old_names_of_modules_go_on_working(old):
    before, now = (importlib.import_module(f"labelvae.{name}") for name in (old, MOVED[old]))
    names = [name for name in vars(now) if not name.startswith("__")]
    assert all(getattr(before, name) is getattr(now, name) for name in names)


def test_a_name_that_is_made_when_it_is_asked_for_is_found_under_the_old_module_too():
    assert importlib.import_module("labelvae.demo").Player is importlib.import_module("labelvae.page.player").Player
    with pytest.raises(AttributeError, match="Nothing"):
        _ = importlib.import_module("labelvae.demo").Nothing


def test_importing_every_module_asks_for_no_network():
    modules = [f"labelvae.{path.parent.name}.{path.stem}" for path in PACKAGE.glob("*/[!_]*.py")]
    code = (
        "import importlib, socket, warnings\nwarnings.simplefilter('ignore')\n"
        "def refuse(*_): raise SystemExit('asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"[importlib.import_module(name) for name in {modules!r}]\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
