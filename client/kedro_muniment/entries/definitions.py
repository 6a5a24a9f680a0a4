"""Which served definitions this project may build, decided before anything of them is imported.

Kedro imports whatever module a definition's ``type`` names, before it checks that a dataset lives there. So a
type is compared, as text, with an exact list: kedro-datasets' own, without the formats whose *content* is code
and without those that import a module that an argument names. What the list leaves out, a project allows for
itself in its ``muniment.yml``: ``types:`` for further classes, ``allow_code_formats:`` for formats that run code.

The service checks definitions when they are declared, and more closely. This is the client's own check: it
holds against a service that was talked into serving something else.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import parse  # type: ignore[import-untyped]

from kedro_muniment.entries import paths
from kedro_muniment.problems import Unusable

DEEPEST: Final = 32
PATH: Final = "filepath"
LONGEST_NAME: Final = 200

#: Of kedro-datasets' stable types, those that can be built without running what they read.
STABLE: Final = frozenset(
    """
    api.APIDataset biosequence.BioSequenceDataset dask.CSVDataset dask.ParquetDataset
    databricks.ManagedTableDataset email.EmailMessageDataset geopandas.GenericDataset holoviews.HoloviewsWriter
    huggingface.ArrowDataset huggingface.CSVDataset huggingface.JSONDataset huggingface.ParquetDataset
    ibis.FileDataset ibis.TableDataset json.JSONDataset matplotlib.MatplotlibDataset matplotlib.MatplotlibWriter
    networkx.GMLDataset networkx.GraphMLDataset networkx.JSONDataset openxml.DocxDataset openxml.PptxDataset
    pandas.CSVDataset pandas.DeltaTableDataset pandas.DeltaSharingDataset pandas.ExcelDataset pandas.FeatherDataset
    pandas.GBQQueryDataset pandas.GBQTableDataset pandas.GenericDataset pandas.JSONDataset pandas.ParquetDataset
    pandas.SQLQueryDataset pandas.SQLTableDataset pandas.XMLDataset
    partitions.IncrementalDataset partitions.PartitionedDataset pillow.ImageDataset
    plotly.HTMLDataset plotly.JSONDataset plotly.PlotlyDataset
    polars.CSVDataset polars.EagerPolarsDataset polars.LazyPolarsDataset snowflake.SnowparkTableDataset
    spark.DeltaTableDataset spark.GBQQueryDataset spark.SparkDataset spark.SparkHiveDataset spark.SparkJDBCDataset
    spark.SparkStreamingDataset svmlight.SVMLightDataset text.TextDataset yaml.YAMLDataset
    """.split()  # noqa: SIM905 - read as a list of names, not of quotes
)
KEDRO: Final = frozenset({"CachedDataset", "MemoryDataset", "SharedMemoryDataset"})
#: Of the experimental types, those whose source was read and found to run nothing. The others need ``types:``.
EXPERIMENTAL: Final = frozenset(
    f"kedro_datasets_experimental.{name}"
    for name in """
    databricks.ExternalTableDataset netcdf.NetCDFDataset polars.PolarsDatabaseDataset prophet.ProphetModelDataset
    pypdf.PDFDataset rioxarray.GeoTIFFDataset safetensors.SafetensorsDataset video.VideoDataset
    """.split()  # noqa: SIM905
)
ALLOWED: Final = STABLE | KEDRO | EXPERIMENTAL

#: Formats whose content, or whose arguments, are code to whoever loads them, and why.
CODE_FORMATS: Final[Mapping[str, str]] = {
    "pickle.PickleDataset": "a pickle runs code when it is loaded",
    "redis.PickleDataset": "a pickle runs code when it is loaded",
    "pandas.HDFDataset": "HDF5 columns of objects are pickles",
    "matlab.MatlabDataset": "a MAT file can hold pickles",
    "tensorflow.TensorFlowModelDataset": "a saved model can hold code",
    "huggingface.HFDataset": "a hub's dataset can bring its own loading script",
    "huggingface.HFTransformerPipelineDataset": "a hub's model can bring pickles and code",
    "kedro_datasets_experimental.pytorch.PyTorchDataset": "a PyTorch file is a pickle",
    "kedro_datasets_experimental.darts.DartsTorchModelDataset": "a PyTorch file is a pickle",
    "kedro_datasets_experimental.mlrun.MLRunModel": "a joblib file is a pickle",
    "kedro_datasets_experimental.faiss.FAISSVectorStoreDataset": "the documents beside the index are a pickle",
    "kedro_datasets_experimental.feast.FeastDataset": "its configuration names classes to import",
    "kedro_datasets_experimental.chromadb.ChromaDBDataset": "its settings name classes to import",
}
#: The same by argument: a generic type that reads one of these formats.
CODE_FILE_FORMATS: Final = frozenset({"pickle", "hdf"})
#: Arguments, at any depth, that let a format run what it reads.
CODE_SWITCHES: Final = frozenset({"allow_pickle", "trust_remote_code"})
#: ``backend:`` names a module to import. An allowed pickle may use these and no other.
PICKLE_BACKENDS: Final = frozenset({"pickle", "joblib", "dill", "cloudpickle", "compress_pickle"})
#: Arguments that Kedro or kedro-datasets import by name, whatever the type.
IMPORTING_ARGUMENTS: Final = frozenset({"validator", "comparison_func"})
#: What a type of dataset looks like, wherever in a definition it stands.
DATASET_TYPE: Final = re.compile(r"\.\w*(?:Data[sS]et|Writer|Table|Model)$")
#: Arguments that hold another definition, or its type alone.
NESTED: Final = frozenset({"dataset", "checkpoint", "response_dataset"})
#: Types that call something else so: a table's folder in BigQuery.
PLAIN_DATASET: Final = frozenset({"pandas.GBQTableDataset"})
#: A checkpoint that is a text is the checkpoint itself, as long as kedro-datasets reads it.
PLAIN_CHECKPOINT: Final = frozenset({"partitions.IncrementalDataset"})
#: What keeps a checkpoint that names no type.
DEFAULT_CHECKPOINT: Final = "text.TextDataset"
#: What is handed on to the library that reads or writes, and may use the word "type" for columns.
HANDED_ON: Final = frozenset({"load_args", "save_args"})

RUNTIME_PARAMETER: Final = re.compile(r"\$\{runtime_params:\s*([A-Za-z_][\w.-]*)\s*(?:,([^${}]*))?\}")
NAME: Final = re.compile(r"(?:[a-z][a-z0-9_]*\.)+[a-z0-9_]+")
#: Digits that begin with a zero are a code and no number.
_CODE: Final = re.compile(r"[+-]?0\d+")
PLACEHOLDER: Final = re.compile(r"\{.*?\}")


@dataclass(frozen=True, slots=True)
class Building:
    """What a definition is built with: the project's own permissions, its place and its runtime parameters."""

    project_path: Path
    types: frozenset[str] = frozenset()
    allow_code_formats: frozenset[str] = frozenset()
    project_paths: bool = False
    runtime_params: Mapping[str, Any] = field(default_factory=dict)
    #: What was found usable, but for its path: many definitions of a catalog differ in nothing else.
    _shapes: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def usable(self, definition: object) -> dict[str, Any]:
        """The definition with its few placeholders filled, as plain data; else :class:`Unusable` says why."""
        if not isinstance(definition, dict):
            raise Unusable("its definition is not a mapping")
        shape = _shape_of(definition)
        if shape is not None and shape in self._shapes:
            paths.check({PATH: definition[PATH]})
            return definition
        filled = dict(self._filled(definition, "", 0))
        self._check(filled)
        if shape is not None:
            self._shapes.add(shape)
        return filled

    def _filled(self, value: Any, key: str, depth: int) -> Any:
        if depth > DEEPEST:
            raise Unusable(f"its definition is nested deeper than {DEEPEST} levels")
        if isinstance(value, dict):
            if any("${" in inner for inner in value):
                raise Unusable("a key of its definition holds `${…}`, which nothing may resolve here")
            return {inner: self._filled(held, inner, depth + 1) for inner, held in value.items()}
        if isinstance(value, list):
            return [self._filled(held, key, depth + 1) for held in value]
        if isinstance(value, str):
            return self._text(value, key)
        return value

    def _text(self, text: str, key: str) -> Any:
        if "${" in text:
            return self._with_parameters(text, key)
        if text.strip().lower().startswith(paths.PROJECT):
            return paths.in_project(text, self.project_path, permitted=self.project_paths)
        return text

    def _with_parameters(self, text: str, key: str) -> Any:
        """Runtime parameters as plain values. Nothing else that begins with ``${`` is resolved: it could be code.

        What is filled in never chooses a type or a place; in a path it stands within one segment.
        """
        if key == "type" or "${" in RUNTIME_PARAMETER.sub("", text):
            raise Unusable(f"`{key}` in its definition holds `${{…}}`, which nothing may resolve here")
        in_path = paths.PATH_KEY.search(key) is not None or paths.is_place(RUNTIME_PARAMETER.sub("", text))
        whole = RUNTIME_PARAMETER.fullmatch(text)
        if whole and in_path:
            raise Unusable(f"`{key}` in its definition is a runtime parameter as a whole, which may not choose a path")
        if whole:
            return self._parameter(whole, in_path=False)
        filled = RUNTIME_PARAMETER.sub(lambda match: str(self._parameter(match, in_path=in_path)), text)
        return self._text(filled, key) if "${" not in filled else filled

    def _parameter(self, match: re.Match[str], *, in_path: bool) -> Any:
        value = self._given(match)
        if paths.is_place(value) or (in_path and not paths.is_plain_part(value)):
            raise Unusable(f"the runtime parameter {match[1]!r} may not choose a path, and {str(value)!r} could")
        return value

    def _given(self, match: re.Match[str]) -> Any:
        found: Any = self.runtime_params
        for step in match[1].split("."):
            if not isinstance(found, Mapping) or step not in found:
                break
            found = found[step]
        else:
            if found is not None:
                if not isinstance(found, str | int | float | bool):
                    raise Unusable(f"the runtime parameter {match[1]!r} must be a plain value")
                return found
        if match[2] is None:
            raise Unusable(f"it needs the runtime parameter {match[1]!r}: add --params {match[1]}=…")
        return _plain_value(match[2].strip())

    def _check(self, definition: Mapping[str, Any]) -> None:
        kind = definition.get("type")
        if not isinstance(kind, str) or not kind:
            raise Unusable("its definition has no `type`")
        self._check_type(canonical(kind), definition)
        self._check_arguments(canonical(kind), definition)

    def _check_arguments(self, kind: str, definition: Mapping[str, Any]) -> None:
        _refuse_imports(definition)
        paths.check({key: value for key, value in definition.items() if key not in NESTED})
        for key, value in definition.items():
            if key in NESTED and isinstance(value, str):
                self._check_bare(kind, key, value)
            self._check_nested(key, value, handed_on=key in HANDED_ON)

    def _check_bare(self, kind: str, key: str, value: str) -> None:
        """A nested dataset that is given by its type alone."""
        if (key == "dataset" and kind in PLAIN_DATASET) or (key == "checkpoint" and kind in PLAIN_CHECKPOINT):
            return
        if kind in ALLOWED or "." in value:
            self._check_type(canonical(value), {})

    def _check_nested(self, key: str, value: Any, *, handed_on: bool) -> None:
        """Every definition inside a definition; ``dtype: {type: str}`` is none, but a column named type."""
        if isinstance(value, list):
            for held in value:
                self._check_nested(key, held, handed_on=handed_on)
        if not isinstance(value, dict):
            return
        kind = value.get("type")
        if _is_definition(key, kind, handed_on=handed_on):
            self._check(value)
            return
        if key == "checkpoint":
            self._check_arguments(DEFAULT_CHECKPOINT, value)
        for inner, held in value.items():
            self._check_nested(inner, held, handed_on=handed_on)

    def _check_type(self, kind: str, definition: Mapping[str, Any]) -> None:
        permitted = {canonical(name) for name in self.allow_code_formats}
        why = CODE_FORMATS.get(kind) or _code_by_argument(definition)
        if why is not None:
            if kind not in permitted:
                raise Unusable(
                    f"{kind} is not loaded here, because {why}; list it under `allow_code_formats:` in muniment.yml "
                    "if you trust whoever can write this data"
                )
            backend = definition.get("backend", "pickle")
            if kind in {"pickle.PickleDataset", "redis.PickleDataset"} and backend not in PICKLE_BACKENDS:
                raise Unusable(f"its `backend: {backend}` would import a module of that name")
        elif kind not in ALLOWED and kind not in {canonical(name) for name in self.types}:
            raise Unusable(
                f"the type {kind} is not one that this project allows; list it under `types:` in muniment.yml"
            )


