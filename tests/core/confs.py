"""Kedro confs as texts, Kedro's own reading of them, and what counts as the same dataset."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from kedro.config import OmegaConfigLoader

from muniment.core.dataset_types import KnownTypes

TYPES = KnownTypes.newest()


def read_by_kedro(texts: Mapping[str, str], environment: str, parameters=None, resolvers=None) -> dict:
    """The catalog that Kedro itself reads from a conf, when it runs in an environment."""
    with tempfile.TemporaryDirectory() as directory:
        for layer in ("base", environment):
            Path(directory, layer).mkdir(exist_ok=True)
        for path, text in texts.items():
            file = Path(directory, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        with warnings.catch_warnings():
            # OmegaConf warns Kedro of names that Kedro still calls.
            warnings.simplefilter("ignore")
            loader = OmegaConfigLoader(
                directory,
                env=environment,
                base_env="base",
                default_run_env="local",
                runtime_params=parameters or {},
                custom_resolvers=resolvers,
            )
            return loader["catalog"]


def same(value, key=""):
    """An entry as the dataset that it makes: types by their names of today, no doubled slashes, ``layer`` in its place.

    Kedro builds the same object from both spellings, or refuses the old one.
    """
    if isinstance(value, dict):
        said = {inner: same(item, inner) for inner, item in value.items()}
        known = TYPES.find(said.get("type", "")) if isinstance(said.get("type"), str) else None
        if known is not None and "layer" in said and "layer" not in known.by_name:
            layer = said.pop("layer")
            if known.accepts_metadata:
                metadata = said.setdefault("metadata", {})
                metadata["kedro-viz"] = {"layer": layer, **metadata.get("kedro-viz", {})}
        return said
    if isinstance(value, list):
        return [same(item, key) for item in value]
    if not isinstance(value, str):
        return value
    if key in {"type", "dataset"}:
        return TYPES.renamed(value) or value
    plain = re.sub(r"(?<!:)//+", "/", value)
    if key in {"filepath", "path"} or (
        str(key).endswith(("path", "file", "dir")) and plain.startswith(("data/", "./data/"))
    ):
        return re.sub(r"^(?:\./)+(?=data/)", "", re.sub(r"^file:/(?!/)", "file:///", plain))
    return value
