"""How recordings are handed to Ray's actors, by a stand-in for Ray that answers in this process, out of order, and loses actors.

Real Ray: `tests/cli/test_ray.py`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecgcam.batch import ray as with_ray
from ecgcam.batch.local import Output
from ecgcam.batch.manifest import Line
from ecgcam.batch.reading import Reading
from ecgcam.batch.worklist import Failure, Item
from ecgcam.errors import EcgcamError
from ecgcam.settings import Settings

ITEMS = [Item(Path(f"r{i}.npy"), f"r{i:02d}") for i in range(50)]  # seven actors' worth: 8 at a time, and 2


class LostError(Exception):
    pass


class TaskError(Exception):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Cluster:
    """What `run_with_ray` asks of Ray. An actor is lost, so many times, when it is given a recording of `fatal`."""

    exceptions = SimpleNamespace(RayActorError=LostError, RayTaskError=TaskError)

    def __init__(self, fatal: dict[str, int] | None = None, **resources: float) -> None:
        self.fatal, self.resources = dict(fatal or {}), resources or {"CPU": 3.0}
        self.calls: dict[int, Callable[[], Any]] = {}
        self.actors: list[Any] = []
        self.killed: list[Any] = []
        self.most = 0
        self.ended = False

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def put(self, job: Any) -> Any:
        return job

    def remote(self, kind: type) -> Any:
        def options(**asked: float) -> Any:
            self.asked = asked
            return SimpleNamespace(remote=lambda job: self._actor(kind(job)))

        return SimpleNamespace(options=options)

    def _actor(self, worker: Any) -> Any:
        def explain(items: list[Item], again: bool) -> int:
            def answer() -> Any:
                for item in items:
                    if self.fatal.get(item.name, 0):
                        self.fatal[item.name] -= 1
                        raise LostError
                try:
                    return worker.explain(items, again)
                except Exception as error:
                    raise TaskError(error) from error

            number = len(self.calls)
            self.calls[number] = answer
            return number

        self.actors.append(SimpleNamespace(explain=SimpleNamespace(remote=explain)))
        return self.actors[-1]

    def wait(self, running: list[int], num_returns: int, timeout: float = 0.0) -> tuple[list[int], list[int]]:
        self.most = max(self.most, len(running))
        return running[-num_returns:], running[:-num_returns]  # the last to begin is the first to be ready

    def get(self, number: int) -> Any:
        return self.calls[number]()

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def shutdown(self) -> None:
        self.ended = True


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Recordings as they are explained, with whether to resume; r03 fails, and r49 is a mistake of the program."""
    seen: list[tuple[str, bool]] = []

    def run_explain(
        items: list[Item], texts: Any, model: Any, reading: Any, settings: Any, output: Any, failed: Any, finished: Any,
        *_: Any, resume: bool,
    ) -> Iterator[dict[str, str]]:  # fmt: skip
        for item in items:
            seen.append((item.name, resume))
            if item.name == "r03":
                failed(Failure(item, EcgcamError("r03: damaged")))
            elif item.name == "r49":
                raise EcgcamError("r49: the model does not take it")
            else:
                finished(Line(item.name, "af", "done", None))
                yield {"record": item.name}

    monkeypatch.setattr(with_ray, "run_explain", run_explain)
    monkeypatch.setattr(with_ray, "load_model", lambda **given: given)
    return seen


def run(
    cluster: Cluster,
    items: list[Item],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int | None = None,
    **more: Any,
) -> tuple[Iterator[Any], list[str], list[str]]:
    monkeypatch.setattr(with_ray, "_begin", lambda _jobs: cluster)
    failed: list[str] = []
    finished: list[str] = []
    results = with_ray.run_with_ray(
        items, ["af"], {"name_or_file": "mini"}, Reading(), Settings(), more.pop("output", Output(out)),
        lambda failure: failed.append(str(failure.error)), lambda line: finished.append(line.record), jobs, **more,
    )  # fmt: skip
    return results, failed, finished


@pytest.mark.parametrize(
    ("jobs", "resources", "count", "gpus"),
    [
        (2, {"CPU": 8.0}, 2, 0),
        (None, {"CPU": 3.0}, 3, 0),
        (None, {"CPU": 8.0, "GPU": 1.0}, 1, 1),
        (None, {"GPU": 0.0}, 1, 0),
    ],
)
def test_results_come_in_order_whoever_is_first(
    explained: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    jobs: int | None, resources: dict[str, float], count: int, gpus: int,
) -> None:  # fmt: skip
    cluster = Cluster(**resources)
    results, failed, finished = run(cluster, ITEMS[:49], tmp_path, monkeypatch, jobs)
    names = [item.name for item in ITEMS[:49] if item.name != "r03"]
    assert [result["record"] for result in results] == names == finished
    assert failed == ["r03: damaged"]
    assert sorted(explained) == [(item.name, False) for item in ITEMS[:49]]
    assert len(cluster.actors) == cluster.most == count  # an actor goes on with what is waiting
    assert cluster.asked == {"num_cpus": 1, "num_gpus": gpus}
    assert cluster.ended
    assert cluster.killed == []


