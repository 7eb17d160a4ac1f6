"""The hash of a result's code: follows imports, and nothing else."""

import shutil
from pathlib import Path

import pytest

import cign
from cign.methods import METHODS
from cign.utils.code_hash import code_hash, dependencies

FILES = {
    "__init__.py": "",
    "a.py": "from cign.b import thing\nimport os\nimport torch\n",
    "b.py": "def f():\n    import cign.deep.c\n\nthing = 1\n",
    "deep/__init__.py": "from cign.alone import x\n",
    "deep/c.py": "from . import d\nfrom .d import y\n",
    "deep/d.py": "y = 2\n",
    "alone.py": "x = 3\n",
    "user.py": "from cign import deep\n",
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_imports_are_followed_wherever_they_stand(package):
    found = dependencies(["cign.a"], package=package)
    assert list(found) == ["cign.a", "cign.b", "cign.deep.c", "cign.deep.d"]
    # A package's own file counts where it is named.
    user = dependencies(["cign.user"], package=package)
    assert list(user) == ["cign.alone", "cign.deep", "cign.user"]


@pytest.mark.parametrize("name", FILES)
def test_a_change_in_what_is_imported_changes_the_hash_and_no_other(package, name):
    before = code_hash(["cign.a"], package=package)
    assert len(before) == 16
    with (package / name).open("a") as file:
        file.write("z = 4\n")
    changed = code_hash(["cign.a"], package=package) != before
    assert changed == (name in ("a.py", "b.py", "deep/c.py", "deep/d.py"))


def test_line_ends_and_places_do_not_count_and_further_files_do(package, tmp_path_factory):
    before = code_hash(["cign.a"], package=package)
    elsewhere = shutil.copytree(package, tmp_path_factory.mktemp("other") / "cign")
    (elsewhere / "b.py").write_bytes((package / "b.py").read_bytes().replace(b"\n", b"\r\n"))
    assert code_hash(["cign.a"], package=elsewhere) == before
    assert code_hash(["cign.a"], [package / "alone.py"], package=package) != before


def test_a_module_that_is_not_there_is_named(package):
    with pytest.raises(ModuleNotFoundError, match=r"no module 'cign\.none'"):
        code_hash(["cign.none"], package=package)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_depends_on_its_models_and_on_no_sibling_it_does_not_use(name):
    module = METHODS[name].__module__
    found = dependencies([module])
    assert module in found
    assert "cign.methods.base" in found
    assert "cign.methods" not in found
    assert len([one for one in found if one.startswith("cign.networks.")]) >= 2
    assert all(path.is_relative_to(Path(cign.__file__).parent) for path in found.values())


def test_siblings():
    finetune, bic = (dependencies([f"cign.methods.{name}"]) for name in ("finetune", "bic"))
    assert "cign.methods.finetune" in bic
    assert "cign.losses.distillation" in bic
    assert "cign.methods.bic" not in finetune
    assert "cign.losses.distillation" not in finetune
