"""The dataset types that Kedro knows, without importing any of them.

What a type takes, whether it loads and saves and where its paths are was read from
the source of kedro-datasets (``dataset_survey.py``) and is kept beside this module, one
file for each version. Nothing here imports Kedro or a dataset: a definition is
data, and stays data.

Some formats run code of whoever wrote the file. :data:`RUNS_CODE` names them with the
reason; what is not known counts as one of them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from importlib import resources

from muniment.core.problems import Fault, Invalid

#: The prefix of types that Kedro finds only under their full name.
EXPERIMENTAL = "kedro_datasets_experimental."

_STABLE = "kedro_datasets."
_KEDRO_IO = "kedro.io."
_BEFORE_KEDRO_DATASETS = "kedro.extras.datasets."
_LONGEST_NAME = 200
_DOTTED_NAME = re.compile(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+", re.ASCII)


class Accepts(StrEnum):
    """What a parameter takes, as far as its annotation says."""

    ANY = "any"
    BOOLEAN = "boolean"
    CHECKPOINT = "checkpoint"
    DATASET = "dataset"
    INTEGER = "integer"
    LIST = "list"
    MAPPING = "mapping"
    NUMBER = "number"
    #: A live Python object: nothing that a definition can hold.
    OBJECT = "object"
    PATH = "path"
    STRING = "string"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a dataset type, and what it is where nothing is said, if that can be told."""

    name: str
    required: bool
    accepts: tuple[Accepts, ...]
    default: object = field(default=None, hash=False)

    @property
    def writable(self) -> bool:
        """Whether a definition can give it: versions and live objects it cannot."""
        return any(kind not in {Accepts.OBJECT, Accepts.VERSION} for kind in self.accepts)