def test_what_a_lost_actor_had_is_resumed_by_another(
    explained: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster({"r09": 2}, CPU=2.0)
    results, _, _ = run(cluster, ITEMS[:20], tmp_path, monkeypatch)
    assert [result["record"] for result in results] == [item.name for item in ITEMS[:20] if item.name != "r03"]
    assert dict(explained) == {item.name: 8 <= number < 16 for number, item in enumerate(ITEMS[:20])}
    assert len(cluster.actors) == 4


def test_a_recording_that_no_actor_survives_is_named(
    explained: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster({"r00": 3}, CPU=1.0)
    results, _, _ = run(cluster, ITEMS[:2], tmp_path, monkeypatch)
    with pytest.raises(EcgcamError, match="r00, r01: 3 workers in a row were lost on it"):
        list(results)
    assert cluster.ended


def test_an_error_of_an_actor_is_told_as_it_was_said(
    explained: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, _, _ = run(Cluster(), ITEMS[48:], tmp_path, monkeypatch)
    with pytest.raises(EcgcamError, match=r"^r49: the model does not take it$"):
        list(results)
    monkeypatch.setattr(with_ray, "run_explain", lambda *_, **__: 1 / 0)
    results, _, _ = run(Cluster(), ITEMS[:1], tmp_path, monkeypatch)
    with pytest.raises(TaskError, match="division by zero"):
        list(results)


def test_broken_off_the_actors_are_killed_and_what_they_had_begun_is_cleared(
    explained: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(CPU=3.0)
    results, _, _ = run(cluster, ITEMS[:24], tmp_path, monkeypatch)
    for name in ("r00", "r08", "r09"):
        (tmp_path / name).mkdir()
    (tmp_path / "r09/another").touch()
    assert next(results)["record"] == "r00"
    results.close()  # type: ignore[attr-defined]
    assert cluster.ended
    assert {path.name for path in tmp_path.iterdir()} <= {"r00", "r08", "r09"}
    assert (tmp_path / "r09/another").exists()
    # In the middle of the first: two actors have not answered yet.
    cluster = Cluster({"r16": 9}, CPU=3.0)
    results, _, _ = run(cluster, ITEMS[:24], tmp_path, monkeypatch)
    with pytest.raises(EcgcamError, match="r16"):
        list(results)
    assert len(cluster.killed) == 2
    assert not (tmp_path / "r00").exists()
    assert not (tmp_path / "r08").exists()
    assert (tmp_path / "r09/another").exists()


def test_a_worker_that_does_not_see_the_folder_says_so(explained: list[tuple[str, bool]], tmp_path: Path) -> None:
    job = with_ray.Job({}, ["af"], Reading(), Settings(), Output(tmp_path), frozenset(), tmp_path / "gone")
    with pytest.raises(EcgcamError, match=r"gone: a worker on .* does not see it"):
        with_ray.Worker(job)


def test_packs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _, _ = run(Cluster(), [], tmp_path, monkeypatch, output=Output(tmp_path, packs=object()))  # type: ignore[arg-type]
    with pytest.raises(EcgcamError, match="--pack: with --engine ray each worker writes its own"):
        list(results)


@pytest.mark.parametrize("address", ["", "10.0.0.7:6379"])
def test_a_cluster_that_cannot_be_reached_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def init(**given: Any) -> None:
        asked.update(given)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if len(asked) == 3 or asked.get("num_cpus") == 2:
            raise ConnectionError("nobody there")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(EcgcamError, match=f"reached at {address or 'this machine'} .nobody there"):
        with_ray._begin(2)
    assert asked.get("address", "") == address
    assert signal.getsignal(signal.SIGTERM) == before  # Ray's own would end a call as if all had been well
    asked.clear()
    if not address:
        assert with_ray._begin(3) is sys.modules["ray"]
        assert asked["num_cpus"] == 3
        assert signal.getsignal(signal.SIGTERM) == before
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EcgcamError, match="Ray is not installed"):
        with_ray._begin(2)
