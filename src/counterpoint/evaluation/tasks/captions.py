"""How likely a captioner finds the true captions, and what it writes itself."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch

from ...data.base import Data, Rows
from ...data.embeddings import uncached
from ...data.items import ObjectAnnotations
from ...types import Captioner, Embedder, Metric, Scores
from ..cider import cider
from ..mentions import Mentions
from ..statistic import error_rate, mean, share
from ..task import EmbedderTask, NotApplicableError, captions_of, check_columns, check_rows, scatter, scores

BATCH = 64
"""Pictures whose captions are judged and written at once."""


@final
class CaptionLikelihood(EmbedderTask):
    """The likelihood of true captions, with and without the picture, and the captions that the model writes.

    ``nll`` is the negative log-likelihood of a token in nats, over all true captions of the test set; ``blind_nll`` the
    same without the picture. By how much it is larger is what the picture tells. ``cider`` is CIDEr-D of the captions
    that the model writes, the likeliest token at a time, with the true ones as references. Where the data says what its
    pictures show, ``chair`` is the share of the things mentioned that are not there (CHAIRi), and ``recall`` the mean
    share of what is there that is mentioned. Texts longer than the model's context are cut.

    Raises:
        NotApplicableError: for a model that writes no captions, or where no row has both a picture and a text.
        ValueError: for no rows.

    Source: the likelihoods as in Tschannen et al. (2023), arXiv 2306.07915; CIDEr, arXiv 1411.5726; CHAIR, arXiv
    1809.02156.
    """

    family = "captioning"
    name = "captions"
    primary = "nll"
    modalities = ("image",)
    papers = ("cappa",)

    def __call__(self, model: Embedder, data: Data, rows: Rows) -> Scores:
        check_rows(data, rows, self.name)
        check_columns(self, data)
        self.check_model(model, data)
        captioner: Any = uncached(model)
        kept = np.flatnonzero(data.present("image", rows) & data.present("text", rows))
        if not len(kept):
            raise NotApplicableError(
                f"{self.name} asks about pictures with captions, and no test row of {data.name!r} has both"
            )
        true = captions_of(data, rows[kept])
        owner = np.repeat(np.arange(len(kept)), [len(of_row) for of_row in true])
        written: list[str] = []
        sums = []
        for start in range(0, len(kept), BATCH):
            part = np.arange(start, min(start + BATCH, len(kept)))
            pictures = data.read("image", rows[kept[part]])
            written += captioner.caption(pictures)
            shown = owner[np.isin(owner, part)]
            texts = [text for row in part for text in true[row]]
            seen = captioner.log_likelihood(pictures[torch.from_numpy(shown - start)], texts)
            blind = captioner.log_likelihood(None, texts)
            sums.append(torch.stack([-seen[:, 0], -blind[:, 0], seen[:, 1]], 1).double().numpy())
        summed = np.zeros((len(kept), 3))
        np.add.at(summed, owner, np.concatenate(sums))
        values = dict(zip(("negative", "blind", "tokens"), summed.T, strict=True))
        values["cider"] = cider(written, true)
        outcomes = {name: scatter(of_row, kept, len(rows)) for name, of_row in values.items()}
        metrics = {
            "nll": Metric(("negative", "tokens"), error_rate, higher_is_better=False),
            "blind_nll": Metric(("blind", "tokens"), error_rate, higher_is_better=False),
            "cider": Metric("cider", mean, bounds=(0.0, 10.0)),
        }
        said = _mentioned(data, rows, dict(zip(data.ids[rows[kept]].tolist(), written, strict=True)))
        if said:
            metrics["chair"] = Metric(("mentions", "absent"), share, higher_is_better=False)
            metrics["recall"] = Metric("recall", mean)
        return scores(self.name, data, rows, outcomes | said, metrics)

    def check_model(self, model: Any, data: Any) -> None:
        if not self.can_ask(model):
            raise NotApplicableError(
                f"{self.name} asks models that write captions, as cappa and coca do: leave the task out"
            )

    def can_ask(self, model: Any) -> bool:
        return isinstance(uncached(model), Captioner)


def _mentioned(data: Data, rows: Rows, written: dict[int, str]) -> dict[str, np.ndarray]:
    """Return outcomes of what captions mention, by the ids of their rows; none where the data has no annotations."""
    try:
        items = data.items(ObjectAnnotations, rows)
    except LookupError:
        return {}
    present = dict(zip(items.ids.tolist(), items.present, strict=True))
    ids = data.ids[rows].tolist()
    if not present.keys() & written.keys():
        return {}
    find = Mentions(items.forms)
    names = ("mentions", "absent", "recall")
    outcomes = {name: np.full(len(rows), np.nan) for name in names}
    for row, identity in enumerate(ids):
        if identity not in present or identity not in written:
            continue
        mentions, there = find(written[identity]), present[identity]
        recall = len(there & {*mentions}) / len(there) if there else np.nan
        absent = sum(mention not in there for mention in mentions)
        for name, value in zip(names, (len(mentions), absent, recall), strict=True):
            outcomes[name][row] = value
    return outcomes
