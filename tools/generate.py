"""Generates node/wire from proto/. With --check it tells whether what is committed is what would be generated.

It then also tells whether the contract says enough of every field of a record: one without a category fails the build.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
WIRE = Path("node", "wire")  # the path of a .proto below proto/ is the path of its Python package below the root


def generate(out: Path) -> None:
    """Write the modules and their type stubs for every .proto file below `out`.

    Raises:
        SystemExit: protoc refused a file; it has printed why.
    """
    files = sorted(PROTO.joinpath(WIRE).glob("*.proto"))
    services = [file for file in files if re.search(r"^service\s", file.read_text("utf-8"), re.MULTILINE)]
    _protoc(files, f"--python_out={out}", f"--mypy_out=quiet:{out}")
    # Only for files that declare services: for the others protoc would write modules that hold nothing.
    _protoc(services, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}")


def _protoc(files: list[Path], *outputs: str) -> None:
    bin_dir = Path(sys.executable).parent
    plugins = [f"--plugin={name}={bin_dir / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *plugins, *outputs, *map(str, files)]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own arguments
        sys.exit("protoc failed")


def generated(root: Path) -> dict[str, bytes]:
    """The generated files below `root`, by name."""
    return {
        path.name: path.read_bytes() for path in root.joinpath(WIRE).glob("*_pb2*") if path.suffix in {".py", ".pyi"}
    }


def check() -> list[str]:
    """Names of generated files that are missing, surplus or different, each with which of the three it is."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = generated(Path(folder))
    held = generated(ROOT)
    return [
        *(f"{name}: missing" for name in sorted(fresh.keys() - held.keys())),
        *(f"{name}: no .proto makes it any more" for name in sorted(held.keys() - fresh.keys())),
        *(
            f"{name}: not what its .proto makes"
            for name in sorted(fresh.keys() & held.keys())
            if fresh[name] != held[name]
        ),
    ]


def verify() -> None:
    """Check what the committed modules say of a record's fields.

    Raises:
        SystemExit: it is not enough; the text names the fields.
    """
    sys.path.insert(0, str(ROOT))  # this tree's modules, whatever else is installed
    from node import errors, schema  # noqa: PLC0415 - not before they are known to be fresh: stale ones may not load

    try:
        schema.verify_schema()
    except errors.SchemaError as error:
        sys.exit(str(error))


def main() -> None:
    """Generate; or check, with exit status 1 and a list where something is stale or says too little."""
    if sys.argv[1:] == ["--check"]:
        if stale := check():
            sys.exit("\n".join(["node/wire is stale; run `make proto`:", *stale]))
        verify()
        print("node/wire is what proto/ makes, and every field of a record can be redacted")
    elif not sys.argv[1:]:
        generate(ROOT)
        for name in sorted(generated(ROOT).keys()):
            if not PROTO.joinpath(WIRE, re.sub(r"_pb2(_grpc)?\.pyi?$", ".proto", name)).exists():
                ROOT.joinpath(WIRE, name).unlink()
    else:
        sys.exit("usage: generate.py [--check]")


if __name__ == "__main__":
    main()
