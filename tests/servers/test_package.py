"""The npm package: its files are those of the app, its types and its README are right."""

import gzip
import json
import re
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.acceptance.servers import ROOT

from .conftest import NPM
from .test_client import STATIC, found

NAME = "django-resumable-streams"
STRICT = "--noEmit --strict --target es2022 --module nodenext --lib es2022,dom,dom.iterable"
OF_THE_ADMIN = {"admin.js"}
README = re.findall(r"^```js\n(.*?)^```", (ROOT / "js" / "README.md").read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack the package, and unpack it where a project has it."""
    path = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "js", path / "js")
    shutil.copytree(STATIC, path / "resumable_streams" / "static" / "resumable_streams")
    shutil.copy(ROOT / "LICENSE", path)
    packing = [found("npm"), "pack", "--silent"]
    subprocess.run(packing, cwd=path / "js", check=True, capture_output=True)
    (packed,) = (path / "js").glob("*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(path / "node_modules", filter="data")
    (path / "node_modules" / "package").rename(path / "node_modules" / NAME)
    (path / "package.json").write_text('{"type": "module"}')
    return path


def test_the_package_has_the_files_of_the_app(project: Path) -> None:
    files = {path.name: path.read_bytes() for path in (project / "node_modules" / NAME).iterdir()}
    scripts = [path for path in STATIC.iterdir() if path.suffix in (".js", ".ts")]
    shipped = {path.name: path.read_bytes() for path in scripts if path.name not in OF_THE_ADMIN}
    assert files.items() >= shipped.items()
    assert files.keys() - shipped.keys() == {"package.json", "README.md", "LICENSE"}
    assert len(gzip.compress(files["client.js"], mtime=0)) < 5_000
    described = json.loads(files["package.json"])
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in ("name", "version", "license"):
        assert described[name] == wanted[name]


def test_packing_leaves_nothing_behind(project: Path) -> None:
    kept = {path.name for path in (project / "js").iterdir() if path.suffix != ".tgz"}
    assert kept == {path.name for path in (ROOT / "js").iterdir()}


def test_types_and_readme_are_right(project: Path) -> None:
    shutil.copy(NPM / "types.ts", project)
    (code,) = README
    (project / "readme.ts").write_text(code)
    check = [found("node"), str(NPM / "node_modules" / "typescript" / "bin" / "tsc")]
    checking = subprocess.run(
        [*check, *STRICT.split(), "types.ts", "readme.ts"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert checking.returncode == 0, checking.stdout + checking.stderr


def test_node_finds_what_the_types_export(project: Path) -> None:
    script = f"console.log(Object.keys(await import('{NAME}')).sort().join())"
    run = [found("node"), "--input-type=module", "-e", script]
    exported = subprocess.run(run, cwd=project, capture_output=True, text=True, check=True)
    types = (STATIC / "client.d.ts").read_text()
    names = set(re.findall(r"^export (?:function|const|class) (\w+)", types, re.MULTILINE))
    assert exported.stdout.strip().split(",") == sorted(names)
