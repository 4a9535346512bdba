"""``--engine ray``: recordings explained by Ray actors, on one machine or on a cluster whose workers see the same files.

Each actor loads the model once and does what the local engine does, on some recordings at a time; the manifest, packs and
words are this process's. What a lost actor had begun is done by another, so that nothing is lost but time.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgcam.batch.helpers import cores, most_processes
from ecgcam.batch.local import Failed, Finished, Output, Summary, flush_denormals, run_explain
from ecgcam.batch.manifest import Line
from ecgcam.batch.reading import Reading
from ecgcam.batch.resume import clear, undone
from ecgcam.batch.worklist import Failure, Item
from ecgcam.errors import EcgcamError
from ecgcam.models.load import load_model
from ecgcam.settings import Settings

# Recordings that an actor takes at a time: enough to fill its batches, few enough to lose little.
_SOME = 8
# What is waited for the death of actors that are killed.
_PATIENCE_S = 5.0
# A recording that three actors in a row did not survive is at fault itself.
_ATTEMPTS = 3


# An actor, the recordings it is at, and how many have been at them.
_Running = tuple[Any, list[Item], int]


@dataclass
class Done:
    """What an actor sends back of some recordings."""

    summaries: list[Summary] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """What every actor needs to know: the arguments of `load_model`, and how to explain."""

    model: dict[str, Any]
    texts: Sequence[str]
    reading: Reading
    settings: Settings
    output: Output
    done: frozenset[tuple[str, str]]
    folder: Path
    resume: bool = False


class Worker:
    """Holds a model and explains some recordings at a time."""

    def __init__(self, job: Job) -> None:
        import torch

        if not torch.cuda.is_available():
            torch.set_num_threads(1)  # there are as many actors as processors
        flush_denormals()
        # Relative paths mean what they mean where the call was made.
        try:
            os.chdir(job.folder)
        except OSError as error:
            raise EcgcamError(
                f"{job.folder}: a worker on {platform.node()} does not see it; recordings and --out must be on a file system "
                "that all workers share"
            ) from error
        self._job = job
        self._model = load_model(**job.model)

    def explain(self, items: list[Item], again: bool) -> Done:
        """Explain recordings, and write their results; `again` after an actor that was lost, and may have left something."""
        job, done = self._job, Done()
        if again:
            items = list(undone(items, job.texts, dict.fromkeys(job.done, ""), job.output.out))
        run = run_explain(
            items, job.texts, self._model, job.reading, job.settings, job.output,
            done.failures.append, done.lines.append, None, job.done, resume=job.resume or again,
        )  # fmt: skip
        done.summaries.extend(run)
        return done


def run_with_ray(
    items: Iterable[Item],
    texts: Sequence[str],
    model: dict[str, Any],
    reading: Reading,
    settings: Settings,
    output: Output,
    failed: Failed,
    finished: Finished,
    jobs: int | None = None,
    done: AbstractSet[tuple[str, str]] = frozenset(),
    *,
    resume: bool = False,
) -> Generator[Summary, None, None]:
    """Explain recordings like `run_explain`, on Ray's workers; `model` are the arguments of `load_model`.

    Ray is started on this machine, unless ``RAY_ADDRESS`` names a cluster or one runs here already. Results come in order.

    Raises
    ------
    EcgcamError
        If Ray is not installed, there is no such cluster, or actors die of the same recordings.
    """
    if output.packs is not None:
        raise EcgcamError(
            "--pack: with --engine ray each worker writes its own results; use --shard or the local engine"
        )
    if not os.environ.get("RAY_ADDRESS"):
        jobs = most_processes(jobs)
    ray = _begin(jobs)
    job = ray.put(Job(model, list(texts), reading, settings, output, frozenset(done), Path.cwd(), resume))
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = jobs or gpus or max(1, int(ray.cluster_resources().get("CPU", 1)))
    actor = ray.remote(Worker).options(num_cpus=1, num_gpus=1 if gpus else 0)
    running: dict[Any, _Running] = {}
    try:
        yield from _all(ray, actor, job, count, items, failed, finished, running)
    finally:
        # An actor is killed in the middle of a result, and cannot tidy up itself.
        for worker, *_ in running.values():
            ray.kill(worker)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_PATIENCE_S)
        ray.shutdown()
        for _, some, _ in running.values():
            clear(some, texts, output.out)


def _all(
    ray: Any,
    actor: Any,
    job: Any,
    count: int,
    items: Iterable[Item],
    failed: Failed,
    finished: Finished,
    running: dict[Any, _Running],
) -> Iterator[Summary]:
    """Hand out recordings, take results in the order of recordings, and give what a lost actor had to another.

    `running` holds who is at what.
    """
    waiting = _chunks(items)
    order: deque[list[Item]] = deque()
    arrived: dict[int, Done] = {}

    def give(worker: Any, some: list[Item], attempt: int) -> None:
        running[worker.explain.remote(some, attempt > 1)] = worker, some, attempt

    for some in waiting:
        order.append(some)
        give(actor.remote(job), some, 1)
        if len(running) == count:
            break
    while order:
        (ready,), _ = ray.wait(list(running), num_returns=1)
        worker, some, attempt = running.pop(ready)
        try:
            arrived[id(some)] = ray.get(ready)
        except ray.exceptions.RayActorError as error:
            if attempt == _ATTEMPTS:
                names = ", ".join(item.name for item in some)
                raise EcgcamError(
                    f"{names}: {attempt} workers in a row were lost on it ({type(error).__name__})"
                ) from error
            give(actor.remote(job), some, attempt + 1)
            continue
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, EcgcamError) else None
            raise cause or error from None
        following = next(waiting, None)
        if following is not None:
            order.append(following)
            give(worker, following, 1)
        while order and id(order[0]) in arrived:
            done = arrived.pop(id(order.popleft()))
            for failure in done.failures:
                failed(failure)
            for line in done.lines:
                finished(line)
            yield from done.summaries


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    some: list[Item] = []
    for item in items:
        some.append(item)
        if len(some) == _SOME:
            yield some
            some = []
    if some:
        yield some


def _begin(jobs: int | None) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as it will be; Ray 2.5x warns otherwise
    try:
        import ray
    except ImportError as error:
        raise EcgcamError("--engine ray: Ray is not installed; pip install 'ecgcam[ray]'") from error
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
            f"--engine ray: Ray cannot be started or reached at {address or 'this machine'} ({error})"
        ) from error
    finally:
        # Ray puts its own in, which would end a call as if all had been well.
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
    return ray
