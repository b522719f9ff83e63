"""The networks of the experiments, in plain PyTorch."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FNN(nn.Module):
    """Hidden layers of one width with ReLU; several outputs with ten or so classes each."""

    def __init__(self, num_inputs: int, width: int, num_hidden: int, num_outputs: int, num_classes: int) -> None:
        super().__init__()
        widths = [num_inputs, *([width] * num_hidden)]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(width, num_outputs * num_classes)
        self.shape = (num_outputs, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs.flatten(1)
        for layer in self.hidden:
            hidden = F.relu(layer(hidden))
        return self.head(hidden).unflatten(1, self.shape)


class StepLSTM(nn.Module):
    """An LSTM that reads one vector per step and answers at some of the steps.

    Args:
        num_inputs: Length of the vectors.
        width: Of each layer.
        answer_steps: Steps whose state is read, in the order of the outputs.
        num_heads: Number of output layers; output ``i`` is read by head ``i * num_heads // num_outputs``.
        num_classes: Of each output.
    """

    def __init__(
        self, num_inputs: int, width: int, answer_steps: tuple[int, ...], num_heads: int = 1, num_classes: int = 10
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(num_inputs, width, num_layers=2, batch_first=True)
        self.heads = nn.ModuleList(nn.Linear(width, num_classes) for _ in range(num_heads))
        self.answer_steps = answer_steps

    def forward(self, inputs: Tensor) -> Tensor:
        states = self.lstm(inputs)[0][:, list(self.answer_steps)]
        parts = states.chunk(len(self.heads), dim=1)
        return torch.cat([head(part) for head, part in zip(self.heads, parts, strict=True)], dim=1)


class _Block(nn.Module):
    """Two convolutions beside a shortcut, which has no weights: it drops pixels and adds empty channels."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.stride = num_out // num_in
        self.first = nn.Conv2d(num_in, num_out, 3, stride=self.stride, padding=1, bias=False)
        self.second = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(num_out) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norms[1](self.second(F.relu(self.norms[0](self.first(images)))))
        missing = hidden.shape[1] - images.shape[1]
        return F.relu(hidden + F.pad(images[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, missing)))


class ResNet(nn.Module):
    """A residual network for small images (He et al. 2016), of depth ``6 * num_blocks + 2``; 18 blocks give 110."""

    def __init__(self, num_blocks: int, num_classes: int, in_channels: int, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        widths = [width, *([width] * num_blocks), *([2 * width] * num_blocks), *([4 * width] * num_blocks)]
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in itertools.pairwise(widths)))
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu(self.norm(self.stem(images)))).mean((2, 3)))


def _trim(tokens: Tensor, padding: int) -> int:
    """Return the length of the longest sequence of a batch, at least 1."""
    return max(int((tokens != padding).sum(1).max()), 1)


class LSTMTranslator(nn.Module):
    """Encoder and decoder LSTM; the decoder begins with the state of the encoder.

    Args:
        num_words: Size of the vocabulary of commands; word 0 is the padding, on the left.
        num_actions: Size of the vocabulary of actions; action 0 is the padding, 1 the beginning, 2 the end.
        width: Of embeddings and states.
    """

    def __init__(self, num_words: int, num_actions: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, width, padding_idx=0)
        self.actions = nn.Embedding(num_actions, width, padding_idx=0)
        self.encoder = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.decoder = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, num_actions)

    def forward(self, commands: Tensor, previous: Tensor) -> Tensor:
        """Return logits of each action, given the actions before it."""
        length = _trim(previous, 0)
        # The padding stays, so that an answer does not depend on the other commands of the batch.
        _, state = self.encoder(self.words(commands))
        hidden, _ = self.decoder(self.actions(previous[:, :length]), state)
        return F.pad(self.head(hidden), (0, 0, 0, previous.shape[1] - length))


class TransformerTranslator(nn.Module):
    """Encoder and decoder transformer with sinusoidal positions; arguments as `LSTMTranslator`."""

    def __init__(
        self,
        num_words: int,
        num_actions: int,
        width: int,
        num_layers: int = 3,
        num_heads: int = 4,
        max_length: int = 64,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, width, padding_idx=0)
        self.actions = nn.Embedding(num_actions, width, padding_idx=0)
        self.transformer = nn.Transformer(
            width, num_heads, num_layers, num_layers, dim_feedforward=2 * width, dropout=0.0, batch_first=True
        )
        self.head = nn.Linear(width, num_actions)
        angles = torch.arange(max_length)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width])

    def forward(self, commands: Tensor, previous: Tensor) -> Tensor:
        """Return logits of each action, given the actions before it."""
        length = _trim(previous, 0)
        source = self.words(commands) + self.positions[: commands.shape[1]]
        target = self.actions(previous[:, :length]) + self.positions[:length]
        later = torch.ones(length, length, dtype=torch.bool, device=target.device).triu(1)
        hidden = self.transformer(
            source,
            target,
            tgt_mask=later,
            src_key_padding_mask=commands == 0,
            memory_key_padding_mask=commands == 0,
        )
        return F.pad(self.head(hidden), (0, 0, 0, previous.shape[1] - length))
