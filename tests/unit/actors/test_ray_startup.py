import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.ray_startup.sitecustomize import LazyRequests, put_off, run_next

NAME = "phalanx_test_library"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that notes in a file that it was loaded."""
    package = tmp_path / NAME
    package.mkdir()
    loaded = tmp_path / "loaded"
    (package / "__init__.py").write_text(
        f"with open({str(loaded)!r}, 'a') as file: file.write('x')\nclass Session:\n    def get(self): return 7\n"
    )
    (package / "part.py").write_text("value = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield loaded
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


def test_a_library_is_loaded_when_something_of_it_is_used_and_once(library: Path) -> None:
    put_off(NAME)
    imported = importlib.import_module(NAME)
    assert not library.exists()

    assert imported.Session().get() == 7
    assert imported.Session is importlib.import_module(NAME).Session
    assert library.read_text() == "x"


def test_a_part_of_a_library_can_be_imported_first(library: Path) -> None:
    put_off(NAME)

    assert importlib.import_module(f"{NAME}.part").value == 5
    assert library.read_text() == "x"


def test_a_name_that_a_library_does_not_have_is_refused_as_ever(library: Path) -> None:
    put_off(NAME)

    with pytest.raises(AttributeError, match="nothing"):
        importlib.import_module(NAME).nothing  # noqa: B018 - asking is what is tested


def test_whoever_looks_whether_it_is_installed_finds_it_and_loads_nothing(library: Path) -> None:
    put_off(NAME)

    assert importlib.util.find_spec(NAME) is not None
    assert not library.exists()


def test_a_session_that_is_made_is_loaded_with_its_library_when_it_is_used(library: Path) -> None:
    put_off(NAME, LazyRequests)

    session = importlib.import_module(NAME).Session()
    assert not library.exists()

    assert session.get() == 7


def test_what_is_not_installed_is_still_missed() -> None:
    put_off(f"{NAME}_that_is_not_there")

    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{NAME}_that_is_not_there")


def test_what_is_loaded_already_is_left_alone(library: Path) -> None:
    loaded = importlib.import_module(NAME)

    put_off(NAME)

    assert importlib.import_module(NAME) is loaded


def test_a_sitecustomize_of_somebody_else_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.phalanx_test_was_here = True\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "phalanx_test_was_here", False, raising=False)

    run_next()

    assert getattr(sys, "phalanx_test_was_here")  # noqa: B009 - no attribute that mypy knows
