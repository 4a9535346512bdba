"""How recordings are handed to Ray's actors, by a stand-in for Ray that answers in this process and loses actors.

Real Ray: `tests/cli/test_ray.py`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecgcam.errors import EcgcamError
from ecgcam.runs import ray as with_ray
from ecgcam.runs.events import Event, Scored
from ecgcam.runs.worklist import Failure, Item

ITEMS = [Item(Path(f"r{i}.npy"), f"r{i:02d}") for i in range(20)]


class LostError(Exception):
    pass


class TaskError(Exception):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Task:
    """Scores recordings; the model cannot be loaded where `broken`."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.seen: list[tuple[str, bool]] = []

    @property
    def options(self) -> Any:
        if self.broken:
            raise EcgcamError(self.broken)
        return SimpleNamespace(loaded=None)

    def run(self, items: list[Item], again: bool = False) -> Iterator[Event]:
        for item in items:
            self.seen.append((item.name, again))
            yield Scored(item, 0.0, [])


class Reference:
    """An answer that is on its way."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def future(self) -> Future[Any]:
        return self._future


class Cluster:
    """The part of Ray that `run_with_ray` uses. An actor is lost, so many times, when it is given a recording of `fatal`."""

    exceptions = SimpleNamespace(RayActorError=LostError, RayTaskError=TaskError)

    def __init__(self, fatal: dict[str, int] | None = None, **resources: float) -> None:
        self.fatal, self.resources = dict(fatal or {}), resources or {"CPU": 3.0}
        self.actors: list[Any] = []
        self.killed: list[Any] = []
        self.ended = False
        self._pool = ThreadPoolExecutor(4)

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def put(self, task: Any) -> Any:
        return task

    def remote(self, kind: type) -> Any:
        def options(**asked: float) -> Any:
            self.asked = asked
            return SimpleNamespace(remote=lambda task, folder: self._actor(lambda: kind(task, folder)))

        return SimpleNamespace(options=options)

    def _actor(self, make: Callable[[], Any]) -> Any:
        worker: list[Any] = []

        def run(items: list[Item], again: bool) -> Reference:
            lost = next((item.name for item in items if self.fatal.get(item.name)), None)
            if lost is not None:
                self.fatal[lost] -= 1

            def answer() -> Any:
                if lost is not None:
                    raise LostError
                try:
                    worker[:] = worker or [make()]
                    return worker[0].run(items, again)
                except Exception as error:
                    raise TaskError(error) from error

            return Reference(self._pool.submit(answer))

        self.actors.append(SimpleNamespace(run=SimpleNamespace(remote=run)))
        return self.actors[-1]

    def wait(self, waiting: list[Any], num_returns: int, timeout: float) -> None:
        pass

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def shutdown(self) -> None:
        self.ended = True


def run(
    cluster: Cluster, task: Any, items: list[Item], monkeypatch: pytest.MonkeyPatch, jobs: int | None = None
) -> Any:
    monkeypatch.setattr(with_ray, "_begin", lambda _jobs: cluster)
    return with_ray.run_with_ray(task, items, jobs)


@pytest.mark.parametrize(
    ("jobs", "resources", "count", "gpus"),
    [
        (2, {"CPU": 8.0}, 2, 0),
        (None, {"CPU": 3.0}, 3, 0),
        (None, {"CPU": 8.0, "GPU": 1.0}, 1, 1),
        (None, {"GPU": 0.0}, 1, 0),
    ],
)
def test_events_come_in_order_and_actors_share_the_work(
    monkeypatch: pytest.MonkeyPatch, jobs: int | None, resources: dict[str, float], count: int, gpus: int
) -> None:
    cluster, task = Cluster(**resources), Task()
    names = [event.item.name for event in run(cluster, task, ITEMS, monkeypatch, jobs)]
    assert names == [item.name for item in ITEMS]
    assert sorted(task.seen) == [(item.name, False) for item in ITEMS]
    assert 1 <= len(cluster.actors) <= count
    assert cluster.asked == {"num_cpus": 1, "num_gpus": gpus}
    assert cluster.ended
    assert cluster.killed == cluster.actors


def test_what_a_lost_actor_had_is_done_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, task = Cluster({"r09": 1}, CPU=2.0), Task()
    events = list(run(cluster, task, ITEMS, monkeypatch))
    assert [event.item.name for event in events] == [item.name for item in ITEMS]
    assert not [event for event in events if isinstance(event, Failure)]
    assert dict(task.seen)["r09"] is True
    assert len(cluster.actors) == 3


def test_a_recording_that_no_actor_survives_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    events = list(run(Cluster({"r00": 99}, CPU=1.0), Task(), ITEMS[:4], monkeypatch))
    assert [event.item.name for event in events] == [item.name for item in ITEMS[:4]]
    (failed,) = (event for event in events if isinstance(event, Failure))
    assert "r0.npy: 3 processes in a row ended" in str(failed.error)


@pytest.mark.parametrize("folder", ["here", "gone"])
def test_a_worker_that_cannot_start_is_reported_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Not as a lost worker, after three tries."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    task = Task("ckpt.pt: no such file" if folder == "here" else "")
    if folder == "gone":
        monkeypatch.setattr(with_ray.Path, "cwd", lambda: tmp_path / "gone")
    cluster = Cluster(CPU=2.0)
    message = r"^ckpt.pt: no such file \(on the worker" if folder == "here" else "gone: a worker on .* does not see it"
    with pytest.raises(EcgcamError, match=message):
        list(run(cluster, task, ITEMS, monkeypatch))
    assert cluster.ended


def test_a_mistake_of_the_program_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task()
    monkeypatch.setattr(task, "run", lambda *_: 1 / 0)
    with pytest.raises(TaskError, match="division by zero"):
        list(run(Cluster(), task, ITEMS[:1], monkeypatch))


def test_broken_off_the_actors_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(CPU=3.0)
    events = run(cluster, Task(), ITEMS, monkeypatch)
    assert next(events).item.name == "r00"
    events.close()
    assert cluster.ended
    assert cluster.killed == cluster.actors


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
