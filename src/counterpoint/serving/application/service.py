"""The things that requests share: what is served, the threads, the limits, the numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final
from urllib.parse import quote

from starlette.requests import Request

from ... import trust
from ...data.derived.mixture import MARK, sources_of
from ..indexing.index import Index
from ..requests.forms import AboutAnswer, RequestLimits, RowKind, ServedIndex, Side
from ..requests.limits import Limits
from ..requests.refusals import RequestError, bad
from .engine import PLAIN, Engine, plain_name
from .gallery import AUDIO, Gallery, default_column
from .metrics import Metrics

_HANDS = 2  # pictures are decoded and indexes searched by so many threads, and memory is taken for so many
_EXAMPLES = 12


@final
class Service:
    """One index that is served, or two of the same rows.

    Args:
        index: the one that is searched unless the other one is named.
        against: the other one.
        limits: of the requests.
        data: what was embedded; the data that the index names unless given.
        offline: open no address of data.

    Raises:
        ValueError: for two indexes of different rows.
        UntrustedError: for a model that is not on this machine, unless everything is allowed (`counterpoint.trust`).
    """

    def __init__(
        self, index: Index, against: Index | None, limits: Limits, data: str | None, *, offline: bool
    ) -> None:
        if against is not None:
            _check_same(index, against)
        self.limits, self.metrics = limits, Metrics()
        self.hands = ThreadPoolExecutor(_HANDS, "hands")
        served: dict[Side, Index] = (
            {"first": index} if against is None else {"first": index, "against": against}
        )
        with trust.offline():  # the index names the model, and not the user
            self.engines: Mapping[Side, Engine] = {
                side: Engine(one, limits, self.hands, self.metrics.batch) for side, one in served.items()
            }
        self.gallery = Gallery(data or index.about.data, offline=offline)
        self.created = int(time.time())

    @property
    def first(self) -> Engine:
        return self.engines["first"]

    @property
    def models(self) -> dict[str, Engine]:
        """The models by the names that requests give them."""
        return {"default" if side == "first" else side: engine for side, engine in self.engines.items()}

    def engine(self, side: Side) -> Engine:
        """Return one of the indexes.

        Raises:
            RequestError: for the other one, where there is none.
        """
        if side not in self.engines:
            raise bad("there is no index to compare with; one is served with --against", "index")
        return self.engines[side]

    def of_model(self, name: str) -> Engine:
        """Return the engine of a model.

        Raises:
            RequestError: for a name that none has.
        """
        if name not in self.models:
            known = ", ".join(self.models)
            raise RequestError(
                404, f"there is no model of this name, only {known}", param="model", code="model_not_found"
            )
        return self.models[name]

    @property
    def kinds(self) -> dict[str, RowKind]:
        """Columns of all indexes, each with its modality and its name in messages."""
        return {column: kind for engine in self.engines.values() for column, kind in engine.kinds.items()}

    def media_of(self, id: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return the addresses of an item's picture and sound; None for an item without one.

        Args:
            id: of the item.
            columns: of the row that is shown. The picture is of the first column with pictures, else of the first that
                is not text. The sound is of the first column with sounds, else of the first such column of the item.
        """
        if not self.gallery.open:
            return {"picture": None, "sound": None}
        kinds = self.kinds
        picture = default_column({column: kinds[column].modality for column in columns})
        sounds = [column for column, kind in kinds.items() if kind.modality == AUDIO]
        available = {*columns} if {*columns} & {*sounds} or not sounds else self._columns(id)
        sound = next((column for column in sounds if column in available), None)
        # Without a column the picture is of the data's own choice, also for rows whose pictures are not in the index.
        query = "" if picture is None else f"?column={quote(picture)}"
        return {
            "picture": f"/v1/items/{id}/picture{query}",
            "sound": None if sound is None else f"/v1/items/{id}/sound?column={quote(sound)}",
        }

    def _columns(self, id: int) -> set[str]:
        """Return the columns of an item that are in any index."""
        return {
            column
            for engine in self.engines.values()
            for column in engine.table["modality"][engine.positions(id)].to_list()
        }

    def about(self) -> AboutAnswer:
        """Say what is served."""
        from ... import __version__

        about, table, limits = self.first.index.about, self.first.table, self.limits
        counts = table["modality"].value_counts(sort=True).iter_rows()
        return AboutAnswer(
            version=__version__,
            indexes=[self._served(side, engine) for side, engine in self.engines.items()],
            data=MARK.join(map(plain_name, sources_of(about.data))),
            attribution=about.attribution,
            modalities=dict(counts),
            kinds=self.kinds,
            columns=[*PLAIN, *self.first.labels],
            examples=self.first.ids[:: max(len(self.first.ids) // _EXAMPLES, 1)][:_EXAMPLES].tolist(),
            pictures=self.gallery.open,
            map={"x", "y"} <= set(table.columns),
            against=len(self.engines) > 1,
            limits=RequestLimits(
                body=limits.body,
                pixels=limits.pixels,
                formats=[*limits.formats],
                inputs=limits.inputs,
                characters=limits.characters,
                results=limits.results,
            ),
        )

    def end(self) -> None:
        """Finish what is in hand."""
        for engine in self.engines.values():
            engine.batcher.end()

    def _served(self, side: Side, engine: Engine) -> ServedIndex:
        about, model = engine.index.about, engine.model
        return ServedIndex(
            index=side,
            name="default" if side == "first" else side,
            model=plain_name(about.model),
            fingerprint=about.fingerprint,
            kind=engine.index.kind,
            rows=len(engine.index),
            embeds=list(model.embeds),
            takes=list(engine.takes),
            width=about.width,
            picture_size=model.picture_size,
            context=model.context,
            shares_space=model.shares_space,
        )


def service_of(request: Request) -> Service:
    """Return what a request is answered from."""
    return request.app.state.service


def _check_same(index: Index, against: Index) -> None:
    """Refuse two indexes of different rows."""
    one, other = (each.table.select("id", "key").unique().sort("id", "key") for each in (index, against))
    if not one.equals(other):
        raise ValueError(
            f"the indexes are of different rows: {len(one):,} of {index.about.data}, and {len(other):,} of "
            f"{against.about.data}; embed the same data with both models"
        )
