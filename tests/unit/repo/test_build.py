"""The build stops where the contract does not say enough of a field of a record."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools/generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


def test_a_field_without_a_category_fails_the_build(tmp_path: Path) -> None:
    for name in ("proto/node", "node/wire"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("node/__init__.py", "node/errors.py", "node/schema.py", "tools/generate.py"):
        tmp_path.joinpath(name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    entry = tmp_path / "proto/node/wire/entry.proto"
    text = entry.read_text("utf-8")
    entry.write_text(text.replace("message Telecom {", "message Telecom {\n  string forgotten = 900;"), "utf-8")

    stale = generate(tmp_path, "--check")
    assert stale.returncode == 1
    assert "entry_pb2.py: not what its .proto makes" in stale.stderr

    assert generate(tmp_path).returncode == 0
    silent = generate(tmp_path, "--check")
    assert silent.returncode == 1
    assert "enlace.v1.Telecom.forgotten: states no data category" in silent.stderr
