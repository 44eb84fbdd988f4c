"""The package as a whole: what it loads, what it shows, what its wheel holds."""

import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import vtok
from tests.conftest import CHECKOUT

HEAVY = {"torch", "torchvision", "transformers", "diffusers", "accelerate", "datasets", "scipy", "matplotlib", "pyarrow", "lpips", "timm"}
HELP = """
import contextlib, io, json, runpy, sys
sys.argv = ["vtok", "--help"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    runpy.run_module("vtok", run_name="__main__")
print(json.dumps(sorted(sys.modules)))
"""


def run(*command: str | Path, **options: object) -> str:
    """Run a command and return what it prints; what it says on stderr is in the error when it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def test_import_loads_nothing_heavy() -> None:
    modules = json.loads(run(sys.executable, "-c", "import json, sys, vtok; print(json.dumps(sorted(sys.modules)))"))
    assert not HEAVY & set(modules)


def test_help_loads_nothing_heavy() -> None:
    assert not HEAVY & set(json.loads(run(sys.executable, "-c", HELP)))


def test_help_names_the_commands() -> None:
    text = run(sys.executable, "-m", "vtok", "--help")
    assert all(command in text for command in ("encode", "decode", "info", "truncate", "train", "recipes", "models", "compare"))


def test_help_takes_less_than_half_a_second_of_processor_time() -> None:
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(sys.executable, "-m", "vtok", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


def test_the_public_names_are_those_of_all() -> None:
    code = "import json, vtok; print(json.dumps([dir(vtok), [n for n in vars(vtok) if not n.startswith('_')]]))"
    shown, loaded = json.loads(run(sys.executable, "-c", code))
    assert sorted(name for name in shown if not name.startswith("_")) == sorted(vtok.__all__)
    assert loaded == []


@pytest.mark.parametrize("name", vtok.__all__)
def test_a_public_name_is_a_class_or_a_function(name: str) -> None:
    assert callable(getattr(vtok, name))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compres'"):
        vtok.compres  # noqa: B018


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that has this wheel, and the libraries of the one that runs the tests.

    A `.pth` file names their folder; those inside that folder, an editable install of the checkout among them, are not followed.
    """
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    run(sys.executable, "-m", "pip", "--python", home, "install", "--quiet", "--no-deps", "--no-index", wheel)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "libraries.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}), encoding="utf-8")
    return home / "bin"


def test_the_wheel_has_one_package_with_types_recipes_and_the_file_format(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"vtok"}
    assert {"vtok/py.typed", "vtok/codec/SPEC.md"} <= set(names)
    assert [name for name in names if name.startswith("vtok/recipes/") and name.endswith(".toml")]


def test_the_wheel_has_the_default_weights(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"vtok/weights/photo64/{name}" for name in ("config.json", "model.safetensors", "README.md")} <= set(names)


def test_the_wheel_has_the_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "THIRD_PARTY.md"}


def test_the_installed_package_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    place = run(installed / "python", "-c", "import vtok; print(vtok.__file__)", cwd=tmp_path)
    assert Path(place).is_relative_to(installed.parent)


def test_the_installed_command_works_in_an_empty_folder_without_network(installed: Path, tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "examples" / "raccoon.jpg", tmp_path / "photo.jpg")
    nowhere = {"HF_HUB_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    environment = {**os.environ, **nowhere, "HOME": str(tmp_path / "home")}
    run(installed / "vtok", "encode", "photo.jpg", "-o", "p.vtok", cwd=tmp_path, env=environment)
    run(installed / "vtok", "decode", "p.vtok", "-o", "out.png", "--tokens", "8", cwd=tmp_path, env=environment)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (768, 512)
