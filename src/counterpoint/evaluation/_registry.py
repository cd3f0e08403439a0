"""Names of what this room offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Registry

if TYPE_CHECKING:
    from .task import Task

TASKS = Registry(
    "task",
    {
        "retrieval": "counterpoint.evaluation.retrieval.pair_retrieval:Retrieval",
        "zero_shot": "counterpoint.evaluation.classification.zero_shot:ZeroShot",
        "probe": "counterpoint.evaluation.classification.probe:Probe",
        "shift": "counterpoint.evaluation.classification.shift:Shift",
        "label_retrieval": "counterpoint.evaluation.retrieval.label_retrieval:LabelRetrieval",
        "winoground": "counterpoint.evaluation.compositional.squares:Winoground",
        "bivlc": "counterpoint.evaluation.compositional.squares:BiVLC",
        "mmvp": "counterpoint.evaluation.compositional.squares:MMVP",
        "inpaintcoco": "counterpoint.evaluation.compositional.squares:InpaintCOCO",
        "sugarcrepe": "counterpoint.evaluation.compositional.choices:SugarCrepe",
        "aro": "counterpoint.evaluation.compositional.choices:ARO",
        "count_to_ten": "counterpoint.evaluation.compositional.counting:CountToTen",
        "concept_association_bias": "counterpoint.evaluation.compositional.association:ConceptAssociationBias",
        "compa": "counterpoint.evaluation.compositional.squares:CompA",
        "videocon": "counterpoint.evaluation.video.videocon:VideoCon",
        "vibe": "counterpoint.evaluation.video.vibe:ViBe",
        "modality_importance_score": "counterpoint.evaluation.video.importance:ModalityImportance",
        "multi_attribute_bias_amplification": "counterpoint.evaluation.bias_amplification:BiasAmplification",
        "fudd": "counterpoint.evaluation.describing.fudd:FuDD",
        "mmcl_robustness": "counterpoint.evaluation.shortcuts.robustness:MMCLRobustness",
        "cl_simplicity_bias": "counterpoint.evaluation.shortcuts.simplicity:CLSimplicityBias",
        "pointing": "counterpoint.evaluation.compositional.regions:Pointing",
        "segmentation": "counterpoint.evaluation.compositional.regions:Segmentation",
        "localisation": "counterpoint.evaluation.compositional.regions:Localisation",
        "question_answering": "counterpoint.evaluation.question_answering:QuestionAnswering",
        "out_of_distribution": "counterpoint.evaluation.classification.out_of_distribution:OutOfDistribution",
        "vlb": "counterpoint.evaluation.answering.bootstrapped:VLBChoices",
    },
)

DEFAULT_TASKS = ("retrieval", "zero_shot", "probe", "shift")


def create(name: str, **options: Any) -> Task:
    """The task of this name.

    Raises:
        UnknownName: if there is none; the message names the nearest.

    >>> create("retrieval").primary
    'i2t_R@1'
    """
    return TASKS.create(name, **options)
