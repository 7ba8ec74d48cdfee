import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import labelvae


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


@pytest.mark.parametrize("name", labelvae.__all__)
def test_every_public_name_is_there_and_described(name):
    assert inspect.getdoc(getattr(labelvae, name))
    assert name in dir(labelvae)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = labelvae.Nothing


LAYERS = [
    {
        "checks",
        "hub",
        "whole_files",
        "image_files",
        "depth",
        "memory",
        "compiling",
        "readable",
        "batches",
        "term_window",
        "surroundings",
        "morphology",
    },
    {"classes", "inference", "conversions"},
    {"labels"},
    {"objective", "data_settings", "inputs", "latent", "saving", "allocator", "pixels"},
    {"settings", "image_sets", "forms", "pyramids", "frozen", "differentiable_style"},
    {"folders", "loaders", "wrapped_classifier", "machine"},
    {"augmentation", "conditioning", "presets", "recipes", "command_line", "optimizing", "picture_files"},
    {"frames", "paper_lines", "pieces"},
    {"found"},
    {"networks", "style", "figures", "charts", "reading", "scores", "logs"},
    {"strokes"},
    {"scans", "paste", "comparison", "discriminator"},
    {"vae", "classifier", "model_card"},
    {"sheets", "terms", "loss_terms", "metrics", "diagnosis", "export", "doubts", "fits", "refinement"},
    {"references", "evaluation", "data", "guidance", "attack", "photographs", "player", "uploads"},
    {"losses", "picture_inputs", "page_html"},
    {"rebuilding", "relabelling", "page"},
    {"task", "demo"},
    {"training"},
    {"building"},
    {"callbacks", "dashboard", "run_folder", "reference"},
    {"experiment"},
    {"commands"},
    {"__main__"},
]


def test_imports_run_one_way():
    floor = {name: index for index, names in enumerate(LAYERS) for name in names}
    modules = [module.name for module in pkgutil.iter_modules(labelvae.__path__)]
    assert set(modules) == set(floor)
    for name in modules:
        source = inspect.getsource(importlib.import_module(f"labelvae.{name}"))
        lines = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
        used = {line.module.partition(".")[2] for line in lines if line.module.startswith("labelvae.")}
        above = {other for other in used if floor[other] > floor[name]}
        assert not above, f"{name} imports {above}, which stand above it"


def test_importing_every_module_asks_for_no_network():
    modules = [f"labelvae.{path.stem}" for path in Path(labelvae.__file__).parent.glob("[!_]*.py")]
    code = (
        "import importlib, socket, warnings\nwarnings.simplefilter('ignore')\n"
        "def refuse(*_): raise SystemExit('asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"[importlib.import_module(name) for name in {modules!r}]\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