def _shape_of(definition: Mapping[str, Any]) -> str | None:
    """Everything of a definition but its path, as text; ``None`` where the path is none, or something is to be filled.

    What is checked of a path depends on the path alone, and nothing else is checked by it.
    """
    path = definition.get(PATH)
    if type(path) is not str or _is_filled(path):
        return None
    try:
        shape = repr({key: value for key, value in definition.items() if key != PATH})
    except RecursionError:
        return None
    return None if _is_filled(shape) else shape


def _is_filled(text: str) -> bool:
    return "${" in text or paths.PROJECT in text.lower()


def is_name(name: str) -> bool:
    """Whether a governed dataset can have this name. A factory pattern is not one: Kedro never gets it."""
    return len(name) <= LONGEST_NAME and NAME.fullmatch(name) is not None


def canonical(kind: str) -> str:
    """One spelling for a type: as kedro-datasets' documentation has it, without the package."""
    if kind.startswith("kedro.io."):
        return kind.removeprefix("kedro.io.") if kind.removeprefix("kedro.io.") in KEDRO else kind
    return kind.removeprefix("kedro_datasets.")


def most_specific(patterns: list[str], name: str) -> str | None:
    """The pattern that Kedro would take for a name: the one with the most text outside its placeholders."""
    matching = [pattern for pattern in patterns if "{" in pattern and parse.parse(pattern, name)]
    return min(matching, key=specificity, default=None)


