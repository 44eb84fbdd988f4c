"""The program as a process: what it imports, its pipes, its exit codes."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(CHECKOUT)}
HEAVY = ("torch", "torchvision", "lpips", "safetensors", "diffusers", "accelerate")


def run(*arguments: object, **options) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vtok", *(str(argument) for argument in arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=60, check=False, **options)


def modules_after(*arguments: object) -> set[str]:
    """Names of all modules loaded when a command has run."""
    code = (
        "import sys, json, atexit\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = {['vtok', *(str(argument) for argument in arguments)]!r}\n"
        "from vtok.cli import main\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return set(json.loads(result.stderr.splitlines()[-1]))


def test_help_is_quick_and_loads_neither_torch_nor_numpy():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    modules = modules_after("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert not modules & {*HEAVY, "numpy", "PIL", "rich", "pydantic"}
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("command", [("models",), ("recipes",), ("info", "FILE"), ("truncate", "FILE", "-o", "OUT", "--tokens", 1)])
def test_commands_without_a_model_load_no_torch(command, encoded, tmp_path):
    names = {"FILE": encoded, "OUT": tmp_path / "out.vtok"}
    assert not modules_after(*(names.get(str(word), word) for word in command)) & set(HEAVY)


def test_a_pipeline_of_processes(photo, model):
    tokens = run("encode", "-", "--model", model, "-q", input=photo.read_bytes())
    shorter = run("truncate", "-", "-o", "-", "--tokens", 2, input=tokens.stdout)
    assert (tokens.returncode, shorter.returncode) == (0, 0)
    assert 0 < len(shorter.stdout) < len(tokens.stdout)


def test_an_error_is_one_line_and_exit_code_2(tmp_path):
    result = run("info", tmp_path / "none.vtok")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode() == f"vtok: {tmp_path / 'none.vtok'}: no such file or folder\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [("models",), ("--help",), ("--version",)])
def test_a_full_standard_output_is_one_line(command):
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "vtok", *command], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert process.returncode == 2
    assert process.stderr.count(b"\n") == 1, process.stderr.decode()
    assert b"No space left" in process.stderr


def test_a_reader_that_leaves_early_is_no_error():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as pipe:
        process = subprocess.run(
            [sys.executable, "-m", "vtok", "models"], env=ENVIRONMENT, stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert process.stderr == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_a_closed_standard_output_is_one_line():
    command = f"{sys.executable} -m vtok models >&-"
    process = subprocess.run(command, shell=True, env=ENVIRONMENT, stderr=subprocess.PIPE, check=False)
    assert process.returncode == 2
    assert process.stderr == b"vtok: standard output is closed; name a file with -o\n"
