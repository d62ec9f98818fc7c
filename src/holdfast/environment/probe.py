"""Runs in the user's interpreter, with nothing but its standard library: prints what is installed there, as JSON.

    python probe.py PROJECT_ROOT

A package's hash is taken over the hashes in its RECORD, so no installed file is read again. What differs between two
installations of the same lock is left out: byte code, console scripts (they hold the interpreter's path), headers, and
the notes that an installer leaves in the dist-info folder. A package that is installed from the project itself is code,
not environment: it is listed, not hashed. Works on Python 3.9 and newer.
"""

# Paths are text here: importing pathlib would take longer than everything below.
# ruff: noqa: E402, PTH112, PTH116, PTH118, PTH120, PTH123, PTH208

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
if __name__ == "__main__" and sys.path and os.path.realpath(sys.path[0]) == _HERE:
    del sys.path[0]  # the command being described does not have this folder on its path

import hashlib
import json
import platform
import re
import time
import unicodedata
from urllib.parse import unquote, urlparse

# Tools that install or judge, and never take part in computing a feature; a fresh venv has some of them or not.
TOOLS = {"holdfast", "pip", "uv", "wheel"}
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "LANG", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "TZ"),
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "MKL_CBWR", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"),
)
CPU_FEATURES = {"sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve"}


def normal(name: str) -> str:
    """The name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(*parts: str) -> bytes | None:
    """The content of a file, or None where there is none."""
    try:
        with open(os.path.join(*parts), "rb") as file:
            return file.read()
    except OSError:
        return None


def record_lines(record: bytes, info: str) -> list[bytes]:
    """The `path,hash` of every file that is the package's own, whatever installed it."""
    lines = []
    own = (info + "/entry_points.txt").encode()
    prefix = (info + "/").encode()
    for line in record.splitlines():
        path, _, rest = line.rpartition(b",")[0].rpartition(b",")
        if not rest or path.endswith(b".pyc") or (path.startswith(prefix) and path != own):
            continue
        outside = re.sub(rb"^(\.\./)+", b"", path)
        if path.startswith(b"../") and outside.partition(b"/")[0] in (b"bin", b"Scripts", b"include"):
            continue
        lines.append(outside + b"," + rest)
    return sorted(lines)


def source_lines(folder: str) -> list[bytes]:
    """The `path,hash` of every Python file below a folder that is installed editable."""
    lines = []
    for root, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in ("__pycache__", "node_modules", "venv")]
        for file in files:
            if file.endswith(".py"):
                path = os.path.relpath(os.path.join(root, file), folder)
                lines.append(path.encode() + b"," + hashlib.sha256(read(root, file) or b"").hexdigest().encode())
    return sorted(lines)


def local_source(info_path: str) -> tuple[str | None, bool]:
    """The folder a package was installed from, if it was a local one, and whether it is installed editable."""
    text = read(info_path, "direct_url.json")
    if text is None:
        return None, False
    document = json.loads(text)
    url = urlparse(document.get("url", ""))
    if url.scheme != "file" or "dir_info" not in document:
        return None, False
    return os.path.realpath(unquote(url.path)), bool(document["dir_info"].get("editable"))


def describe(info_path: str, info: str, project: str) -> dict[str, object]:
    """One installed distribution: its version, the hash of its files, and where its hash comes from."""
    version = info[: -len(".dist-info")].partition("-")[2]
    source, editable = local_source(info_path)
    if source is not None and (source == project or source.startswith(project + os.sep)):
        return {"version": version, "hash": None, "source": "project"}
    if source is not None and editable:
        return {"version": version, "hash": hashed(source_lines(source)), "source": "editable"}
    record = read(info_path, "RECORD")
    content = None if record is None else hashed(record_lines(record, info))
    return {"version": version, "hash": content, "source": "installed" if source is None else "local"}


def hashed(lines: list[bytes]) -> str:
    return "sha256:" + hashlib.sha256(b"\n".join(lines)).hexdigest()


def packages(folders: list[str], project: str) -> dict[str, dict[str, object]]:
    """Every distribution on the path by its normal name; the first one found is the one that is imported."""
    found: dict[str, dict[str, object]] = {}
    for folder in folders:
        for info in sorted(os.listdir(folder)):
            if info.endswith(".dist-info"):
                name = normal(info.partition("-")[0])
                if name not in found:
                    found[name] = describe(os.path.join(folder, info), info, project)
            elif info.endswith((".egg-info", ".egg-link")):
                name, _, rest = info.rpartition(".")[0].partition("-")
                found.setdefault(normal(name), {"version": rest.partition("-")[0], "hash": None, "source": "egg"})
    return found


def cpu() -> dict[str, object]:
    """The processor's name and the instruction sets that numeric libraries choose their kernels by."""
    text = (read("/proc/cpuinfo") or b"").decode(errors="replace")
    name = re.search(r"model name\s*:\s*(.+)", text)
    flags = re.search(r"(?:flags|Features)\s*:\s*(.+)", text)
    return {
        "machine": platform.machine(),
        "model": name.group(1).strip() if name else platform.processor(),
        "count": os.cpu_count(),
        "features": sorted(CPU_FEATURES & set(flags.group(1).split())) if flags else [],
    }


def blas(folders: list[str]) -> list[str]:
    """The BLAS that numpy's and scipy's wheels carry, by file name; reading it from numpy would import it."""
    found: set[str] = set()
    for folder in folders:
        for libs in ("numpy.libs", "scipy.libs"):
            path = os.path.join(folder, libs)
            files = os.listdir(path) if os.path.isdir(path) else []
            found.update(f for f in files if re.search("blas|mkl|atlas|blis", f))
    return sorted(found)


def host(folders: list[str]) -> dict[str, object]:
    """What may change a result in the last digits, or a text's order, without being part of the environment."""
    import locale

    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "libc": " ".join(platform.libc_ver()),
        "cpu": cpu(),
        "blas": blas(folders),
        "locale": locale.setlocale(locale.LC_CTYPE, None),
        "encoding": sys.getfilesystemencoding(),
        "time_zone": "/".join(time.tzname),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def main(project: str) -> dict[str, object]:
    folders = [path for path in dict.fromkeys(sys.path) if os.path.isdir(path)]
    implementation = sys.implementation.name
    prefix = "" if implementation == "cpython" else implementation + " "
    return {
        "executable": sys.executable,
        "python": f"{prefix}{sys.version_info[0]}.{sys.version_info[1]}",
        "unicode": unicodedata.unidata_version,
        "packages": packages(folders, os.path.realpath(project)),
        "host": host(folders),
        "folders": {path: os.stat(path).st_mtime_ns for path in folders},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 - this is how a script answers
