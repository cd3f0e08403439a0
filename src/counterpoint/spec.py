"""One form for everything that is written ``name,option=value``: arms, decoding arms, worlds, tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_QUOTED = r'\s*"(?:[^"]|"")*"\s*(?=,|\Z)'
_NAME, _OPTION = (re.compile(f"{before}{_QUOTED}|[^,]*") for before in ("", "[^,=]*="))


@dataclass(frozen=True)
class Spec:
    """A name with its options, all still text.

    A value with a comma stands between double quotes, in which a double quote is written twice, as in CSV: the folder
    of a run of an arm with options, say.

    Attributes:
        name: before the first comma; it may hold a path or a colon.
        options: in the order in which they were written.

    >>> spec = Spec.parse("moco, queue=512 ,image=cnn@runs/first")
    >>> spec.name, spec.options["queue"], str(spec)
    ('moco', '512', 'moco,queue=512,image=cnn@runs/first')
    >>> Spec.parse('mlcd,encoder="cnn@runs/moco,queue=512/seed-0",positives=3').options["encoder"]
    'cnn@runs/moco,queue=512/seed-0'
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict, hash=False)  # a mapping has no hash

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read a spec; spaces around names, commas and equals signs do not count, but between double quotes.

        Raises:
            ValueError: for an option without a value, or given twice.
        """
        name, *parts = (part.strip() for part in _parts(text))
        options: dict[str, str] = {}
        for part in parts:
            option, equals, value = (word.strip() for word in part.partition("="))
            if not (option and equals and value):
                raise ValueError(
                    f"{text!r}: {part!r} is no option; write name=value, with double quotes around a value with commas"
                )
            if option in options:
                raise ValueError(f"{text!r}: option {option!r} is given twice")
            options[option] = _bare(value)
        return cls(_bare(name), options)

    def __str__(self) -> str:
        return ",".join(
            [_quoted(self.name), *(f"{option}={_quoted(value)}" for option, value in self.options.items())]
        )

    @property
    def label(self) -> str:
        """Return the spec as a reader is shown it: files without their folders.

        >>> Spec.parse("open_clip:ViT-B-32@/models/vit.pt,tune=lora").label
        'open_clip:ViT-B-32@vit.pt,tune=lora'
        """
        return without_folders(str(self))

    @property
    def slug(self) -> str:
        """Return the spec as the name of a file or a folder; different specs have different ones.

        >>> Spec.parse("slip,ssl_weight=0.5").slug
        'slip,ssl_weight=0.5'
        >>> Spec.parse("cnn@runs/first").slug
        'cnn-first-49906d'
        """
        return slug(str(self), self.label)


def of_seed(text: str, seed: int) -> str:
    """Return an arm or a folder under a seed, which takes the place of ``{seed}``.

    >>> of_seed("lit,image=cnn@runs/first/seed-{seed}", 3)
    'lit,image=cnn@runs/first/seed-3'
    """
    return text.replace("{seed}", str(seed))


def _parts(text: str) -> Iterator[str]:
    """Yield what stands between the commas that divide a text."""
    start, pattern = 0, _NAME
    while part := pattern.match(text, start):
        yield part[0]
        if part.end() == len(text):
            return
        start, pattern = part.end() + 1, _OPTION


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if "," in text or text.startswith('"') else text


def _bare(text: str) -> str:
    return text[1:-1].replace('""', '"') if re.fullmatch(_QUOTED, text) else text


def without_folders(text: str) -> str:
    """Return a text whose files are named without their folders.

    >>> without_folders("cnn@runs/first")
    'cnn@first'
    >>> without_folders("transformers:/models/clip")
    'transformers:clip'
    """
    return re.sub(r"(?:[^@=,:/\\]*[/\\])+(?=[^,]+)", "", text)


def slug(text: str, readable: str, extra: str = "") -> str:
    """Return a text as the name of a file: itself if it can be one, else what is readable of it and a digest.

    Args:
        text: in full; different texts have different slugs.
        readable: the text without what a reader does not need.
        extra: characters that stay, besides letters, digits and ``._=,-``.

    >>> slug("vcd+ritual", "vcd+ritual", extra="+")
    'vcd+ritual'
    """
    plain = rf"A-Za-z0-9._=,{re.escape(extra)}-"
    if re.fullmatch(
        rf"(?!\.)[{plain}]{{1,100}}", text
    ):  # a name that begins with a dot is hidden, or a folder above
        return text
    shown = re.sub(f"[^{plain}]+", "-", readable).strip("-.")[:80]
    return f"{shown}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"
