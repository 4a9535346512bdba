"""``--engine ray``: the workers of `ecgcam.runs.engine` as Ray actors, on one machine or a cluster that shares its files."""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ecgcam.errors import EcgcamError
from ecgcam.runs.engine import ChunkResult, dispatch, run_chunk
from ecgcam.runs.events import Event
from ecgcam.runs.helpers import WorkerLostError, cores, most_processes
from ecgcam.runs.tasks import Task

# What is waited for the end of actors that are killed.
_PATIENCE_S = 5.0


class RayWorker:
    """A worker in an actor. What goes wrong at its start is raised where its first answer is waited for."""

    def __init__(self, task: Task, folder: Path) -> None:
        import torch

        self._error: EcgcamError | None = None
        if not torch.cuda.is_available():
            torch.set_num_threads(1)  # there are as many workers as processors
        try:
            os.chdir(folder)  # relative paths mean what they mean where the call was made
            self._task = task
            _ = task.options.loaded
        except OSError:
            self._error = EcgcamError(
                f"{folder}: a worker on {platform.node()} does not see it; recordings and `out` must be on a file system "
                "that all workers share"
            )
        except EcgcamError as error:
            self._error = EcgcamError(f"{error} (on the worker {platform.node()})")

    def run(self, items: list[Any], again: bool) -> ChunkResult:
        """Return the events of some recordings."""
        if self._error is not None:
            raise self._error
        return run_chunk(self._task, items, again)


class _Actors:
    """Hands recordings to the actor that has least to do, and replaces an actor that is lost."""

    def __init__(self, ray: Any, task: Task, count: int) -> None:
        self._ray = ray
        self._task, self._folder = ray.put(task), str(Path.cwd())
        gpus = int(ray.cluster_resources().get("GPU", 0))
        self._remote = ray.remote(RayWorker).options(num_cpus=1, num_gpus=1 if gpus else 0)
        self._waiting: list[list[Any]] = [[] for _ in range(count)]
        self._actors: list[Any] = [None] * count
        self._lock = threading.Lock()

    def submit(self, items: list[Any], again: bool) -> Future[ChunkResult]:
        """Return the future of an actor's answer."""
        with self._lock:
            number = min(range(len(self._actors)), key=lambda i: len(self._waiting[i]))
            if self._actors[number] is None:
                self._actors[number] = self._remote.remote(self._task, Path(self._folder))
            actor = self._actors[number]
            reference = actor.run.remote(items, again)
            self._waiting[number].append(reference)
        answer: Future[ChunkResult] = Future()
        reference.future().add_done_callback(lambda done: self._finish(number, actor, reference, done, answer))
        return answer

    def _finish(self, number: int, actor: Any, reference: Any, done: Future[Any], answer: Future[ChunkResult]) -> None:
        error = done.exception()
        with self._lock:
            if reference in self._waiting[number]:
                self._waiting[number].remove(reference)
            if isinstance(error, self._ray.exceptions.RayActorError) and self._actors[number] is actor:
                self._actors[number] = None
        if error is None:
            answer.set_result(done.result())
        elif isinstance(error, self._ray.exceptions.RayActorError):
            answer.set_exception(WorkerLostError(f"a worker of Ray ended early ({type(error).__name__})"))
        else:
            cause = getattr(error, "cause", None)
            answer.set_exception(cause if isinstance(cause, EcgcamError) else error)

    def kill(self) -> None:
        """End every actor, in the middle of what it does."""
        with self._lock:
            actors = [actor for actor in self._actors if actor is not None]
            waiting = [reference for references in self._waiting for reference in references]
        for actor in actors:
            self._ray.kill(actor)
        if waiting:
            self._ray.wait(waiting, num_returns=len(waiting), timeout=_PATIENCE_S)


def run_with_ray(task: Task, items: Iterable[Any], jobs: int | None = None) -> Generator[Event, None, None]:
    """Run a task on Ray's workers. Events come in the order of recordings.

    Ray is started on this machine, unless ``RAY_ADDRESS`` names a cluster or one runs here already.

    Raises
    ------
    EcgcamError
        If Ray is not installed, there is no such cluster, or workers cannot load the model or see the files.
    """
    if not os.environ.get("RAY_ADDRESS"):
        jobs = most_processes(jobs)
    ray = _begin(jobs)
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        count = jobs or gpus or max(1, int(ray.cluster_resources().get("CPU", 1)))
        actors = _Actors(ray, task, count)
        try:
            yield from dispatch(items, actors.submit, count)
        finally:
            actors.kill()
    finally:
        ray.shutdown()


def _begin(jobs: int | None) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as it will be; Ray 2.5x warns otherwise
    try:
        import ray
    except ImportError as error:
        raise EcgcamError("`engine` ray: Ray is not installed; pip install 'ecgcam[ray]'") from error
    address = os.environ.get("RAY_ADDRESS")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(
                num_cpus=jobs or cores(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise EcgcamError(
            f"`engine` ray: Ray cannot be started or reached at {address or 'this machine'} ({error}); check RAY_ADDRESS"
        ) from error
    finally:
        # Ray installs its own handler, which would end a call with exit code 0.
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
    return ray
