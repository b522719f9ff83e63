"""Choose among what was tried, and say whether the choice is better than the original."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from prusc.candidates import Candidate, Setting
from prusc.result import DENSE_FAMILIES
from prusc.selection import CellAccuracy, Verdict, find_verdict, measure_cells


@dataclass(frozen=True, eq=False)
class Choice:
    """The best of each family: ``erm``, the controls, and ``subnetwork``, which is what is handed back.

    Attributes:
        candidates: The chosen one of each family; of ``subnetwork`` the original if nothing was gained.
        networks: The same as networks.
        predictions: Theirs for the validation and the test split.
        verdict: Whether anything was gained.
        cells: Accuracy of the original and of what is handed back, on the validation samples that judge.
    """

    candidates: Mapping[str, Candidate]
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    verdict: Verdict
    cells: tuple[CellAccuracy, ...]


def choose_networks(
    model: nn.Module, setting: Setting, dense: Sequence[Candidate], masked: Sequence[Candidate]
) -> Choice:
    """Choose by the cells of the validation split.

    Args:
        model: The original network.
        setting: What every candidate was judged on.
        dense: Candidates without a mask, the original first.
        masked: Those with one.

    Returns:
        The choice; without controls only that of ``erm`` and ``subnetwork``.
    """
    erm = dense[0]
    families = {name: [c for c in dense if c.kind == kind] for kind, name in DENSE_FAMILIES.items()}
    # The plainest first: what needed no training before what did.
    tried = [*families["last_layer"], *sorted(masked, key=lambda candidate: candidate.kind == "weights")]
    families["subnetwork"] = [erm, *tried]
    shown = [name for name, members in families.items() if members]
    if not setting.config.controls:
        shown = ["erm", "subnetwork"]
    best = {name: setting.choose(families[name]) for name in shown}
    networks = {name: candidate.restore(model) for name, candidate in best.items()}
    predictions = {
        name: {split: setting.represent(network, setting.data.splits[split]).predictions for split in ("val", "test")}
        for name, network in networks.items()
    }
    judged = setting.judged
    labels = setting.data.val.labels[judged]
    verdict = find_verdict(
        before=predictions["erm"]["val"][judged],
        after=predictions["subnetwork"]["val"][judged],
        labels=labels,
        pseudo_groups=setting.pseudo_groups,
        num_candidates=len(tried),
        config=setting.config.selection,
    )
    if verdict != "improved":
        best["subnetwork"], networks["subnetwork"] = erm, networks["erm"]
        predictions["subnetwork"] = predictions["erm"]
    cells = measure_cells(
        before=predictions["erm"]["val"][judged],
        after=predictions["subnetwork"]["val"][judged],
        labels=labels,
        cluster_ids=setting.judged_cluster_ids,
    )
    return Choice(best, networks, predictions, verdict, cells)
