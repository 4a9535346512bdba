"""`python -m tests.fuzz.guided`: the same targets and the same property, led by coverage (atheris, libFuzzer).

A case is one byte that chooses which of a target's valid files is damaged, and that file's content. What opens a branch that
none before it did is kept, and damaged further: by libFuzzer, or by the house's own damage, which reaches into archives.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from ecgcam.errors import EcgcamError
from tests.fuzz.harness import CEILING, SECONDS, Files, Target, listen, tried
from tests.fuzz.mutate import NUMBERS, TOKENS, mutate

# The most dangerous readers: what strangers' files go through, and what can run code where it is done carelessly.
FIRST = (
    "wfdb header", "wfdb segments", "npy", "npz", "mat", "edf", "aecg and sierra xml", "dicom", "checkpoint, torch",
    "model file", "boxes", "explanation", "ge muse xml", "scp-ecg", "mfer", "csv",
)  # fmt: skip
# Whose branches lead: ecgcam's, and those of the readers written in Python.
WATCHED = (
    "ecgcam", "wfdb", "pydicom", "tomllib", "numpy.lib", "torch.serialization", "torch._weights_only_unpickler",
)  # fmt: skip
_COVERED = re.compile(r"#\d+\s+(INITED|DONE)\s+cov: (\d+)")
_RUNS = re.compile(r"Done (\d+) runs")
# libFuzzer takes a case for hanging by everybody's time; the property is of its own.
_PATIENCE = 6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--target", action="append", help="this one alone; may be repeated (default: the most dangerous)"
    )
    parser.add_argument("--runs", type=int, default=20_000, help="cases of each target")
    parser.add_argument("--seconds", type=int, default=3600, help="after which a target is left, whatever was run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/guided"), help="for what was kept and found; a call goes on"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child, options)
    found = 0
    for name in options.target or FIRST:
        found += _run(name)
    return 1 if found else 0


def _run(name: str) -> int:
    """Run a target in a process of its own, and tell what came of it."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.guided", *sys.argv[1:], "--child", name]
    begin = _processor()
    with tempfile.TemporaryDirectory(prefix="ecgcam-fuzz-") as scratch:  # libFuzzer's end takes nothing away
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", check=False,
            env={**os.environ, "TMPDIR": scratch},
        )  # fmt: skip
    said, spent = ended.stderr, _processor() - begin
    findings = [json.loads(line[8:]) for line in said.splitlines() if line.startswith("FINDING ")]
    covered = dict(_COVERED.findall(said))
    runs = _RUNS.findall(said)
    if ended.returncode or not runs or not covered:
        findings.append(f"{name}: ended by itself, {ended.returncode}: {said[-2000:]}")
    print(f"| {name} | {int(runs[0]) if runs else 0:,} | {spent / 60:.1f} | {covered.get('INITED')} | {covered.get('DONE')} | "
          f"{len(findings)} |", flush=True)  # fmt: skip
    for finding in findings:
        print(f"    {finding}", flush=True)
    return len(findings)


def _processor() -> float:
    """Return the seconds of a processor that the targets took: the machine may be another's as well."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def places(target: Target) -> list[tuple[Files, str]]:
    """Return the files of a target that may be damaged, each with what lies beside it."""
    seeds = target.seeds()
    return [(files, name) for files in seeds for name in files if not target.struck or name.endswith(target.struck)]


def _child(name: str, options: argparse.Namespace) -> None:
    """Fuzz in this process until the time is over; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=list(WATCHED)):
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        beside = places(target)
        _read_once(target, beside)  # readers import what they need when they need it
    folder = options.out.absolute() / re.sub(r"\W+", "-", name)
    kept, found = folder / "kept", folder / "found"
    for place in (kept, found):
        place.mkdir(parents=True, exist_ok=True)
    contents = [files[file] for files, file in beside]
    for i, content in enumerate(contents[:256]):
        (kept / f"valid-{i}").write_bytes(bytes([i]) + content)
    words = [token for token in (*TOKENS, *NUMBERS) if token]
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in words)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in quoted))
    seen: set[str] = set()
    scratch = tempfile.mkdtemp(prefix="ecgcam-fuzz-")

    def one(data: bytes) -> None:
        files, file = beside[data[0] % len(beside)] if data else beside[0]
        told = tried(target, Path(scratch) / "case", files, {**files, file: data[1:]})
        if isinstance(told, str) or (key := told[1] or told[0]) in seen:
            return
        seen.add(key)
        at = found / hashlib.sha256(data).hexdigest()[:16]
        at.write_bytes(data)
        sys.stderr.write(f"FINDING {json.dumps([str(at), *told])}\n")

    def damage(data: bytes, most: int, number: int) -> bytes:
        random = Random(number)  # noqa: S311  (for tests)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return (data[:1] + mutate(data[1:], random, contents))[:most]

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    ceiling = pages * resource.getpagesize() + CEILING
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    listen()
    longest = max(map(len, contents)) + 1
    arguments = [
        sys.argv[0], str(kept), f"-runs={options.runs}", f"-max_total_time={options.seconds}", f"-seed={options.seed}",
        f"-timeout={int(SECONDS * _PATIENCE)}", f"-max_len={max(4096, 2 * longest)}", "-rss_limit_mb=4096", "-len_control=0",
        f"-dict={folder / 'words'}", f"-artifact_prefix={found}/",
    ]  # fmt: skip
    atheris.Setup(arguments, one, custom_mutator=damage)
    atheris.Fuzz()


def _read_once(target: Target, beside: list[tuple[Files, str]]) -> None:
    with tempfile.TemporaryDirectory(prefix="ecgcam-fuzz-") as name:
        folder = Path(name)
        for i, (files, _) in enumerate(beside):
            (folder / str(i)).mkdir()
            for file, content in files.items():
                (folder / str(i) / file).write_bytes(content)
            with contextlib.suppress(EcgcamError):  # files without names or rates say that
                target.read(folder / str(i), files, files)


if __name__ == "__main__":
    raise SystemExit(main())
