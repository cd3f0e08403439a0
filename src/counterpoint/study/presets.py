"""Comparisons with names: the arms, tasks and budget of a published protocol, for whatever data a user has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.base import Data
    from .design import Budget

PAPERS = {"medical-vl-benchmark": ("PRESETS",)}
MOST_PAIRS = 10
"""Pairs of columns that a preset makes arms of: those of five columns. Their number grows as the square of that of
columns, and so does the time that a comparison takes."""


@dataclass(frozen=True)
class StudyPreset:
    """A protocol.

    Attributes:
        name: after ``--preset``.
        about: what it is, and what it leaves open.
        families: the arms, by what they have in common.
        baseline: the arm that the others are held against.
        tasks: what is evaluated, with the patterns of those of its metrics that count as a task of their own.
        budget: what all arms get the same of.
        margin: differences within ± this are equivalent.
        pairwise: arms of two columns, each of which stands for an arm of every two columns of the data, of which there
            may be `MOST_PAIRS`. They share few numbers with each other, and so have no mean ranks.
    """

    name: str
    about: str
    families: Mapping[str, tuple[str, ...]]
    baseline: str
    tasks: Mapping[str, tuple[str, ...]]
    budget: Budget = "steps"
    margin: float = 0.01
    pairwise: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, family by family."""
        return tuple(arm for arms in self.families.values() for arm in arms)

    def forms(self, arm: str, data: Data) -> tuple[str, ...]:
        """Return the arms that one of its arms stands for on some data: itself, or one for every two columns."""
        if arm not in self.pairwise:
            return (arm,)
        return tuple(f"{arm},columns={'+'.join(pair)}" for pair in combinations(data.columns, 2))

    def arms_for(self, data: Data, labels: str = "") -> tuple[str, ...]:
        """Return the arms that some data can be given to: others lack columns there, or the label that they learn.

        Args:
            data: what on.
            labels: the label that methods learn from, with its options; their own unless given.

        Raises:
            UnknownNameError: for a label that the data does not have.
            ValueError: if the baseline is not among them, or there are more than `MOST_PAIRS` for pairs of columns.
        """
        from ..data.derived.labelling import label_of
        from ..data.labels import listed
        from ..methods.arm import Arm
        from ..training.trained import trained_rows

        fit, reasons, label = [], dict[str, ValueError](), label_of(labels)
        if label:
            data.label(label)
        for name in [form for arm in self.arms for form in self.forms(arm, data)]:
            arm = Arm.parse(name)
            try:
                arm.reads(data.columns)
                if name not in self.arms:
                    trained_rows(name, data)  # two columns that never meet are no arm
                if learned := arm.learned(label):
                    data.label(learned, *arm.learns)
            except ValueError as reason:
                reasons[name] = reason
                continue
            fit.append(name)
        if self.baseline not in fit:
            asks = (
                ""
                if label or not Arm.parse(self.baseline).learned("")
                else "; name the one to learn, --labels NAME"
            )
            raise ValueError(
                f"{self.name} is no comparison for {data.name!r}, whose columns are {', '.join(data.columns)}, with "
                f"the labels {listed(data.labels) or 'none'}: {reasons[self.baseline]}{asks}"
            )
        for pair in self.pairwise:
            if (count := len({*self.forms(pair, data)} & {*fit})) > MOST_PAIRS:
                named = [name for name in self.arms if name not in self.pairwise]
                command = shlex.join(["counterpoint", "compare", *named, self.forms(pair, data)[0]])
                raise ValueError(
                    f"{self.name} has an arm of {pair} for every two columns that rows have together, at most "
                    f"{MOST_PAIRS}, and {data.name!r} has {count} such pairs ({', '.join(data.columns)}): name the "
                    f"arms, as in {command} --preset {self.name} --data …"
                )
        return tuple(fit)

    def tasks_for(self, data: Data) -> tuple[str, ...]:
        """Return the tasks that some data can be asked: others lack labels or questions there.

        Raises:
            ValueError: if there is none.
        """
        from ..evaluation import create
        from ..evaluation.task import NotApplicableError, check_data

        tasks, reasons = [], []
        for name in self.tasks:
            try:
                check_data(create(name), data)
                tasks.append(name)
            except NotApplicableError as reason:
                reasons.append(str(reason))
        if not tasks:
            raise ValueError(f"{data.name!r} has nothing that {self.name} asks about: {'; '.join(reasons)}")
        return tuple(tasks)


