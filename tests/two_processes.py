"""What one process and two processes have to agree on; ``python -m tests.two_processes FOLDER`` is one of the two."""

import copy
import hashlib
import os
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import prusc
from prusc.config import MaskConfig, RuntimeConfig
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.batch_norm import synchronized_batch_norm
from prusc.engine.runtime import Runtime
from prusc.engine.training import Schedule, epoch_batches, train_weights
from prusc.errors import DataError, TrainingError
from prusc.masks import BinaryMask
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import DebiasingSet, build_debiasing_set
from prusc.stages.mask_learning import LearnedMasks, learn_masks
from prusc.stages.representations import extract_representations, predict
from tests.networks import (
    NUM_CLASSES,
    TRANSFORM,
    WithActivatedNorm,
    feed_of,
    generator,
    make_split,
    random_images,
    randomise,
    small_cnn,
    striped_split,
)


def fingerprint() -> Tensor:
    """Digest of the sources of prusc: processes that imported different versions have nothing to agree on."""
    digest = hashlib.sha256()
    for path in sorted(Path(prusc.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return torch.tensor(list(digest.digest()))


SOURCES = fingerprint()

# Odd, so that the parts of two processes are of different size.
NUM_SAMPLES = 37


def compute(runtime: Runtime) -> dict[str, Tensor]:
    """Run everything that may be shared among processes; the names say what is compared."""
    return {
        "sources": SOURCES,
        **collectives(runtime),
        **batch_norm(runtime),
        **masks(runtime),
        **weights(runtime),
        **representations(runtime),
        **lost_training(runtime),
    }


def collectives(runtime: Runtime) -> dict[str, Tensor]:
    found = {}
    for total in (1, 2, 3, 8, 9):
        part = runtime.contiguous_part(total)
        rows = torch.arange(part.start, part.stop)[:, None] + torch.tensor([0.0, 0.5])
        found[f"collectives/uneven {total}"] = runtime.gather_uneven(rows, total)
    values = torch.arange(6.0)
    mine = runtime.shard(values).clone().requires_grad_()
    gathered = runtime.gather(mine)
    # The same loss in every process, as the contrastive loss is.
    gathered.square().sum().backward()
    found["collectives/gathered"] = gathered.detach().sort().values
    assert mine.grad is not None
    found["collectives/slope of each part"] = runtime.gather(mine.grad / runtime.num_processes).sort().values
    # Each of five pieces of work is done by one of the processes.
    done: list[int] = []
    works = [partial(lambda index: done.append(index) or torch.tensor([index, index**2]), index) for index in range(5)]
    found["collectives/shared"] = torch.stack(runtime.share(works))
    assert done == list(range(5))[runtime.rank :: runtime.num_processes]
    # The error of one process comes out of all.
    with pytest.raises(DataError, match="of the second"):
        runtime.share([works[0], partial(fail, "of the second")])
    found["collectives/average"] = runtime.average(values[runtime.rank :: runtime.num_processes].mean())
    return found


def fail(text: str) -> Tensor:
    raise DataError(text)


def batch_norm(runtime: Runtime) -> dict[str, Tensor]:
    model = randomise(WithActivatedNorm()).train()
    images = random_images(10)
    images[::2] += 1  # The parts of the two processes have different means.
    mine = runtime.shard(images).requires_grad_()
    with synchronized_batch_norm(model, runtime):
        outputs = model(mine)
        part = runtime.shard(torch.arange(10))
        # The mean over the batch of something that is different for each sample.
        (outputs.square() * (1 + part)[:, None]).sum().mul(runtime.num_processes / 10).backward()
    runtime.average_gradients(model.parameters())
    assert mine.grad is not None
    found = {"batch norm/outputs": runtime.gather(outputs.detach()), "batch norm/slope": runtime.gather(mine.grad)}
    order = runtime.gather(part).argsort()
    found = {name: value[order] for name, value in found.items()}
    found["batch norm/slope"] = found["batch norm/slope"] / runtime.num_processes
    found |= {f"batch norm/slope of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    found |= {f"batch norm/{name}": value for name, value in model.named_buffers()}
    with synchronized_batch_norm(model.eval(), runtime), torch.no_grad():
        found["batch norm/in evaluation"] = model(images)
    return found


def masks(runtime: Runtime) -> dict[str, Tensor]:
    found = {}
    for kind, model in (("small-cnn", small_cnn()), ("activated norm", randomise(WithActivatedNorm()))):
        split = striped_split(NUM_SAMPLES)
        config = MaskConfig(8, 24, learning_rate=0.05, beta=0.5, snapshots=1, initial_logit=0.2, head=True)
        learned = learn(model, "head", split, config, runtime)
        for name, kept in learned.final.tensors.items():
            found[f"mask/{kind}/{name}"] = kept
        for entry in learned.history:
            figures = [entry.cross_entropy, entry.contrastive, entry.sparsity, entry.density]
            found[f"history/{kind}/{entry.step}"] = torch.tensor([*figures, entry.anchors_without_positives])
    return found


def learn(model: nn.Module, head_name: str, split: Split, config: MaskConfig, runtime: Runtime) -> LearnedMasks:
    feed = feed_of(split, runtime=runtime)
    return learn_masks(model, feed, debiasing_set(split), config, head_name=head_name, generator=generator(3))


def debiasing_set(split: Split) -> DebiasingSet:
    return build_debiasing_set(Cells(split.labels, torch.arange(len(split)) // 4 % 3, num_classes=NUM_CLASSES))


def weights(runtime: Runtime) -> dict[str, Tensor]:
    found = {}
    for kind, model in (("small-cnn", small_cnn()), ("activated norm", randomise(WithActivatedNorm()))):
        source, losses = generator(4), []
        train(model, runtime, source, after_step=losses)
        found |= {f"weights/{kind}/{name}": value for name, value in model.state_dict().items()}
        found[f"weights/{kind}/losses"] = torch.tensor(losses)
    # With augmentation the images differ, but the processes must not lose step with each other.
    source = generator(5)
    train(small_cnn(), runtime, source, after_step=[], flip=True)
    found["weights/generator after augmentation"] = source.get_state() if runtime.num_processes > 1 else torch.empty(0)
    return found


def train(
    model: nn.Module, runtime: Runtime, source: torch.Generator, *, after_step: list[float], flip: bool = False
) -> None:
    split = striped_split(NUM_SAMPLES)
    # Batches of 13, 13 and 11 samples: unequal shares.
    batches = (batch for _ in range(3) for batch in epoch_batches(len(split), 13, source))
    transform = InputTransform(TRANSFORM.mean, TRANSFORM.std, flip=flip)
    mask = BinaryMask({"head.weight": torch.rand(model.head.weight.shape, generator=generator()) < 0.7})
    train_weights(
        model,
        feed_of(split, transform, runtime),
        Schedule(batches, 9, learning_rate=1e-3, weight_decay=1e-4),
        generator=source,
        name="training",
        mask=mask,
        after_step=lambda step, loss: after_step.append(loss),
    )


def representations(runtime: Runtime) -> dict[str, Tensor]:
    found = extract_representations(small_cnn(), feed_of(striped_split(NUM_SAMPLES), runtime=runtime), head_name="head")
    split = striped_split(NUM_SAMPLES)
    alone = predict(small_cnn(), feed_of(split.subset([4]), runtime=runtime))
    logits = predict(small_cnn(), feed_of(split, runtime=runtime))
    on_disk = copy.copy(runtime)
    on_disk.config = replace(runtime.config, representation_gib=0.0)
    stored = extract_representations(small_cnn(), feed_of(split, runtime=on_disk), head_name="head")
    return {
        "representations/values": found.held,
        "representations/logits": found.logits,
        "representations/predicted": logits,
        "representations/of one sample": alone,
        "representations/on disk": stored.held,
    }


def lost_training(runtime: Runtime) -> dict[str, Tensor]:
    """A sample that spoils one process's share: all have to stop, none may wait for the others."""
    split = striped_split(NUM_SAMPLES)
    spoiled = make_split(TRANSFORM(split.inputs), split.labels)
    # A split refuses such a number at the door, so it comes in afterwards.
    spoiled.inputs[3] = torch.nan
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    stopped = []
    for run in (
        # Without the contrastive loss, which would spread the damage to all processes by itself.
        lambda: learn(model, "1", spoiled, MaskConfig(80, 2, learning_rate=0.05, beta=0.0, snapshots=1), runtime),
        lambda: train_weights(
            model,
            feed_of(spoiled, runtime=runtime),
            Schedule([torch.arange(8)], 1, learning_rate=1e-3, weight_decay=0.0),
            generator=generator(),
            name="training",
        ),
    ):
        try:
            run()
            stopped.append(False)
        except TrainingError:
            stopped.append(True)
    return {"stopped": torch.tensor(stopped)}


def launch(folder: Path, num_processes: int = 2, timeout: float = 180) -> list[dict[str, Tensor]]:
    """Compute in real processes with the environment that torchrun gives them, and return what each one found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(num_processes),
        "LOCAL_WORLD_SIZE": str(num_processes),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.two_processes", str(folder)],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(num_processes)
    ]
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(num_processes)]


def main() -> None:
    torch.set_num_threads(1)
    runtime = Runtime(RuntimeConfig(device="cpu", eval_batch_size=16, num_workers=0))
    assert runtime.num_processes == 2
    assert runtime.is_main == (runtime.rank == 0)
    found = compute(runtime)
    runtime.barrier()
    torch.save(found, Path(sys.argv[1]) / f"{runtime.rank}.pt")


if __name__ == "__main__":
    main()
