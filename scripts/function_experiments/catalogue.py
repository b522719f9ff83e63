"""Every experiment by name, with the published settings and those for two cores."""

from function_experiments import experiments as run
from function_experiments.experiments import Experiment, masks_of
from function_experiments.mathematics import easy_and_hard
from function_experiments.measuring import Settings, Training
from function_experiments.shortcut import fashion_stickers, isic

# Where the sources give no batch size, it is 128, and no rate of training, it is 1e-3.
_PUBLISHED = Training(20_000)


def _scan(network: str, split: str, seeds: tuple[int, ...] = (0, 1, 2)) -> Experiment:
    if network == "LSTM":
        published = Settings(200, _PUBLISHED, masks_of(20_000, 3e-5), limit=48)
        scaled = Settings(
            64, Training(1500, 64, 5e-3, 5.0), masks_of(400, 3e-4, rate=5e-2, batch=64, samples=2), limit=12
        )
    else:
        published = Settings(100, _PUBLISHED, masks_of(20_000, 6e-4), num_layers=3, limit=48)
        scaled = Settings(
            48,
            Training(1200, 64, 2e-3, 5.0),
            masks_of(400, 6e-4, rate=5e-2, batch=64, samples=2),
            num_layers=1,
            limit=12,
        )
    settings = {"published": published, "scaled": scaled}
    return Experiment(f"SCAN, split {split}", network, settings, seeds, run.scan_split(network, split))


def _removal(data: str, network: str, seeds: tuple[int, ...]) -> Experiment:
    if network == "small-cnn":
        published = Settings(0, _PUBLISHED, masks_of(20_000, 3e-4, rate=1e-3))
        scaled = Settings(0, Training(500, 128, 3e-3), masks_of(200, 3e-4, rate=5e-2, batch=64))
    else:
        published = Settings(16, _PUBLISHED, masks_of(20_000, 2e-5, rate=1e-3), num_layers=18)
        scaled = Settings(
            8, Training(600, 128, 3e-3), masks_of(200, 3e-4, rate=5e-2, batch=64, samples=2), num_layers=1
        )
    settings = {"published": published, "scaled": scaled}
    return Experiment(f"class removal, {data}", network, settings, seeds, run.class_removal(data, network))


def _double_lstm(mode: str, num_heads: int) -> Experiment:
    settings = {
        "published": Settings(256, _PUBLISHED, masks_of(20_000, 1e-4), num_samples=1_000_000),
        "scaled": Settings(
            64, Training(1500, 128, 5e-3), masks_of(300, 5e-4, rate=0.1, samples=2), num_samples=200_000
        ),
    }
    return Experiment(
        f"double addition, {mode}", "LSTM", settings, (0, 1, 2), run.double_addition_lstm(mode, num_heads)
    )


EXPERIMENTS: dict[str, Experiment] = {
    "add-mul-fnn": Experiment(
        "add and multiply",
        "FNN",
        {
            "published": Settings(800, _PUBLISHED, masks_of(20_000, 1e-4)),
            "scaled": Settings(256, Training(6000, 256, 3e-3), masks_of(1000, 5e-4, rate=3e-2, batch=256)),
        },
        (0, 1, 2),
        run.add_and_multiply_fnn,
    ),
    "add-mul-lstm": Experiment(
        "add and multiply",
        "LSTM",
        {
            "published": Settings(256, _PUBLISHED, masks_of(20_000, 1e-4)),
            "scaled": Settings(128, Training(8000, 256, 2e-3), masks_of(1000, 5e-4, rate=3e-2, samples=2)),
        },
        (0, 1, 2),
        run.add_and_multiply_lstm,
    ),
    "double-add-fnn": Experiment(
        "double addition",
        "FNN",
        {
            "published": Settings(2000, _PUBLISHED, masks_of(20_000, 4e-4), num_samples=1_000_000),
            "scaled": Settings(192, Training(3000, 256, 3e-3), masks_of(600, 5e-4, rate=5e-2), num_samples=200_000),
        },
        (0, 1, 2),
        run.double_addition_fnn,
    ),
    "double-add-lstm-same-input": _double_lstm("same input", 2),
    "double-add-lstm-same-output": _double_lstm("same output", 1),
    "double-add-lstm-both": _double_lstm("both", 1),
    "removal-mnist": _removal("mnist", "small-cnn", (0, 1, 2)),
    "removal-fashion": _removal("fashion-mnist", "small-cnn", (0, 1, 2)),
    "removal-cifar10": _removal("cifar10", "small-cnn", ()),
    "removal-fashion-resnet": _removal("fashion-mnist", "resnet", (0, 1, 2)),
    "removal-cifar10-resnet": _removal("cifar10", "resnet", ()),
    "scan-lstm-jump": _scan("LSTM", "jump"),
    "scan-lstm-turn-left": _scan("LSTM", "turn left"),
    "scan-lstm-length": _scan("LSTM", "length"),
    "scan-transformer-jump": _scan("transformer", "jump"),
    "scan-transformer-turn-left": _scan("transformer", "turn left"),
    "scan-transformer-length": _scan("transformer", "length"),
    "mathematics": Experiment(
        "easy and hard problems",
        "transformer",
        {
            # The size of the network is that of Saxton et al.; alpha is that of the SCAN transformer.
            "published": Settings(
                512, _PUBLISHED, masks_of(20_000, 6e-4, samples=8), num_layers=6, num_samples=600_000, limit=8
            ),
            "scaled": Settings(
                64,
                Training(3000, 64, 2e-3, 5.0),
                masks_of(400, 6e-4, rate=5e-2, batch=64, samples=2),
                num_layers=1,
                num_samples=20_000,
                limit=4,
            ),
        },
        (),
        easy_and_hard,
    ),
    "permuted-mnist": Experiment(
        "transfer, permuted MNIST",
        "FNN",
        {
            "published": Settings(800, _PUBLISHED, masks_of(20_000, 1e-4, samples=8), num_layers=2, limit=5),
            "scaled": Settings(
                128, Training(500, 128, 2e-3), masks_of(500, 5e-4, rate=3e-2, samples=2), num_layers=2, limit=3
            ),
        },
        (0, 1, 2),
        run.permuted_mnist,
    ),
    "shortcut-fashion-stickers": Experiment(
        "class and sticker, before and after PruSC",
        "small-cnn",
        {
            "published": Settings(0, Training(20, 256), masks_of(20_000, 3e-4, rate=1e-3), limit=600),
            "scaled": Settings(0, Training(8, 128), masks_of(150, 3e-4, rate=5e-2, batch=32, samples=2), limit=300),
        },
        (30, 31, 32),
        fashion_stickers,
    ),
    "shortcut-isic": Experiment(
        "class and sticker, before and after PruSC",
        "MobileNetV2",
        {
            # The training is that of the run folders, so these steps are its epochs. The product of steps and rate of
            # the scaled masks is that of the shipped settings.
            "published": Settings(0, Training(20, 64), masks_of(20_000, 3e-4, rate=1e-3)),
            "scaled": Settings(0, Training(4, 64), masks_of(300, 3e-4, rate=5e-2, batch=64, samples=2)),
        },
        (),
        isic,
    ),
}
