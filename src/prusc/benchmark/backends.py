"""Backends that run cells: processes of this machine, or a Dask or Ray cluster. A lost worker loses no cell."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from prusc.engine.process import keep_freed_memory
from prusc.errors import ConfigError, nearest_names

TaskT = TypeVar("TaskT")
Function = Callable[[TaskT, int], str | None]
Outcomes = Iterator[tuple[TaskT, str | None]]

# After this many lost workers, the task itself is taken to be the cause.
MAX_DEATHS = 3


@dataclass(frozen=True)
class Workers:
    """The processes that run the cells.

    Attributes:
        backend: ``loky`` for processes of this machine, ``dask`` or ``ray`` for a cluster.
        num_workers: Number of cells that run at once; ``None`` for one per core, or all that a cluster has room for.
        num_threads: Threads per cell.
        address: Address of the cluster. ``None`` takes it from the environment variable of Dask or Ray; ``local``
            starts a cluster on this machine.
        gpus_per_cell: Share of a GPU that Ray reserves for each cell.
    """

    backend: str = "loky"
    num_workers: int | None = None
    num_threads: int = 1
    address: str | None = None
    gpus_per_cell: float = 0.0

    def __post_init__(self) -> None:
        if self.backend not in _BACKENDS:
            raise ConfigError(
                f"unknown backend {self.backend!r}{nearest_names(self.backend, _BACKENDS)}; the backends are "
                f"{', '.join(_BACKENDS)}"
            )
        for name in ("num_workers", "num_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, found {value}")
        if self.address is not None and self.backend == "loky":
            raise ConfigError(f"address {self.address!r} needs a cluster backend; set the backend to dask or ray")
        if self.gpus_per_cell < 0:
            raise ConfigError(f"gpus_per_cell must be at least 0, found {self.gpus_per_cell}")

    def run(self, function: Function[TaskT], tasks: Sequence[TaskT]) -> Outcomes[TaskT]:
        """Run the function on every task in parallel.

        Args:
            function: Takes a task and the number of threads, and returns an error or ``None``. If a worker dies, its
                task runs again, so the function has to resume. Function and tasks have to be picklable.
            tasks: The tasks.

        Yields:
            Each task and its error or ``None``, in the order in which they end.

        Raises:
            ConfigError: If the backend is not installed or the cluster cannot be reached.
        """
        return _BACKENDS[self.backend](self, function, tasks) if tasks else iter(())


def _run_here(workers: Workers, function: Function[TaskT], tasks: Sequence[TaskT]) -> Outcomes[TaskT]:
    num_workers = min(workers.num_workers or joblib.cpu_count(), len(tasks))
    # Numerical libraries read their number of threads from the environment when a process starts.
    with joblib.parallel_config(
        "loky", n_jobs=num_workers, inner_max_num_threads=workers.num_threads, initializer=keep_freed_memory
    ):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
    return _run_joblib(parallel, function, tasks, workers.num_threads, (TerminatedWorkerError,))


def _run_dask(workers: Workers, function: Function[TaskT], tasks: Sequence[TaskT]) -> Outcomes[TaskT]:
    try:
        import distributed
    except ImportError as error:
        raise ConfigError("backend dask needs the package distributed: pip install 'prusc[dask]'") from error
    try:
        if workers.address == "local":
            client = distributed.Client(n_workers=workers.num_workers, threads_per_worker=1, dashboard_address=None)
        else:
            client = distributed.Client(workers.address, timeout="20s")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Dask cluster at {workers.address}: {error}; give the address of its scheduler, such as "
            "tcp://host:8786, or local"
        ) from error
    with client:
        # joblib registers its Dask backend only on this path.
        with joblib.parallel_config("dask", n_jobs=workers.num_workers or -1):
            parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        yield from _run_joblib(parallel, function, tasks, workers.num_threads, (distributed.KilledWorker,))


def _run_joblib(
    parallel: Any,
    function: Function[TaskT],
    tasks: Sequence[TaskT],
    num_threads: int,
    deaths: tuple[type[Exception], ...],
) -> Outcomes[TaskT]:
    """Run with joblib, and restart it with the remaining tasks when a dead worker makes it stop."""
    left = dict(enumerate(tasks))
    num_deaths = 0
    while left:
        # joblib does not tell which task killed its worker, so tasks then run one by one.
        alone = num_deaths >= MAX_DEATHS
        chosen = list(left)[:1] if alone else list(left)
        try:
            for index, error in parallel(joblib.delayed(_numbered)(function, i, left[i], num_threads) for i in chosen):
                yield left.pop(index), error
        except deaths:
            num_deaths += 1
            if alone:
                yield left.pop(chosen[0]), _died(num_deaths)


def _numbered(function: Function[TaskT], index: int, task: TaskT, num_threads: int) -> tuple[int, str | None]:
    return index, function(task, num_threads)


def _run_ray(workers: Workers, function: Function[TaskT], tasks: Sequence[TaskT]) -> Outcomes[TaskT]:
    """Run as tasks of Ray, which repeats only the task of a dead worker; the Ray backend of joblib stops all."""
    try:
        import ray
    except ImportError as error:
        raise ConfigError("backend ray needs the package ray: pip install 'prusc[ray]'") from error
    started = not ray.is_initialized()
    if started:
        local = workers.address == "local"
        try:
            ray.init(
                address=workers.address or "auto",
                num_cpus=(workers.num_workers or joblib.cpu_count()) * workers.num_threads if local else None,
                include_dashboard=False if local else None,
                log_to_driver=False,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            refused = "AuthToken" in f"{error} {error.__cause__}"
            raise ConfigError(
                f"cannot use the Ray cluster at {workers.address or 'the default address'}: "
                + (
                    "it requires a token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file of its token"
                    if refused
                    else f"{' '.join(str(error).split())[:200]}; start one with ray start --head, give its address, or "
                    "local"
                )
            ) from error
    try:
        remote = ray.remote(num_cpus=workers.num_threads, num_gpus=workers.gpus_per_cell, max_retries=MAX_DEATHS)(
            function
        )
        waiting = list(tasks)
        running: dict[Any, TaskT] = {}
        while waiting or running:
            while waiting and (workers.num_workers is None or len(running) < workers.num_workers):
                task = waiting.pop(0)
                running[remote.remote(task, workers.num_threads)] = task
            finished, _ = ray.wait(list(running), num_returns=1)
            for reference in finished:
                try:
                    outcome = ray.get(reference)
                except ray.exceptions.WorkerCrashedError:
                    outcome = _died(MAX_DEATHS + 1)
                except ray.exceptions.RayError as error:
                    outcome = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
                yield running.pop(reference), outcome
    finally:
        if started:
            ray.shutdown()


def _died(num_deaths: int) -> str:
    return f"its worker died {num_deaths} times, by a signal or for lack of memory; run it alone with --workers 1"


_BACKENDS: dict[str, Callable[..., Any]] = {"loky": _run_here, "dask": _run_dask, "ray": _run_ray}
