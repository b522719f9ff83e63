"""Small networks of every kind that masks have to work on, and what goes into them."""

from dataclasses import dataclass, field

import timm
import torch
import torchvision
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config import RuntimeConfig
from prusc.data.table import Data, Split
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime
from prusc.models.build import SmallCNN, build_model

NUM_CLASSES = 3
TRANSFORM = InputTransform((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@dataclass
class Listener:
    """Remembers what is reported; fails at a step, where one is named."""

    fails_at: int | None = None
    lines: list[str] = field(default_factory=list)
    steps: list[tuple[str, int, int]] = field(default_factory=list)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, task: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        if done == self.fails_at:
            raise ZeroDivisionError
        self.steps.append((task, done, total))


def feed_of(split: Split, transform: InputTransform = TRANSFORM, runtime: Runtime | None = None) -> Feed:
    """The split on the CPU."""
    return Feed(split, transform, runtime or Runtime(RuntimeConfig(device="cpu")))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic a value of its own: no zeros, no ones, as in a trained network."""
    source = generator(seed)
    for name, parameter in model.named_parameters():
        spread = 0.1 if parameter.ndim < 2 else 1.2 / parameter[0].numel() ** 0.5
        offset = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
        parameter.data = torch.randn(parameter.shape, generator=source) * spread + offset
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=source) * 0.1)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=source) + 0.5)
        elif name.endswith("num_batches_tracked"):
            buffer.fill_(7)
    return model.eval()


class ConvNet(nn.Module):
    """About a hundred weights; smooth, so that each of them has a say."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.depthwise = nn.Conv2d(3, 3, 2, groups=3, bias=False)
        self.head = nn.Linear(3, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.gelu(self.norm(self.conv(images)))
        return self.head(F.gelu(self.depthwise(hidden)).mean((2, 3)))


class Recurrent(nn.Module):
    """A bidirectional LSTM with a projection, then a head on the last step."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, width, num_layers=2, batch_first=True, bidirectional=True, proj_size=2)
        self.head = nn.Linear(4, NUM_CLASSES)

    def forward(self, sequences: Tensor) -> Tensor:
        return self.head(self.lstm(sequences)[0].mean(1))


class Tied(nn.Module):
    """One weight in two layers, and the embedding's weight in a third."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.decode = nn.Linear(4, 5, bias=False)
        self.decode.weight = self.embedding.weight
        self.head = nn.Linear(5, NUM_CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(self.embedding(tokens).mean(1)))
        return self.head(torch.tanh(self.decode(torch.tanh(self.second(hidden)))))


class Attentive(nn.Module):
    """PyTorch's own transformer layer, whose attention keeps its weights in parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            4, 2, dim_feedforward=5, dropout=0.0, batch_first=True, activation="gelu"
        )
        self.head = nn.Linear(4, NUM_CLASSES)

    def forward(self, sequences: Tensor) -> Tensor:
        return self.head(self.layer(sequences).mean(1))


class WithActivatedNorm(nn.Module):
    """BatchNorms of three kinds: plain, timm's with the activation inside, and one over vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, bias=False)
        self.norm = BatchNormAct2d(6, act_layer=nn.GELU, inplace=False)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, bias=False)
        self.norm2 = nn.BatchNorm2d(8, momentum=None)
        self.norm3 = nn.BatchNorm1d(8, affine=False)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.norm2(self.conv2(self.norm(self.conv(images)))))
        return self.head(self.norm3(hidden.mean((2, 3))))


def small_cnn(seed: int = 0) -> nn.Module:
    return randomise(SmallCNN(NUM_CLASSES), seed)


def mobilenet_v2() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return torchvision.models.mobilenet_v2(num_classes=NUM_CLASSES)


def resnet18() -> nn.Module:
    return randomise(build_model("resnet18", NUM_CLASSES, generator=generator()))


def vit_tiny() -> nn.Module:
    """At 32 px."""
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("vit_tiny_patch16_224", num_classes=NUM_CLASSES, img_size=32, patch_size=8, depth=3)
    return randomise(model)


def random_images(num_images: int, size: int = 8, channels: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(num_images, channels, size, size, generator=generator(seed))


def random_sequences(num_sequences: int, seed: int = 1) -> Tensor:
    return torch.randn(num_sequences, 6, 3, generator=generator(seed))


def make_split(inputs: Tensor, labels: Tensor, attributes: Tensor | None = None) -> Split:
    return Split(inputs, labels, attributes, tuple(f"sample-{index}" for index in range(len(labels))))


def striped_split(num_samples: int = 60, size: int = 8, seed: int = 0) -> Split:
    """Images whose class is a bright row, with a bright corner that mostly agrees with it."""
    source = generator(seed)
    images = torch.randint(0, 90, (num_samples, 3, size, size), dtype=torch.uint8, generator=source)
    labels = torch.arange(num_samples) % NUM_CLASSES
    attributes = torch.where(torch.rand(num_samples, generator=source) < 0.8, labels, (labels + 1) % NUM_CLASSES)
    for index in range(num_samples):
        images[index, :, 2 + int(labels[index])] += 120
        images[index, int(attributes[index]), :2, :2] += 160
    return make_split(images, labels, attributes[:, None])


def striped_data(num_samples: int = 60) -> Data:
    return Data(
        "stripes",
        ("a", "b", "c"),
        *(striped_split(num_samples, seed=seed) for seed in range(3)),
        attribute_names=("corner",),
        attribute_values=(("red", "green", "blue"),),
    )


class Skip(nn.Module):
    """A user's network: a skip connection, a concatenation, and activations that are not 0 at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 12, 3)
        self.head = nn.Linear(12 + 8, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.softplus(self.stem(images))
        hidden = torch.sigmoid(self.norm(self.inner(hidden))) + hidden
        last = torch.exp(-self.last(hidden).abs())
        return self.head(torch.cat([last.mean((2, 3)), hidden.mean((2, 3))], dim=1))


class Grouped(nn.Module):
    """A convolution in four groups, as in ResNeXt, and a gate, as in squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.grouped = nn.Conv2d(8, 12, 3, groups=4)
        self.squeeze = nn.Conv2d(12, 5, 1)
        self.gate = nn.Conv2d(5, 12, 1)
        self.last = nn.Conv2d(12, 6, 1)
        self.head = nn.Linear(6, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.grouped(F.relu(self.first(images))))
        hidden = hidden * torch.sigmoid(self.gate(F.relu(self.squeeze(hidden.mean((2, 3), keepdim=True)))))
        return self.head(F.relu(self.last(hidden)).mean((2, 3)))


class Unshrinkable(nn.Module):
    """Channels that have to stay: behind a norm over them, with a fixed number, and with shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.normed = nn.Linear(3, 6)
        self.norm = nn.LayerNorm(6)
        self.fixed = nn.Linear(6, 8)
        self.free = nn.Linear(8, 10)
        self.head = nn.Linear(10, NUM_CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.fixed(torch.tanh(self.norm(self.normed(inputs)))).view(-1, 2, 4).sin()
        return self.head(F.relu(self.free(hidden.reshape(-1, 8))))


def vit_of_one_block() -> nn.Module:
    """At 16 px."""
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("vit_tiny_patch16_224", num_classes=NUM_CLASSES, img_size=16, patch_size=8, depth=1)
    return randomise(model)


def convnext() -> nn.Module:
    """The smallest one of timm, at 32 px."""
    with torch.random.fork_rng(devices=[]):
        model = timm.create_model("convnext_atto", num_classes=NUM_CLASSES, depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    return randomise(model)