_ALL = (
    StudyPreset(
        "medical-vl-benchmark",
        "contrastive methods in three families under one setup: classification, retrieval and question answering",
        {
            "pictures with texts alone": ("clip", "siglip", "convirt"),
            "and pictures with themselves": ("slip", "siamlip", "barlip"),
            "and their parts": ("filip", "mil,pooling=attention"),
        },
        "clip",
        {
            "zero_shot": ("*_mean_per_class",),
            "probe": ("logistic_*_top1",),
            "retrieval": ("*_R@10",),
            "question_answering": ("accuracy",),
        },
    ),
    StudyPreset(
        "text-pairs",
        "pairs of texts, questions and answers say: what negatives beside those of the batch are worth, mined once or "
        "given way to others as they become easy",
        {
            "negatives of the batch alone": ("clip", "siglip"),
            "mined negatives": ("conan", "conan,renew=never"),
        },
        "clip",
        {"retrieval": ("*_R@1",), "graded_similarity": ("spearman",)},
    ),
    StudyPreset(
        "sound-text",
        "the plain contrasts of sounds with what is said of them: which finds sounds by texts, and texts by sounds",
        {
            "each among all of a batch": ("clip", "dcl", "msclap"),
            "each pair by itself": ("siglip",),
        },
        "clip",
        {"retrieval": ("*_R@10",)},
    ),
    StudyPreset(
        "series-text",
        "series with what is said of them, curves and reports, say: the plain contrasts, and attention that drops keys",
        {
            "each among all of a batch": ("clip", "dcl"),
            "each pair by itself": ("siglip",),
            "with attention over time": ("clip,series=transformer", "more,series=transformer,dropkey=0.3"),
        },
        "clip",
        {"retrieval": ("*_R@10",)},
    ),
    StudyPreset(
        "three",
        "three columns or more: what is gained by a term for each pair of them over terms with one that all share, and "
        f"over models of two columns by themselves, of which there is one for every pair, {MOST_PAIRS} at most: with "
        "more, name the arms (clip,columns=a+b)",
        {
            "two columns alone": ("clip",),
            "each with a hub": ("more",),
            "all pairs": ("more,hub=none",),
        },
        "more",
        {"retrieval": ("*_R@10",)},
        pairwise=("clip",),
    ),
    StudyPreset(
        "sound-and-sight",
        "sounds with pictures or clips, and texts where there are any: what one network of several columns gains over "
        f"models of two columns by themselves, of which there is one for every pair, {MOST_PAIRS} at most",
        {
            "two columns alone, by one vector or by sequences": ("clip", "scav"),
            "one transformer, in which no column reads another": ("zorro",),
            "a joint encoder of two columns, and a text": ("coavt",),
        },
        "zorro",
        {"retrieval": ("*_R@1",)},
        pairwise=("clip", "scav"),
    ),
    StudyPreset(
        "gaps",
        "rows with gaps: which classifier of several columns stands what is missing; give --labels",
        {
            "one joint of all columns": ("late", "late,fill=mean", "late,fill=linear", "late,fill=predicted"),
            "with columns dropped in training": ("late,drop=0.3", "late,fill=mean,drop=0.3"),
            "column by column": ("multimodn",),
        },
        "late",
        {"classification": ("accuracy", "macro_f1"), "missing_modality": ("withheld_accuracy",)},
    ),
    StudyPreset(
        "questions",
        "questions about pictures or clips, a row each (--data SOURCE,ask=questions --labels answer): whether columns "
        "must meet before they are pooled",
        {
            "pooled, then joined": ("late,operator=concat", "late,operator=block"),
            "joined, then pooled": ("fused",),
        },
        "late,operator=concat",
        {"classification": ("accuracy", "macro_f1")},
    ),
    StudyPreset(
        "sensors",
        "series without words: which pre-training tells activities, or patients, apart. Arms of one device take the "
        "first; that of several is left out where there is one, and that of labels where none is named (--labels)",
        {
            "a device with itself": ("ntxent,on=series", "rebar"),
            "devices with each other": ("collossl",),
            "by labels": ("supcon,on=series", "cross-entropy,on=series"),
        },
        "ntxent,on=series",
        {"probe": ("logistic_*_top1",)},
    ),
    StudyPreset(
        "no-labels",
        "pictures without labels or captions: which pre-training gives the features that a probe reads best",
        {
            "against other pictures": ("ntxent,on=images", "moco"),
            "against those of a cluster": ("mcl,on=images",),
            "against patches of others": ("jigclu",),
            "without others": ("byol", "swav"),
        },
        "ntxent,on=images",
        {"probe": ("logistic_*_top1",)},
    ),
    StudyPreset(
        "few-labels",
        "a pair that is trained already and a few labelled pictures of each class: whether anything beats zero-shot "
        "and a linear classifier; give --from MODEL, --labels and --shots 1 4 16",
        {
            "no label": ("zero-shot",),
            "classifiers of features": ("linear", "linear-text", "tip-adapter"),
            "words": ("coop",),
        },
        "zero-shot",
        {"classification": ("accuracy", "mean_per_class")},
    ),
    StudyPreset(
        "partly-labelled",
        "pictures of which few are labelled: whether it is better to learn from the labels, or to read them by a probe "
        "afterwards; give --labels, with share=0.05 where more labels are to be hidden",
        {
            "pictures alone": ("ntxent,on=images", "moco", "mcl,on=images", "jigclu", "byol", "swav"),
            "all pictures, with the labels of a few": ("supcon,on=images",),
            "the few that are labelled alone": ("cross-entropy,sampler=balanced",),
        },
        "cross-entropy,sampler=balanced",
        {"probe": ("logistic_*_top1",), "classification": ("accuracy",)},
    ),
    StudyPreset(
        "long-tail",
        "classes of which some are rare: which objective still tells them apart; give --labels, with imbalance=100 "
        "where classes are to be thinned",
        {
            "class scores": ("cross-entropy", "cross-entropy,sampler=balanced", "logit-adjusted"),
            "contrast by classes": ("supcon,on=images", "gml", "sbcl"),
        },
        "cross-entropy",
        {"probe": ("logistic_*_top1",), "classification": ("accuracy", "macro_f1")},
    ),
    StudyPreset(
        "noisy-labels",
        "labels of which some are wrong: which objective does not learn them by heart; give --labels, with noise=0.4 "
        "where more are to be wrong",
        {
            "as they are": ("cross-entropy", "cross-entropy,mixup=1"),
            "each by how far it is believed": ("m-dyr", "md-dyr"),
        },
        "cross-entropy",
        {"probe": ("logistic_*_top1",), "classification": ("accuracy",)},
    ),
    StudyPreset(
        "multi-label",
        "several tags to a picture: which objective finds them, also where some are missing; give --labels, with "
        "missing=0.4 where more are to be",
        {
            "each tag by itself": ("bce",),
            "with less weight on what is no tag": ("asymmetric",),
            "against those that do not apply": ("decoupled-softmax",),
            "with weights by frequency, and missing ones put back": ("comic",),
            "nouns of captions in place of the tags": ("catlip,labels=nouns",),
        },
        "bce",
        {"multi_label": ("*_mAP",)},
    ),
    StudyPreset(
        "numbers",
        "a number to a picture, an age or a count: whether contrast by numbers orders pictures better than regression; "
        "give --labels",
        {
            "read off": ("l1",),
            "contrast of ranges of numbers": ("supcon-bins",),
            "contrast of all, with mixtures": ("supremix,on=images",),
        },
        "l1",
        {"regression": ("ridge_*_mae", "*_ordinality")},
    ),
    StudyPreset(
        "few-shot",
        "classes that training has not seen, each to be told by a few pictures of it; give --labels, and hold whole "
        "classes out (FOLDER,group=folder, or TABLE,columns=group:LABEL). Batches hold six pictures of a class each",
        {
            "pairs of a class, mixed with others": ("metrix,on=images,sampler=classes:6",),
            "episodes": ("protonet", "susana"),
        },
        "protonet",
        {"few_shot": ("*_1shot", "*_5shot")},
    ),
    StudyPreset(
        "dense",
        "patches without labels: which pre-training on pictures alone gives the features that a detector or a "
        "segmenter needs; take --recipe cpu-dense, whose towers keep a fine grid",
        {
            "whole pictures": ("byol",),
            "patches at the same place of two crops": ("pixpro", "pixpro,propagate=false"),
            "hidden patches": ("dbot,image=vit",),
        },
        "byol",
        {"segmentation_probe": ("miou", "miou_band"), "probe": ("logistic_*_top1",)},
    ),
    StudyPreset(
        "matching",
        "pictures with texts: what a joint encoder of both, asked about the best answers alone, adds to comparing "
        "vectors. Scores by it are marked [joint]; compare with --budget time too, as its steps cost several times as "
        "much",
        {
            "vectors alone": ("clip",),
            "a joint encoder beside them": ("albef", "softmask"),
        },
        "clip",
        {
            "retrieval": ("*_R@1", "*_R@1[joint]"),
            "sugarcrepe": ("accuracy", "accuracy[joint]"),
        },
    ),
    StudyPreset(
        "captioners",
        "pictures with texts: whether predicting the caption teaches the tower of pictures more than contrast does. "
        "Scores by the likelihood of a text are marked [joint], and [pmi] without what a text is worth by itself; "
        "compare with --budget time too",
        {
            "contrast": ("clip",),
            "captions": ("cappa,parallel=0", "cappa"),
            "both": ("coca",),
        },
        "clip",
        {
            "sugarcrepe": ("accuracy", "accuracy[joint]", "accuracy[pmi]"),
            "retrieval": ("*_R@1",),
            "captions": ("nll",),
        },
    ),
    StudyPreset(
        "bridges",
        "pictures with conversations (--data SOURCE,talk=questions+captions, or conversations of your own): which "
        "bridge between a picture tower and a language model is worth its tokens; take --recipe speak, and compare "
        "with --budget time too, as fewer tokens make a shorter sequence",
        {
            "a token of each patch": ("sft,bridge=linear", "sft,bridge=mlp"),
            "eight tokens": (
                "sft,bridge=pooled,tokens=8",
                "sft,bridge=resampler,tokens=8",
                "sft,bridge=qformer,tokens=8",
            ),
            "read by layers of the language model": ("sft,bridge=crossed,tokens=8",),
            "from a pyramid of maps": ("llava-uhd-v2",),
        },
        "sft,bridge=linear",
        {"likelihood": ("nats",), "answers": ("accuracy",)},
    ),
    StudyPreset(
        "embedders",
        "pictures with texts and conversations (--data SOURCE,talk=captions): whether a language model that reads "
        "pictures embeds them better than two towers do; take --recipe speak, and compare with --budget time too",
        {
            "two towers": ("clip,columns=image+text",),
            "states of a language model": ("vlm2vec,columns=image+text", "vladva", "cosmo"),
            "queries in front of one": ("blip-2",),
        },
        "clip,columns=image+text",
        {"retrieval": ("*_R@1",), "sugarcrepe": ("accuracy",)},
    ),
    StudyPreset(
        "moments",
        "clips with queries or transcripts, and timelines (clips:long, qvhighlights:PATH): what refinement and "
        "feedback add to finding moments, and attention within the same time alone to finding key frames and "
        "sentences. Arms of the one kind are asked about moments, those of the other about keys",
        {
            "moments, without their parts and with them": (
                "videolights,refinement=0,feedback=0",
                "videolights",
            ),
            "keys, all attending to all and within the same time": ("a2summ,mask=full", "a2summ"),
        },
        "videolights",
        {
            "moments": ("mAP", "highlight_mAP"),
            "keyframes": ("*_AP",),
        },
    ),
    StudyPreset(
        "regions",
        "names for regions: which training on pictures and captions finds the words for a part of a picture; take "
        "--recipe cpu-dense, whose towers keep a fine grid",
        {
            "whole pictures": ("clip", "clip,image=vit-crop", "focal"),
            "patches and words": ("filip", "mil"),
            "sentences of long captions": ("dreamlip",),
        },
        "clip",
        {"regions": ("named", "read"), "segmentation": ("miou",), "retrieval": ("*_R@1",)},
    ),
    StudyPreset(
        "distil",
        "from large to small: what a teacher adds to a smaller tower, for segmenting. The teachers are runs of "
        "segment, clip and moco with the seeds of the comparison, in runs/segment/seed-0 and so on (counterpoint "
        "compare segment clip,columns=image+text moco); their pictures and patches are those of the students, which "
        "--towers.image-width makes smaller",
        {
            "maps of classes alone": ("segment",),
            "and a segmenter's logits": tuple(
                f'segment,distil={distil},teacher="runs/segment/seed-{{seed}}"'
                for distil in ("pixel", "channel", "bpkd")
            ),
            "features of frozen towers, without maps": (
                'uta,image=vit,teacher="runs/clip/seed-{seed}"',
                'pcd,teacher="runs/moco/seed-{seed}"',
                'radio,teacher="runs/clip/seed-{seed}+runs/segment/seed-{seed}"',
            ),
        },
        "segment",
        {"segmentation_probe": ("miou", "miou_band")},
    ),
    StudyPreset(
        "league",
        "every method of two columns that needs neither labels nor a second model, under one recipe; dozens of arms: "
        "give --jobs or --executor, and --tune 4 to search the learning rate of each",
        {
            "softmax over the batch": (
                *("clip", "infonce", "ntxent", "simcse", "dcl", "hard-negatives", "grouped-infonce", "macl"),
                *(
                    "multi-sclip",
                    "poly-view",
                    "align",
                    "convirt",
                    "dbl",
                    "lat",
                    "msclap",
                    "scav",
                    "more",
                    "amcl",
                ),
            ),
            "each pair by itself, margins": ("siglip", "focal", "hinge", "margin-ntxent"),
            "alignment and uniformity": (
                *("align-uniform", "contrastive-gap", "decoupled-uniformity", "kernel-infonce", "spectral"),
            ),
            "weighted": ("cacr", "diht", "hard-contrastive", "isogclr", "llave", "eb-clip"),
            "words and local features": ("filip", "mil", "dito", "fsc-clip", "text-shearing"),
            "queues and mined negatives": ("brivl", "conan"),
            "with self-supervision": (
                *("slip", "siamlip", "siamlip-rocket", "byolip", "byolip-rocket", "barlip", "barlip-rocket"),
                *("swalip", "swalip-rocket", "clip-rocket", "mcl"),
            ),
            "matching and captions": ("albef", "softmask", "coca"),
            "one network for both": ("clippo", "limoe", "zorro"),
            "experts": ("clip-moe",),
        },
        "clip",
        {"retrieval": ("*_R@1", "*_R@10"), "zero_shot": ("*_top1",), "probe": ("logistic_*_top1",)},
    ),
)
PRESETS: Mapping[str, StudyPreset] = {preset.name: preset for preset in _ALL}
"""Every preset by its name.

``medical-vl-benchmark``: Roy et al., "Benchmarking Vision-Language Contrastive Methods for Medical Representation
Learning" (2024), arXiv 2406.07450. Its three families and its kinds of tasks; which eight methods it compared could not
be checked, so these stand for them. At equal steps all arms see the same pairs, and some look at pictures three times
as often: compare with ``--budget passes`` too.
"""