def specificity(pattern: str) -> tuple[int, int, str]:
    """Kedro's order of patterns: more text outside the placeholders, then more placeholders, then the alphabet."""
    return (-len(PLACEHOLDER.sub("", pattern)), -pattern.count("{"), pattern)


def _plain_value(text: str) -> str | int | float | bool | None:
    """A default as OmegaConf would read it, without OmegaConf."""
    words: dict[str, bool | None] = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return text if number is int and _CODE.fullmatch(text) else number(text)
    return text


def _is_definition(key: str, kind: object, *, handed_on: bool) -> bool:
    if key in {"dataset", "response_dataset"} or (key == "checkpoint" and kind is not None):
        return True
    return isinstance(kind, str) and (DATASET_TYPE.search(kind) is not None if handed_on else "." in kind)


def _refuse_imports(definition: Mapping[str, Any]) -> None:
    for argument in IMPORTING_ARGUMENTS & definition.keys():
        raise Unusable(f"`{argument}` in its definition names code to import")


def _code_by_argument(definition: Mapping[str, Any]) -> str | None:
    file_format = definition.get("file_format")
    if isinstance(file_format, str) and file_format.strip().lower() in CODE_FILE_FORMATS:
        return f"its `file_format: {file_format}` runs code when it is loaded"
    for key, value in _members(definition):
        if key in CODE_SWITCHES and value not in (False, None):
            return f"its `{key}` lets what is loaded run code"
    return None


def _members(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and value at every depth; items of a list come under the list's key."""
    if isinstance(value, dict):
        for inner, held in value.items():
            yield inner, held
            yield from _members(held, inner)
    elif isinstance(value, list):
        for held in value:
            yield key, held
            yield from _members(held, key)
