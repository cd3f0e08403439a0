"""The optional packages, and the extras that install them."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import requires
from importlib.util import find_spec

_DISTRIBUTIONS = {
    "faiss": "faiss-cpu",
    "h11": "uvicorn",
    "huggingface_hub": "transformers",
    "markupsafe": "jinja2",
    "open_clip": "open-clip-torch",
    "sklearn": "scikit-learn",
    "starlette": "fastapi",
}
"""Distribution that installs a module of another name."""


@cache
def requirements() -> dict[str, frozenset[str]]:
    """Return the distributions that each extra installs, as the metadata of counterpoint state them.

    The hard dependencies are those of the extra ``""``. No other extra has them.
    """
    lines: dict[str, set[str]] = {"": set()}
    for line in requires("counterpoint") or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"]([\w.-]+)", line)
        assert name is not None
        lines.setdefault(extra[1] if extra else "", set()).add(_normalised(name[0]))
    return {extra: frozenset(names - lines[""] if extra else names) for extra, names in lines.items()}


def extra_of(distribution: str) -> str | None:
    """Return the smallest extra that installs a distribution; None if no extra does.

    >>> extra_of("scikit-learn"), extra_of("torch")
    ('study', None)
    """
    name = _normalised(distribution)
    extras = [extra for extra, names in requirements().items() if extra and name in names]
    return min(extras, key=lambda extra: (len(requirements()[extra]), extra), default=None)


def distribution_of(module: str) -> str:
    """Return the distribution that installs a module.

    >>> distribution_of("sklearn.cluster"), distribution_of("resvg_py")
    ('scikit-learn', 'resvg-py')
    """
    name = module.partition(".")[0]
    return _DISTRIBUTIONS.get(name, _normalised(name))


def install_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"pip install 'counterpoint[{extra}]'"


def missing_package(package: str, extra: str) -> str:
    """Return the line that says how to install an optional package."""
    return f"{package} is not installed; run: {install_command(extra)}"


def missing_extra(error: BaseException) -> str | None:
    """Return the line for an import that failed because a package of an extra is not installed.

    Returns:
        The line, or None for any other error.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    module = error.name.partition(".")[0]
    distribution = distribution_of(module)
    extra = extra_of(distribution)
    return missing_package(distribution, extra) if extra and not _installed(module) else None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a finder refuses it, or sys.modules holds None in its place
        return False


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
