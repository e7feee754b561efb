"""What is built and installed: the wheel is whole, importing is quick, and versions agree."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import convtrace

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "convtrace"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def unpacked(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    wheel.extractall(folder)
    return folder


def loaded_by(statement: str, folder: Path) -> set[str]:
    """Return which of the slow packages a statement loads, with convtrace from `folder`."""
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        f"{statement}\n"
        f"assert convtrace.__file__.startswith({str(folder)!r}), convtrace.__file__\n"
        "print(*{'torch', 'numpy', 'click', 'rich', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    here = {
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    packed = {name for name in wheel.namelist() if name.startswith("convtrace/")}
    assert packed == here
    assert {"convtrace/py.typed", "convtrace/models/digits.safetensors"} <= packed


def test_wheel_carries_licence_and_notice(wheel: zipfile.ZipFile) -> None:
    names = {name.rpartition("/")[2] for name in wheel.namelist()}
    assert {"LICENSE", "NOTICE"} <= names


def test_wheel_has_the_version_and_the_command(wheel: zipfile.ZipFile) -> None:
    info = f"convtrace-{convtrace.__version__}.dist-info"
    assert message_from_bytes(wheel.read(f"{info}/METADATA"))["Version"] == convtrace.__version__
    assert "convtrace = convtrace.__main__:main" in wheel.read(f"{info}/entry_points.txt").decode()


def test_importing_the_wheel_loads_no_other_package(unpacked: Path) -> None:
    assert loaded_by("import convtrace", unpacked) == set()


def test_the_import_check_can_fail_as_tracing_loads_torch(unpacked: Path) -> None:
    assert {"torch", "numpy"} <= loaded_by("import convtrace; convtrace.trace", unpacked)


def test_data_in_the_wheel_can_be_read(unpacked: Path) -> None:
    loaded_by("import convtrace.models.digits as m, convtrace; m.digits()(m.digit())", unpacked)


def test_public_names_are_the_same_for_type_checkers_and_at_run_time() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    for_checkers = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert set(convtrace.__all__) == for_checkers
    assert list(convtrace.__all__) == sorted(convtrace.__all__)
    for name in convtrace.__all__:
        assert getattr(convtrace, name).__module__.startswith("convtrace.")


def test_no_module_shadows_a_public_name() -> None:
    modules = {path.stem for path in SOURCE.iterdir()}
    assert modules.isdisjoint(convtrace.__all__)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_reference_documents_every_public_name(language: str) -> None:
    text = (ROOT / "docs" / language / "reference.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto\w+:: convtrace\.(\w+)$", text, re.MULTILINE)
    assert sorted(documented) == sorted(convtrace.__all__)


def test_changelog_has_an_entry_for_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## \[(\S+)\] - (?:\d{4}-\d\d-\d\d|unreleased)$", text, re.MULTILINE)
    assert entries[0] == convtrace.__version__


def test_everything_that_make_installs_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    wanted = {canonicalize_name(name): version for name, version in pins.items()}
    needed = set(needed_packages())
    assert needed - set(wanted) == set()
    assert {"torch", "pytest", "hatchling"} <= needed
    for name in needed:
        assert metadata.version(name).partition("+")[0] == wanted[name]


def needed_packages() -> Iterator[str]:
    """Yield the packages that `make test` installs: those named in pyproject.toml, and theirs."""
    seen: set[str] = set()
    project = PROJECT["project"]
    todo = [*project["dependencies"], *PROJECT["dependency-groups"]["test"]]
    for extra in project["optional-dependencies"].values():
        todo += extra
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        marker = requirement.marker
        # PyTorch brings what it needs for an accelerator, other packages on other machines.
        driver = name.startswith(("cuda-", "nvidia-", "triton"))
        if name in seen or driver or not (marker is None or marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        yield name
        todo += metadata.requires(name) or []
