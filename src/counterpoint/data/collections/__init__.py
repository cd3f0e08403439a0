"""Real pictures with words that come inside ordinary packages of Debian: ``--data stamps`` and the like.

Nothing is downloaded and nothing is shipped: a package is the user's own install, or unpacked by ``dpkg-deb -x`` into a
folder, which is then named: ``--data stamps:FOLDER``.
"""

from __future__ import annotations

from ...registry import Registry

COLLECTIONS = Registry("collection", __name__)
"""The collections by name, a file each."""

__all__ = ["COLLECTIONS"]
