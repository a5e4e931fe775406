"""How a deployment's pages find their files: under names that change with the content."""

from __future__ import annotations

from servestatic.storage import CompressedManifestStaticFilesStorage


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """Also renames what modules import, so that a browser never mixes two versions."""

    support_js_module_import_aggregation = True
