"""DCWP: learn a mask of the ERM network and fine-tune what it keeps; both favour bias-conflicting samples."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from prusc.losses import debiased_contrastive_terms
from prusc.masks import BinaryMask
from prusc.methods.biased_network import upweight
from prusc.methods.inputs import MethodInputs
from prusc.methods.masking import MaskingSettings, conflicting_samples, learn_mask, masked_samples, masking_cost
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.calls import call_model
from prusc.models.head import RepresentationTap
from prusc.stages.subnetwork import extract_subnetwork


@dataclass(frozen=True)
class DCWPSettings(MaskingSettings):
    """Settings of DCWP; those of mask learning are in `MaskingSettings`.

    Attributes:
        contrast: Weight of the debiased contrastive loss, in mask learning and in fine-tuning.
        temperature: Temperature of that loss.
        finetune_upweight: Sampling weight of a bias-conflicting sample in fine-tuning; that of the others is 1.
        finetune_share: Steps of fine-tuning as a share of the steps of ERM.
    """

    contrast: float = 0.05
    temperature: float = 0.07
    finetune_upweight: float = 80.0
    finetune_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "temperature", "finetune_upweight", "finetune_share")
        require_not_negative(self, "contrast")


def _train(inputs: MethodInputs, settings: DCWPSettings) -> Trained:
    """Find bias-conflicting samples, learn a mask of the ERM network, and fine-tune what it keeps.

    Three things differ from the paper's code. Batches and the rate of fine-tuning are those of ERM. Fine-tuning takes a
    share of ERM's steps (a tenth, as there). The statistics of BatchNorm are estimated again under the mask.

    With several processes, mask learning contrasts a whole batch. In fine-tuning each process contrasts its own part.
    """
    is_conflicting = conflicting_samples(inputs, settings)
    samples = masked_samples(inputs, settings, is_conflicting)
    mask = learn_mask(inputs, settings, samples, contrast=settings.contrast, temperature=settings.temperature)
    size, generator = inputs.config.erm.batch_size, inputs.generator("statistics")
    network = extract_subnetwork(inputs.trained, mask, inputs.feed, samples, batch_size=size, generator=generator)
    _finetune(inputs, settings, network, mask, is_conflicting)
    facts = {"num_conflicting": int(is_conflicting.sum())}
    return Trained(network, mask.density, facts)


def _finetune(
    inputs: MethodInputs, settings: DCWPSettings, network: nn.Module, mask: BinaryMask, is_conflicting: Tensor
) -> None:
    labels = inputs.train.labels
    weights = upweight(is_conflicting, settings.finetune_upweight)
    schedule = inputs.draws("fine-tuning", inputs.num_steps(settings.finetune_share), weights)
    with RepresentationTap(network, inputs.head_name) as tap:

        def loss(model: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
            own = labels[indices].to(batch.device)
            cross_entropy = F.cross_entropy(call_model(model, batch).float(), own)
            contrastive = debiased_contrastive_terms(
                tap.take(), own, is_conflicting[indices].to(batch.device), temperature=settings.temperature
            ).loss
            return cross_entropy + settings.contrast * contrastive

        inputs.fit(network, schedule, "DCWP, fine-tuning", loss=loss, mask=mask)


DCWP = TrainedMethod(
    name="dcwp",
    title="DCWP",
    paper="Park et al. 2023, arXiv:2210.05247",
    group_labels="none",
    train=_train,
    settings=(
        DCWPSettings(),
        # A mask that starts from 0 removes more. Short fine-tuning leaves no time to memorise.
        DCWPSettings(initial_logit=0.0, mask_learning_rate=0.1, mask_steps=300),
        DCWPSettings(
            initial_logit=0.0,
            mask_learning_rate=0.1,
            mask_steps=300,
            mask_upweight=20.0,
            sparsity=2e-6,
            finetune_upweight=20.0,
            finetune_share=0.05,
        ),
        DCWPSettings(
            initial_logit=0.0,
            mask_learning_rate=0.1,
            mask_steps=300,
            mask_upweight=20.0,
            finetune_upweight=20.0,
        ),
        DCWPSettings(
            initial_logit=0.0, mask_learning_rate=0.1, mask_steps=300, finetune_upweight=10.0, finetune_share=0.05
        ),
        DCWPSettings(initial_logit=0.0, mask_learning_rate=0.1, mask_steps=300, sparsity=2e-6),
        DCWPSettings(initial_logit=0.0, mask_learning_rate=0.1, mask_steps=300, biased_share=0.05),
    ),
    starts_from_erm=True,
    cost=lambda settings, erm: masking_cost(settings, erm, own=settings.finetune_share),
)