@dataclass(frozen=True)
class DatasetType:
    """One dataset type: its name as Kedro takes it, and what its class takes.

    ``open_ended`` types pass any further argument on (``**kwargs``).
    """

    name: str
    module: str
    parameters: tuple[Parameter, ...]
    loads: bool = True
    saves: bool = True
    open_ended: bool = False

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """The parameters that a definition can give, by their names."""
        return {parameter.name: parameter for parameter in self.parameters if parameter.writable}

    @property
    def experimental(self) -> bool:
        """Whether kedro-datasets calls it experimental."""
        return self.name.startswith(EXPERIMENTAL)

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The names of those parameters that say where the data lies."""
        return tuple(p.name for p in self.parameters if Accepts.PATH in p.accepts)

    @property
    def accepts_filepath(self) -> bool:
        """Whether it takes ``filepath``."""
        return "filepath" in self.by_name

    @property
    def credentials(self) -> bool:
        """Whether it takes ``credentials``."""
        return "credentials" in self.by_name

    @property
    def accepts_metadata(self) -> bool:
        """Whether it takes ``metadata``; to add it to another type breaks the type."""
        return "metadata" in self.by_name

    @cached_property
    def versioned(self) -> bool:
        """Whether ``versioned: true`` means something for it."""
        return any(Accepts.VERSION in parameter.accepts for parameter in self.parameters)

    @property
    def runs_code(self) -> bool:
        """Whether loading can run code whatever its arguments are."""
        return self.name in RUNS_CODE


#: Types whose loading can run code that the file's author chose, and how.
RUNS_CODE: Mapping[str, str] = {
    "pickle.PickleDataset": "unpickles, with whichever backend",
    "redis.PickleDataset": "unpickles, with whichever backend",
    "pandas.HDFDataset": "PyTables unpickles object columns and attributes",
    "matlab.MatlabDataset": "kedro-datasets warns that MAT files can hold pickled objects",
    "tensorflow.TensorFlowModelDataset": "a saved model is a program; Lambda layers hold Python code",
    "huggingface.HFDataset": "load_dataset can download and run a loading script",
    "huggingface.HFTransformerPipelineDataset": "downloads models: pickled weights, and remote code if asked",
    f"{EXPERIMENTAL}chromadb.ChromaDBDataset": "the persistent client unpickles its index's metadata",
    f"{EXPERIMENTAL}darts.DartsTorchModelDataset": "torch unpickles the model",
    f"{EXPERIMENTAL}feast.FeastDataset": "imports the stores and providers that its repo names",
    f"{EXPERIMENTAL}mlrun.MLRunModel": "joblib unpickles the model",
    f"{EXPERIMENTAL}pytorch.PyTorchDataset": "torch.load unpickles, wholly if weights_only is false",
}

#: Types that run code for some values of ``file_format``.
CODE_FORMATS: Mapping[str, frozenset[str]] = {
    "pandas.GenericDataset": frozenset({"pickle", "hdf"}),
    "geopandas.GenericDataset": frozenset({"pickle", "hdf"}),
}

#: Arguments, at any depth, that switch on the running of code.
CODE_SWITCHES = frozenset({"allow_pickle", "trust_remote_code"})

#: Types that no definition may use, and why.
NEVER: Mapping[str, str] = {
    "LambdaDataset": "it is made of functions, and a definition holds data only.",
    "LambdaDataSet": "it is made of functions, and a definition holds data only.",
}

_RENAMED: Mapping[str, str] = {
    "PartitionedDataset": "partitions.PartitionedDataset",
    "IncrementalDataset": "partitions.IncrementalDataset",
    "matplotlib.MatplotlibWriter": "matplotlib.MatplotlibDataset",
    "networkx.NetworkXDataset": "networkx.JSONDataset",
    "geopandas.GeoJSONDataset": "geopandas.GenericDataset",
    "polars.GenericDataset": "polars.EagerPolarsDataset",
    "pandas.AppendableExcelDataset": "pandas.ExcelDataset",
    "tracking.MetricsDataset": "json.JSONDataset",
    "tracking.JSONDataset": "json.JSONDataset",
    "langchain.LangChainPromptDataset": f"{EXPERIMENTAL}langchain.PromptDataset",
    "langfuse.LangfusePromptDataset": f"{EXPERIMENTAL}langfuse.PromptDataset",
    "langfuse.LangfuseTraceDataset": f"{EXPERIMENTAL}langfuse.TraceDataset",
    "langfuse.LangfuseEvaluationDataset": f"{EXPERIMENTAL}langfuse.EvaluationDataset",
    "opik.OpikPromptDataset": f"{EXPERIMENTAL}opik.PromptDataset",
    "opik.OpikTraceDataset": f"{EXPERIMENTAL}opik.TraceDataset",
    "opik.OpikEvaluationDataset": f"{EXPERIMENTAL}opik.EvaluationDataset",
}


@dataclass(frozen=True)
class KnownTypes:
    """The types of one version of kedro-datasets, and those that an administrator registered."""

    version: str
    types: Mapping[str, DatasetType]
    registered: frozenset[str] = field(default=frozenset())

    @classmethod
    def of(cls, version: str, types: Iterable[DatasetType]) -> KnownTypes:
        """Gather types that a survey found."""
        return cls(version, {known.name: known for known in sorted(types, key=lambda known: known.name)})

    @staticmethod
    def versions() -> tuple[str, ...]:
        """The versions of kedro-datasets that this release knows, oldest first."""
        files = resources.files("muniment.core").joinpath("known_types").iterdir()
        found = (file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))
        return tuple(sorted(found, key=_release))

    @staticmethod
    def load(version: str) -> KnownTypes:
        """The types of one version; raises :class:`Invalid` for a version that was not surveyed."""
        if version not in KnownTypes.versions():
            known = ", ".join(KnownTypes.versions())
            message = f"The types of kedro-datasets {version} are not known here. Known: {known}."
            raise Invalid(message, [Fault("version", message)])
        return _load(version)

    @staticmethod
    def newest() -> KnownTypes:
        """The types of the newest version that this release knows."""
        return _load(KnownTypes.versions()[-1])

    def registering(self, names: Iterable[str]) -> KnownTypes:
        """The same with further types; their arguments are not known and not checked."""
        further = frozenset(names)
        if further <= self.registered:
            return self
        check_registered(further)
        return KnownTypes(self.version, self.types, self.registered | further)

    def find(self, name: str) -> DatasetType | None:
        """The type that Kedro would find under this name, whichever way it is spelled."""
        return self.types.get(name) or self.types.get(self._aliases.get(name, ""))

    def canonical(self, name: str) -> str | None:
        """The one spelling of a type's name, or nothing if it is not known or registered."""
        known = self.find(name)
        if known is not None:
            return known.name
        return name if name in self.registered else None

    def renamed(self, name: str) -> str | None:
        """What a type is called today if the name is an old one, or one that Kedro would not find."""
        if self.canonical(name) is not None:
            return None
        short = name
        for prefix in (_BEFORE_KEDRO_DATASETS, _STABLE, EXPERIMENTAL, _KEDRO_IO):
            short = short.removeprefix(prefix)
        if short.endswith("DataSet"):
            short = f"{short.removesuffix('DataSet')}Dataset"
        for candidate in (_RENAMED.get(short, short), f"{EXPERIMENTAL}{short}"):
            known = self.find(candidate)
            if known is not None:
                return known.name
        return None

    def suggest(self, name: str) -> str | None:
        """The known name most like this one, if any is like it."""
        new = self.renamed(name)
        if new is not None:
            return new
        lowered = {known.lower(): known for known in (*self.types, *self.registered)}
        lowered |= {alias.lower(): known for alias, known in self._aliases.items()}
        close = difflib.get_close_matches(name.lower()[:_LONGEST_NAME], lowered, n=1, cutoff=0.75)
        return lowered[close[0]] if close else None

    @cached_property
    def _aliases(self) -> Mapping[str, str]:
        """Every further spelling that Kedro takes: it tries two prefixes, and modules count too."""
        aliases: dict[str, str] = {}
        for known in self.types.values():
            full = f"{known.module}.{known.name.rpartition('.')[2]}"
            aliases[full] = known.name
            aliases[full.removeprefix(_STABLE).removeprefix(_KEDRO_IO)] = known.name
            if full.startswith(_KEDRO_IO):
                aliases[f"{_KEDRO_IO}{known.name}"] = known.name
            elif not known.experimental:
                aliases[f"{_STABLE}{known.name}"] = known.name
        return aliases


def check_registered(names: Iterable[str]) -> None:
    """Refuse names under which no type can be registered: a type is data's, and of a package that one can look up."""
    for name in sorted(set(names)):
        if not _DOTTED_NAME.fullmatch(name) or name.rpartition(".")[2] in NEVER:
            message = "A type is registered under its full import path, such as acme.datasets.LedgerDataset."
            raise Invalid(message, [Fault(f"types.{name}", message)])


def runs_code(definition: Mapping[str, object], types: KnownTypes) -> bool:
    """Whether loading what this defines can run code that the data's author chose.

    Nested datasets count. So does a type that is not known, a registered one included,
    and a value that is settled only later where the value decides.
    """
    known = _meant(definition.get("type"), types)
    if known is None or known.runs_code or _format_runs_code(known, definition) or _switched_on(definition):
        return True
    return any(
        runs_code(nested, types)
        for parameter in known.parameters
        for nested in _nested(parameter, definition.get(parameter.name))
    )


def to_json(known: KnownTypes) -> str:
    """The text that is shipped for a version; one line for each type, so that changes can be read."""
    lines = [
        json.dumps(
            {
                "name": one.name,
                "module": one.module,
                "loads": one.loads,
                "saves": one.saves,
                "open_ended": one.open_ended,
                "parameters": [_written(parameter) for parameter in one.parameters],
            }
        )
        for one in known.types.values()
    ]
    listed = ",\n".join(lines)
    return f'{{"version": {json.dumps(known.version)}, "types": [\n{listed}\n]}}\n'


def from_json(text: str) -> KnownTypes:
    """Read what :func:`to_json` wrote."""
    shipped = json.loads(text)
    return KnownTypes.of(
        shipped["version"],
        (
            DatasetType(
                one["name"],
                one["module"],
                tuple(_parameter(*each) for each in one["parameters"]),
                loads=one["loads"],
                saves=one["saves"],
                open_ended=one["open_ended"],
            )
            for one in shipped["types"]
        ),
    )


def _written(parameter: Parameter) -> list[object]:
    default = [] if parameter.default is None else [parameter.default]
    return [parameter.name, parameter.required, [kind.value for kind in parameter.accepts], *default]


def _parameter(name: str, required: bool, kinds: list[str], default: object = None) -> Parameter:  # noqa: FBT001
    return Parameter(name, required, tuple(map(Accepts, kinds)), default)


@cache
def _load(version: str) -> KnownTypes:
    shipped = resources.files("muniment.core").joinpath("known_types", f"{version}.json")
    return from_json(shipped.read_text(encoding="utf-8"))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _meant(name: object, types: KnownTypes) -> DatasetType | None:
    """The type that a name means, an old name too."""
    if not isinstance(name, str):
        return None
    return types.find(name) or types.find(types.renamed(name) or "")


def _format_runs_code(known: DatasetType, definition: Mapping[str, object]) -> bool:
    formats = CODE_FORMATS.get(known.name)
    if formats is None:
        return False
    chosen = definition.get("file_format")
    return not isinstance(chosen, str) or "{" in chosen or chosen.lower() in formats


def _switched_on(part: object) -> bool:
    if isinstance(part, Mapping):
        return any(
            (key in CODE_SWITCHES and value not in (False, None)) or _switched_on(value) for key, value in part.items()
        )
    return isinstance(part, list | tuple) and any(_switched_on(item) for item in part)


def _nested(parameter: Parameter, value: object) -> tuple[Mapping[str, object], ...]:
    """The definition that an argument holds: a nested dataset's, or a checkpoint's of its own type."""
    if Accepts.DATASET in parameter.accepts and value is not None:
        return (value,) if isinstance(value, Mapping) else ({"type": value},)
    if Accepts.CHECKPOINT in parameter.accepts and isinstance(value, Mapping) and "type" in value:
        return (value,)
    return ()
