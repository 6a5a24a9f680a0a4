"""Definitions: what stands under a name in ``catalog.yml``, checked before it is believed.

A definition is written by one person and carried out on the machines of others. So it
is held to be data, and only data: known types with known arguments, paths inside the
domain's locations, credentials by name. It can name no secret, no server and no
import, and nothing in it is read from the environment of whoever loads it.

Every fault is found in one pass and named with its place, so that one round of
corrections is enough. What cannot be read safely (too deep, too big, not JSON) is
refused before anything else is looked at.
"""

from __future__ import annotations

import json
import math
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import cast

from muniment.core.dataset_types import EXPERIMENTAL, NEVER, Accepts, DatasetType, KnownTypes, Parameter
from muniment.core.locations import PROJECT, Location, canonical_path, safe_in_path
from muniment.core.problems import Fault, Invalid, InvalidDefinition

#: How deep, how many values and how many bytes of canonical JSON a definition may have.
DEEPEST = 16
MOST_NODES = 2_000
MOST_BYTES = 65_536

_LARGEST_INTEGER = 2**63
#: How much of a name or a type a message shows, in characters.
_LONGEST_SHOWN = 120
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# --- what is filled in later --------------------------------------------------------------------

_RESOLVER = re.compile(
    r"\$\{(?:globals:\s*(?P<variable>[a-z][a-z0-9_.]*)\s*(?:,(?P<otherwise>[^${}\\]*))?"
    r"|runtime_params:\s*(?P<parameter>[A-Za-z_][A-Za-z0-9_.-]*)\s*(?:,(?P<default>[^${}\\]*))?)\}",
)
#: A part of a place that each run chooses, in comparisons of places.
OPEN = "{*}"
_NAME_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_IN_A_FACTORY = re.compile(rf"{_RESOLVER.pattern}|\{{\{{|\}}\}}|\{{(?P<placeholder>[a-z][a-z0-9_]*)\}}")
_BRACES: Mapping[str, str] = {"{{": "{", "}}": "}"}
_PLACEHOLDER_LIKE = re.compile(r"(?<![%${])\{[a-z_][a-z0-9_]*\}(?!\})")

# --- secrets and servers ------------------------------------------------------------------------

_SECRET_KEY = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|pwd|secret|token|cookie|authorization|auth|sas|connection_?string"
    r"|(?:api|access|account|private|secret|shared|secret_?access)_?key(?:_?id)?|client_?secret)$",
)
_NOT_SECRET = frozenset(f"{kind}_token" for kind in ("bos", "cls", "eos", "mask", "pad", "sep", "unk"))
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30}|\bgithub_pat_"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10}|\bsk-[A-Za-z0-9_-]{20}|\bAIza[A-Za-z0-9_-]{35}|\beyJ[A-Za-z0-9_-]{10,}\.eyJ"
    r"|(?i:AccountKey=|SharedAccessSignature|[?&]sig=|\b(?:password|passwd|pwd)\s*=\s*[^\s;&]|\bbearer\s+[a-z0-9._-]{16})",
)
_USER_IN_URL = re.compile(r"://[^/\s@:]*:[^/\s@]+@")
#: Whatever may hold a secret holds one of these; most values do not and need no closer look.
_SECRET_HINT = re.compile(
    r"-----|AKIA|ASIA|gh[pousr]_|github_pat|xox|sk-|AIza|eyJ|=|Signature|://|[Bb]earer",
)
_SERVER_KEY = re.compile(
    r"^(?:[a-z0-9_]*endpoint(?:_?url|_?override|s)?|[a-z0-9_]*_host|host(?:name|s)?|port|prox(?:y|ies)|[a-z0-9_]*base_?url"
    r"|[a-z0-9_]*api_base|servers?|[a-z0-9_]*bootstrap_?servers|(?:client|config|session|s3_additional)_kwargs|storage_options"
    r"|(?:target|remote)_(?:protocol|options)|fo|verify|verify_ssl|ssl_verify|cert|session|filesystem)$",
)
_STYLE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[.\- ]")
_PATH_KEY = re.compile(
    r"(?:^|_)(?:path|filepath|file|filename|dir|directory|folder|uri|url|stylesheet|root|location)s?$"
)
_URL = re.compile(r"(?:^|[\s'\"=(])[A-Za-z][A-Za-z0-9+.-]*:/[^\s]|://|[A-Za-z0-9]{2}::")
_LOOKS_ABSOLUTE = re.compile(r"(?:/[\w.@ -]+){2,}/?|~[\w-]*/.*|[A-Za-z]:[\\/].*|.*(?:^|[/\\])\.\.(?:[/\\].*|$)")
#: Arguments whose slashes are not paths: an HDF key, an XML path, a pattern. And those that a database reads.
_NOT_A_PATH = frozenset({"key", "xpath", "pattern", "regex", "date_format", "format"})
_STATEMENTS = frozenset({"sql", "query"})
#: Arguments whose keys are the data's own names: a column may be called "token" or "host".
_OF_COLUMNS = frozenset({
    "columns", "converters", "dtype", "dtypes", "labels", "na_values", "parse_dates", "rename", "schema",
    "schema_overrides",
})  # fmt: skip

# --- arguments with rules of their own ----------------------------------------------------------

_CREDENTIALS = re.compile(r"[a-z][a-z0-9_]*")
_FS_ARGS = frozenset({"open_args_load", "open_args_save", "auto_mkdir", "project"})
_OPEN_ARGS = frozenset({"mode", "encoding", "errors", "newline", "compression", "block_size", "buffering"})
_BACKENDS: Mapping[str, frozenset[str]] = {
    "pickle.PickleDataset": frozenset({"pickle", "joblib", "dill", "compress_pickle", "cloudpickle"}),
    "redis.PickleDataset": frozenset({"pickle", "dill", "compress_pickle", "cloudpickle"}),
    f"{EXPERIMENTAL}safetensors.SafetensorsDataset": frozenset({"numpy", "torch", "tensorflow", "paddle", "flax"}),
}
_CONNECTION = frozenset({
    "backend", "database", "catalog", "schema", "warehouse", "role", "project_id", "dataset_id", "read_only", "threads",
    "memory_limit",
})  # fmt: skip
_LOCAL_DATABASES = ("duckdb", "sqlite")
_PLAIN_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SUFFIX = re.compile(r"(?:[\w.{}=-]|/(?!/))*", re.ASCII)

_OUTSIDE = (
    "This path does not lie inside a location of the dataset's domain. Choose one that does, or ask for a location."
)
_IN_THE_CLEAR = (
    "A definition must not hold a secret: it is shown to everyone who may load the dataset. "
    "Put it in the project's credentials and write their name: credentials: <name>."
)
_SERVER_FOUND = (
    "A definition must not say which server is asked or how: that could send credentials elsewhere. "
    "It belongs to the credentials that the definition names."
)


def check(
    definition: object,
    *,
    name: str,
    types: KnownTypes,
    locations: Sequence[Location],
    foreign: Sequence[Location] = (),
    project_paths: bool = True,
    at: str = "",
) -> list[Fault]:
    """Everything that is wrong with a definition; nothing, if it may be declared.

    ``name`` is the dataset's, whose placeholders the definition may use. ``locations``
    are those that its domain may use and ``foreign`` those of other branches
    (:func:`muniment.core.locations.reach`). ``at`` is where the definition stands.
    """
    unreadable = _unreadable(definition, at)
    if unreadable is not None:
        return [unreadable]
    checking = _Checking(name, types, tuple(locations), tuple(foreign), project_paths=project_paths)
    checking.dataset(cast("Mapping[str, object]", definition), at)
    # One fault for each place: what is said last knows the argument best.
    return list({fault.at: fault for fault in checking.faults}.values())


def secrets_in(definition: object, *, name: str, types: KnownTypes) -> list[Fault]:
    """Where a definition holds a secret: what must not even be sent to be judged."""
    faults = check(definition, name=name, types=types, locations=())
    return [each for each in faults if about(each) is About.SECRET or each.at.rpartition(".")[2] == "credentials"]


def validated(
    definition: object,
    *,
    name: str,
    types: KnownTypes,
    locations: Sequence[Location],
    foreign: Sequence[Location] = (),
    project_paths: bool = True,
    at: str = "",
) -> Mapping[str, object]:
    """The definition itself, if it may be declared; raises :class:`InvalidDefinition` with every fault."""
    faults = check(
        definition,
        name=name,
        types=types,
        locations=locations,
        foreign=foreign,
        project_paths=project_paths,
        at=at,
    )
    if faults:
        count = "One thing" if len(faults) == 1 else f"{len(faults)} things"
        raise InvalidDefinition(f"{count} in the definition must change: {faults[0].message}", faults)
    return cast("Mapping[str, object]", definition)


class About(StrEnum):
    """What a fault in a definition is about, for those who gather faults."""

    SECRET = "secret"  # noqa: S105 - what a fault is about
    SERVER = "server"
    TYPE = "type"
    FILLING = "filling"
    PLACE = "place"
    ARGUMENT = "argument"


def about(fault: Fault) -> About:
    """What a fault that :func:`check` found is about."""
    words = fault.message
    if _IN_THE_CLEAR in words or _secret_key(fault.at.rpartition(".")[2]):
        return About.SECRET
    if words.startswith(_SERVER_FOUND):
        return About.SERVER
    if fault.at == "type" or fault.at.endswith(".type"):
        return About.TYPE
    if words.endswith((_RESOLVERS, _UNSAFE_FILLING)):
        return About.FILLING
    return About.PLACE if words.startswith(_PLACE_FOUND) or _OF_A_PATH.search(words) else About.ARGUMENT


def canonical_json(definition: object) -> str:
    """The one JSON text of a definition: sorted keys, no spaces, no escapes that are not needed."""
    return json.dumps(definition, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def variables_of(definition: object) -> frozenset[str]:
    """The names of the variables (``${globals:name}``) that a definition uses."""
    found = (match["variable"] for text in _strings(definition) for match in _RESOLVER.finditer(text))
    return frozenset(variable for variable in found if variable)


def path_variables_of(definition: Mapping[str, object], types: KnownTypes) -> frozenset[str]:
    """Those variables that stand in a path; a value must be ``safe_in_path`` to be filled in there.

    A variable that is a whole argument is not among them, and could be anything: so the
    filled definition is checked too (:func:`with_variables`).
    """
    known = types.find(str(definition.get("type")))
    found: set[str] = set()
    for key, value in definition.items():
        if known is not None and key in known.path_parameters:
            found |= variables_of(value)
        elif isinstance(value, Mapping):
            found |= path_variables_of(value, types)
        elif key not in _STATEMENTS:
            found |= variables_of([text for text in _strings(value) if "/" in text])
    return frozenset(found)


def with_variables(definition: Mapping[str, object], variables: Mapping[str, object]) -> dict[str, object]:
    """The definition with every ``${globals:…}`` filled in; ``${runtime_params:…}`` stays for the client.

    A value fills a whole argument as it is and a part of a text as text. Raises
    :class:`InvalidDefinition` for a variable that has no value. What comes out holds
    values that nobody has looked at in this place: check it again.
    """
    missing = sorted(_without_default(definition) - variables.keys())
    if missing:
        named = ", ".join(missing)
        message = f"No value for {named} in this domain and environment. Set the variable, or give a default."
        raise InvalidDefinition(message, [Fault("", message)])
    return {key: _fill(value, variables) for key, value in definition.items()}


def with_parameters_open(text: str) -> str:
    """A text in which every ``${runtime_params:…}`` is written :data:`OPEN`, whatever its name and default."""
    return _RESOLVER.sub(lambda found: OPEN if found["parameter"] else found[0], text) if "${" in text else text


@dataclass(frozen=True, slots=True)
class Filling:
    """One place in a text that is filled in: by a variable of the service, or by a run's parameter."""

    variable: str | None
    parameter: str | None
    has_default: bool
    default: object


def fillings(value: object) -> tuple[Filling, ...]:
    """What is filled in in one value, in the order in which it stands there."""
    return tuple(map(_filling, _RESOLVER.finditer(value))) if isinstance(value, str) and "${" in value else ()


def _filling(found: re.Match[str]) -> Filling:
    text = found["otherwise"] if found["variable"] else found["default"]
    default = None if text is None else _plain(text.strip())
    return Filling(found["variable"], found["parameter"], text is not None, default)


def with_placeholders(definition: Mapping[str, object], values: Mapping[str, str]) -> dict[str, object]:
    """The definition that a factory pattern gives to one name, whose parts are the values.

    As in Kedro, every text that holds a closing brace is formatted: a brace written twice
    becomes one, but not those of what is filled in later.
    """
    return {key: _formatted(value, values) for key, value in definition.items()}


class _Checking:
    """One pass over one definition: what is known of its surroundings, and the faults found so far."""

    __slots__ = ("_foreign", "_locations", "_placeholders", "_project_paths", "_types", "faults")

    def __init__(
        self,
        name: str,
        types: KnownTypes,
        locations: tuple[Location, ...],
        foreign: tuple[Location, ...],
        *,
        project_paths: bool,
    ) -> None:
        self._types = types
        self._locations = locations
        self._foreign = foreign
        self._project_paths = project_paths
        self._placeholders = frozenset(_NAME_PLACEHOLDER.findall(name))
        self.faults: list[Fault] = []

    def dataset(self, definition: Mapping[str, object], at: str, supplied: frozenset[str] = frozenset()) -> None:
        """Check one definition, nested or not; ``supplied`` arguments come from the dataset around it."""
        name = definition.get("type")
        if not isinstance(name, str) or not name:
            self._fault(at, "type", "Name the dataset's type, such as type: pandas.CSVDataset.")
            self._values(definition, at)
            return
        known = self._type(name, at)
        inner = _given_to_nested(known, definition)
        for key, value in definition.items():
            if key != "type":
                self._argument(known, name, key, value, _join(at, key), supplied=inner)
        if known is not None:
            self._missing(known, definition, at, supplied)
            self._special(known, definition, at)

    # --- types and arguments --------------------------------------------------------------------

    def _type(self, name: str, at: str) -> DatasetType | None:
        known = self._types.find(name)
        if known is not None or name in self._types.registered:
            return known
        why = NEVER.get(name.rpartition(".")[2])
        new = self._types.renamed(name)
        if why:
            self._fault(at, "type", f"{name} cannot be declared: {why}")
        elif "{" in name:
            self._fault(at, "type", "A type is written out: nothing in it is filled in later.")
        elif new is not None:
            self._fault(at, "type", f"{name!r} is not what the type is called today. Write {new}.")
            return self._types.find(new)
        else:
            self._fault(at, "type", self._unknown(name))
        return None

    def _unknown(self, name: str) -> str:
        near = self._types.suggest(name)
        meant = f" Did you mean {near}?" if near else ""
        return (
            f"Unknown type {_shown(name)}: kedro-datasets {self._types.version} has none of this name, and no "
            f"administrator has registered it.{meant}"
        )

    def _argument(
        self, known: DatasetType | None, name: str, key: str, value: object, where: str, *, supplied: frozenset[str]
    ) -> None:
        if key.startswith("_"):
            self.faults.append(
                Fault(where, "Names that begin with _ are not served. Write the value where it is used.")
            )
        elif key == "versioned":
            self._versioned(known, value, where)
        elif key == "credentials" or key.endswith("_credentials"):
            self._credentials(known, key, value, where)
        elif known is None:
            self._unknown_arguments(key, value, where)
        else:
            parameter = known.by_name.get(key)
            if parameter is not None:
                self._known_argument(known, parameter, value, where, supplied=supplied)
            else:
                self._further_argument(known, name, key, value, where)

    def _unknown_arguments(self, key: str, value: object, where: str) -> None:
        """Check an argument of a type of which no more is known than its name."""
        if key in {"filepath", "path"}:
            self._path(value, where)
        elif key in {"dataset", "response_dataset"} and isinstance(value, Mapping):
            self.dataset(value, where, frozenset({"filepath"}))
        elif key == "fs_args":
            self._fs_args(value, where)
        elif key == "metadata":
            self._texts_only(value, where)
        else:
            self._value(key, value, where)

    def _known_argument(
        self, known: DatasetType, parameter: Parameter, value: object, where: str, *, supplied: frozenset[str]
    ) -> None:
        if value is None:
            if parameter.required:
                self.faults.append(Fault(where, f"{known.name} needs a value for {parameter.name}."))
            return
        accepts = parameter.accepts
        if Accepts.PATH in accepts:
            self._path(value, where)
        elif Accepts.DATASET in accepts:
            self._nested(value, where, supplied)
        elif Accepts.CHECKPOINT in accepts:
            self._checkpoint(value, where)
        elif not _fits(value, accepts):
            self.faults.append(Fault(where, f"{parameter.name} takes {_spoken(accepts)}."))
        elif parameter.name == "metadata":
            self._texts_only(value, where)
        elif parameter.name == "fs_args":
            self._fs_args(value, where)
        elif parameter.name == "connection":
            self._connection(value, where)
        else:
            self._value(parameter.name, value, where)

    def _further_argument(self, known: DatasetType, name: str, key: str, value: object, where: str) -> None:
        if known.open_ended and _PLAIN_WORD.fullmatch(key) and key not in {"version", "validator"}:
            self._value(key, value, where)
            return
        self.faults.append(Fault(where, _unknown_argument(known, name, key)))

    def _missing(self, known: DatasetType, definition: Mapping[str, object], at: str, supplied: frozenset[str]) -> None:
        for parameter in known.parameters:
            if parameter.required and parameter.name not in definition and parameter.name not in supplied:
                self._fault(at, parameter.name, f"{known.name} needs {parameter.name}.")

    def _versioned(self, known: DatasetType | None, value: object, where: str) -> None:
        if not isinstance(value, bool):
            self.faults.append(Fault(where, "versioned is true or false."))
        elif value and known is not None and not known.versioned:
            self.faults.append(Fault(where, f"{known.name} keeps no versions. Leave versioned out."))

    def _credentials(self, known: DatasetType | None, key: str, value: object, where: str) -> None:
        if key != "credentials":
            message = f"Kedro fills in only credentials, so {key} would have to hold a secret. Leave it out."
            self.faults.append(Fault(where, message))
        elif known is not None and not known.credentials and not known.open_ended:
            self.faults.append(Fault(where, f"{known.name} takes no credentials."))
        elif value is not None and not (isinstance(value, str) and _CREDENTIALS.fullmatch(value)):
            message = (
                "Write the name of credentials (small letters, digits and _), never the credentials themselves: "
                "credentials: <name>."
            )
            self.faults.append(Fault(where, message))

    # --- arguments with rules of their own ------------------------------------------------------

    def _special(self, known: DatasetType, definition: Mapping[str, object], at: str) -> None:
        backends = _BACKENDS.get(known.name)
        backend = definition.get("backend")
        if backends is not None and backend is not None and backend not in backends:
            message = f"backend names a module that is imported, so it is one of {', '.join(sorted(backends))}."
            self._fault(at, "backend", message)
        if "file_format" in definition and not _is_word(definition["file_format"]):
            self._fault(at, "file_format", "file_format is one plain word, such as parquet.")
        if known.name == f"{EXPERIMENTAL}optuna.StudyDataset" and str(backend).startswith(_LOCAL_DATABASES):
            self._local_database(definition.get("database"), _join(at, "database"))
        self._special_names(definition, at)
        if known.name == "CachedDataset":
            nested = definition.get("dataset")
            if isinstance(nested, Mapping) and "versioned" in nested:
                self._fault(at, "dataset.versioned", "Write versioned beside CachedDataset, not in the cached dataset.")

    def _special_names(self, definition: Mapping[str, object], at: str) -> None:
        if "filepath_arg" in definition and not _is_word(definition["filepath_arg"]):
            self._fault(at, "filepath_arg", "filepath_arg is the name of an argument, such as filepath.")
        suffix = definition.get("filename_suffix")
        if isinstance(suffix, str) and (not _SUFFIX.fullmatch(suffix) or ".." in suffix):
            self._fault(at, "filename_suffix", "filename_suffix is the end of a file's name, such as .csv.")
        files = definition.get("data_files")
        if isinstance(files, Mapping):
            for split, file in files.items():
                if not safe_in_path(file):
                    self._fault(at, f"data_files.{split}", "Write the plain name of a file in the dataset's folder.")

    def _nested(self, value: object, where: str, supplied: frozenset[str]) -> None:
        if isinstance(value, str):
            self.dataset({"type": value}, where, supplied)
        elif isinstance(value, Mapping):
            self.dataset(value, where, supplied)
        else:
            self.faults.append(Fault(where, "Write the nested dataset's type, or its definition with its type."))

    def _checkpoint(self, value: object, where: str) -> None:
        if isinstance(value, str):
            self._text(value, where)
        elif not isinstance(value, Mapping):
            self.faults.append(Fault(where, "A checkpoint is a value, or a definition of where it is kept."))
        elif "comparison_func" in value:
            message = "comparison_func names code that the client would import. Leave it out."
            self._fault(where, "comparison_func", message)
        else:
            kept = {key: item for key, item in value.items() if key != "force_checkpoint"}
            self.dataset({"type": "text.TextDataset", **kept}, where, frozenset({"filepath"}))

    def _fs_args(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            return
        for key, options in value.items():
            if key not in _FS_ARGS:
                message = (
                    _IN_THE_CLEAR if _secret_key(key) else f"{_SERVER_FOUND} fs_args holds {_listed(_FS_ARGS)} only."
                )
                self._fault(where, key, message)
            elif key.startswith("open_args") and isinstance(options, Mapping):
                for option in options:
                    if option not in _OPEN_ARGS:
                        self._fault(where, f"{key}.{option}", f"{key} holds {_listed(_OPEN_ARGS)} only.")
                self._values(options, _join(where, key))
            else:
                self._value(key, options, _join(where, key))

    def _connection(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            return
        for key, item in value.items():
            if key not in _CONNECTION:
                message = f"{_SERVER_FOUND} A connection holds {_listed(_CONNECTION)} only."
                self._fault(where, key, _IN_THE_CLEAR if _secret_key(key) else message)
            elif key == "backend" and not _is_word(item):
                self._fault(where, key, "backend is one plain word, such as duckdb.")
            elif key != "database":
                self._value(key, item, _join(where, key))
        backend = value.get("backend")
        if backend in _LOCAL_DATABASES:
            self._local_database(value.get("database"), _join(where, "database"))
        elif "database" in value:
            self._value("database", value["database"], _join(where, "database"))

    def _local_database(self, database: object, where: str) -> None:
        if database not in (None, ":memory:"):
            self._path(database, where)

    # --- paths ----------------------------------------------------------------------------------

    def _path(self, value: object, where: str) -> None:
        if not isinstance(value, str):
            self.faults.append(Fault(where, "A path is a text, such as s3://bucket/folder/file.csv."))
        elif self._text(value, where):
            message = self._wrong_with_path(value)
            if message is not None:
                self.faults.append(Fault(where, message))

    def _wrong_with_path(self, value: str) -> str | None:
        if value.startswith(("{", "${")):
            return "A path begins with its location, written out. What is filled in can stand only behind that."
        filled, safe = _filled(value)
        if not safe:
            return _UNSAFE_FILLING
        try:
            canonical = canonical_path(filled)
        except Invalid as refused:
            return refused.detail
        if canonical.startswith(f"{PROJECT}://"):
            return None if self._project_paths else "Paths in the project (project://) are not allowed here."
        return None if self._placed(value, canonical) else _OUTSIDE

    def _placed(self, written: str, canonical: str) -> bool:
        """Whether a readable path lies in a location; what is filled in later may stand only behind it."""
        fixed = _fixed_part(written)
        if self._is_foreign(fixed, whole=fixed == canonical):
            return False
        return any(fixed.startswith(location.url) for location in self._locations)

    def _is_foreign(self, fixed: str, *, whole: bool) -> bool:
        """Whether the path lies in another branch's location, could be filled so that it does, or holds one."""
        reaches = f"{fixed.removesuffix('/')}/" if whole else fixed
        return any(fixed.startswith(other.url) or other.url.startswith(reaches) for other in self._foreign)

    # --- values ---------------------------------------------------------------------------------

    def _values(self, mapping: Mapping[str, object], at: str) -> None:
        for key, value in mapping.items():
            self._value(key, value, _join(at, key))

    def _value(self, key: str, value: object, where: str) -> None:
        """Check an argument without rules of its own, or something inside it."""
        if value is None or value == "":
            return
        if not isinstance(value, bool) and _secret_key(key):
            self.faults.append(Fault(where, _IN_THE_CLEAR))
        elif _server_key(key):
            self.faults.append(Fault(where, _SERVER_FOUND))
        elif key == "credentials":
            self._credentials(None, key, value, where)
        elif key in _OF_COLUMNS:
            self._columns(value, where)
        elif isinstance(value, Mapping):
            self._values(value, where)
        else:
            self._leaves(key, value, where)

    def _leaves(self, key: str, value: object, where: str) -> None:
        if isinstance(value, str):
            if self._text(value, where):
                self._hidden_path(key, value, where)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._value(key, item, f"{where}.{index}")

    def _columns(self, value: object, where: str) -> None:
        """Check what is said about columns, whose names are nobody's keys; Spark's schema may name a file."""
        if isinstance(value, Mapping):
            for name, item in value.items():
                if name == "filepath":
                    self._path(item, _join(where, name))
                else:
                    self._columns(item, _join(where, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._columns(item, f"{where}.{index}")
        else:
            self._leaves("", value, where)

    def _hidden_path(self, key: str, value: str, where: str) -> None:
        """Refuse an address or a path in an argument that is not known to hold one, unless it is in a location."""
        if key not in _STATEMENTS and _names_a_place(key, _with_defaults(value)):
            message = self._wrong_with_path(value)
            if message is not None:
                self.faults.append(Fault(where, f"{_PLACE_FOUND} {message}"))

    def _texts_only(self, value: object, where: str) -> None:
        """Check what Kedro ignores: it is shown to people, so it may say anything but a secret."""
        if isinstance(value, str):
            self._text(value, where)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                if isinstance(item, str) and item and _secret_key(key):
                    self._fault(where, key, _IN_THE_CLEAR)
                else:
                    self._texts_only(item, _join(where, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._texts_only(item, f"{where}.{index}")

    def _text(self, value: str, where: str) -> bool:
        """Check what every text must be; whether it is worth looking at further."""
        message = self._wrong_with(value)
        if message is not None:
            self.faults.append(Fault(where, message))
        return message is None

    def _wrong_with(self, value: str) -> str | None:
        if value.startswith("!!"):
            return "A value must not be a YAML tag."
        if _SECRET_HINT.search(value) and (_SECRET_VALUE.search(value) or _USER_IN_URL.search(value)):
            return _IN_THE_CLEAR
        if "{" not in value and "}" not in value:
            return None
        rest = _RESOLVER.sub("", value) if "${" in value else value
        if "${" in rest:
            return _RESOLVERS
        return self._wrong_placeholder(rest)

    def _wrong_placeholder(self, value: str) -> str | None:
        """What Kedro would fill in badly: in a factory it formats every text that holds a brace."""
        if not self._placeholders:
            found = _PLACEHOLDER_LIKE.search(value)
            return f"{found[0]} is not in the dataset's name, so nothing would fill it in." if found else None
        try:
            fields = list(string.Formatter().parse(value)) if "}" in value else []
        except ValueError:
            return "This text has a lone brace. In a dataset with placeholders a brace is written twice: {{ or }}."
        for _, field_name, form, conversion in fields:
            if field_name is not None and (field_name not in self._placeholders or form or conversion):
                allowed = " and ".join(f"{{{placeholder}}}" for placeholder in sorted(self._placeholders))
                return (
                    f"Only {allowed}, from the dataset's name, can be filled in here; other braces are written twice."
                )
        return None

    def _fault(self, at: str, key: str, message: str) -> None:
        self.faults.append(Fault(_join(at, key), message))


_PLACE_FOUND = "An argument must not name a server, nor a place outside the domain's locations."
_OF_A_PATH = re.compile(r"\b[Pp]aths?\b|://")
_UNSAFE_FILLING = (
    "What is filled in into a path stands within one part of it, so its default is plain letters, digits, '.', '_', "
    "'-' or '=', and reads as it is written: anything else could lead out of the location."
)
_RESOLVERS = (
    "Only ${globals:name} and ${runtime_params:name}, each with or without a default, can be filled in. "
    "Write the value itself, or a variable of the domain as ${globals:name}."
)


def _unreadable(definition: object, at: str) -> Fault | None:
    """Why a definition cannot even be looked at, if so."""
    if not isinstance(definition, dict):
        return Fault(at, "A definition is a mapping, such as {type: pandas.CSVDataset, filepath: …}.")
    pending: list[tuple[object, str, int]] = [(definition, at, 1)]
    nodes = 0
    while pending:
        value, where, depth = pending.pop()
        nodes += 1
        if nodes > MOST_NODES:
            return Fault(at, f"A definition has at most {MOST_NODES:,} values.")
        wrong = _unreadable_value(value, depth)
        if wrong is not None:
            return Fault(where, wrong)
        if isinstance(value, dict):
            pending.extend((item, _join(where, key), depth + 1) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend((item, f"{where}.{index}", depth + 1) for index, item in enumerate(value))
    if len(canonical_json(definition).encode()) > MOST_BYTES:
        return Fault(at, f"A definition has at most {MOST_BYTES // 1024} KiB.")
    return None


def _unreadable_value(value: object, depth: int) -> str | None:
    """What keeps a value from being read; of a mapping its keys are looked at, not its values."""
    if isinstance(value, str):
        return _unreadable_text(value)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if abs(value) < _LARGEST_INTEGER else "A whole number has at most 63 bits."
    if isinstance(value, float):
        return None if math.isfinite(value) else "A number is finite: NaN and infinity cannot be written as JSON."
    if not isinstance(value, dict | list):
        return "A definition holds mappings, lists, texts, numbers, true, false and null only."
    if depth > DEEPEST:
        return f"A definition is nested at most {DEEPEST} deep."
    return next(filter(None, map(_unreadable_key, value)), None) if isinstance(value, dict) else None


def _unreadable_text(text: str) -> str | None:
    if len(text) > MOST_BYTES:
        return f"A definition has at most {MOST_BYTES // 1024} KiB."
    return "A text must not hold a NUL or half a character." if _UNWRITABLE.search(text) else None


def _unreadable_key(key: object) -> str | None:
    if not isinstance(key, str):
        return "Every key is a text. Write it in quotes."
    if key.isascii() and key.isidentifier() and not key.startswith("__"):
        return None
    if not key or key != key.strip() or any(unicodedata.category(character) in _INVISIBLE for character in key):
        return "A key must not be empty, nor hold characters that cannot be seen."
    if key.startswith("__") or key == "<<" or key[0] in "!&*" or "${" in key or _PLACEHOLDER_LIKE.search(key):
        return f"{_shown(key)} cannot be a key: keys are plain names."
    return None


def _filled(path: str) -> tuple[str, bool]:
    """A path with something plain in the place of all that is filled in later, and whether that is safe."""
    safe = all(map(_safe_default, _RESOLVER.finditer(path)))
    return _NAME_PLACEHOLDER.sub("x", _RESOLVER.sub("x", path)), safe


def _safe_default(found: re.Match[str]) -> bool:
    """Whether a default can stand in a path. That of a run's parameter is the client's to read: there is one way to."""
    if found["variable"]:
        return found["otherwise"] is None or safe_in_path(found["otherwise"].strip())
    default = found["default"]
    return default is None or (safe_in_path(default.strip()) and str(_plain(default.strip())) == default.strip())


def _fixed_part(path: str) -> str:
    """The beginning of a path up to what is filled in later, in canonical spelling."""
    fixed = path.partition("{")[0].removesuffix("$")
    return f"file://{fixed}" if fixed.startswith("/") else fixed


def _given_to_nested(known: DatasetType | None, definition: Mapping[str, object]) -> frozenset[str]:
    """The arguments that a dataset gives to the one inside it: the path, if it has one of its own."""
    if known is not None and not known.path_parameters:
        return frozenset()
    return frozenset({str(definition.get("filepath_arg", "filepath"))})


def _unknown_argument(known: DatasetType, name: str, key: str) -> str:
    if key == "version":
        return "Kedro ignores version here. Write versioned: true to keep versions."
    if key == "validator":
        return "validator names code that the client would import. Leave it out."
    if key == "layer" and known.accepts_metadata:
        return "layer stands under metadata: metadata: {kedro-viz: {layer: …}}."
    return f"{name} takes no {_shown(key)}. It takes {_listed(known.by_name)}."


def _fits(value: object, accepts: tuple[Accepts, ...]) -> bool:
    """Whether a value is of a kind that a parameter takes; what is filled in later may be anything."""
    if Accepts.ANY in accepts or (isinstance(value, str) and "${" in value):
        return True
    if isinstance(value, bool):
        return Accepts.BOOLEAN in accepts
    if isinstance(value, int):
        return Accepts.INTEGER in accepts or Accepts.NUMBER in accepts
    if isinstance(value, float):
        return Accepts.NUMBER in accepts
    if isinstance(value, list):
        return Accepts.LIST in accepts
    return (Accepts.STRING if isinstance(value, str) else Accepts.MAPPING) in accepts


_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_SPOKEN: Mapping[Accepts, str] = {
    Accepts.BOOLEAN: "true or false",
    Accepts.INTEGER: "a whole number",
    Accepts.LIST: "a list",
    Accepts.MAPPING: "a mapping",
    Accepts.NUMBER: "a number",
    Accepts.STRING: "a text",
}


def _spoken(accepts: tuple[Accepts, ...]) -> str:
    return " or ".join(_SPOKEN[kind] for kind in accepts if kind in _SPOKEN)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _PLAIN_WORD.fullmatch(value) is not None


@lru_cache(maxsize=4096)
def _snake(key: str) -> str:
    """A key in one style: ``secretAccessKey``, ``secret.access.key`` and ``Secret-Access-Key`` are the same."""
    return _STYLE.sub("_", key).lower()


def _secret_key(key: str) -> bool:
    plain = _snake(key)
    return _SECRET_KEY.search(plain) is not None and plain not in _NOT_SECRET


def _server_key(key: str) -> bool:
    return _SERVER_KEY.match(_snake(key)) is not None


def _names_a_place(key: str, value: str) -> bool:
    """Whether a value is an address, or a path that does not stay where it is looked for."""
    if (":/" in value or "::" in value) and _URL.search(value):
        return True
    if key in _NOT_A_PATH or ("/" not in value and "\\" not in value and ".." not in value):
        return False
    return _LOOKS_ABSOLUTE.fullmatch(value) is not None or _PATH_KEY.search(_snake(key)) is not None


def _with_defaults(value: str) -> str:
    """A text as it is when nothing is given for what is filled in later."""
    if "${" not in value:
        return value
    return _RESOLVER.sub(lambda found: (found["default"] or found["otherwise"] or "").strip(), value)


def _without_default(definition: object) -> frozenset[str]:
    found = (match for text in _strings(definition) for match in _RESOLVER.finditer(text))
    return frozenset(match["variable"] for match in found if match["variable"] and match["otherwise"] is None)


def _fill(value: object, variables: Mapping[str, object]) -> object:
    if isinstance(value, Mapping):
        return {key: _fill(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables) for item in value]
    if not isinstance(value, str) or "${globals:" not in value:
        return value
    whole = _RESOLVER.fullmatch(value)
    if whole is not None:
        return _variable(whole, variables)
    return _RESOLVER.sub(lambda found: str(_variable(found, variables)) if found["variable"] else found[0], value)


def _formatted(value: object, values: Mapping[str, str]) -> object:
    if isinstance(value, Mapping):
        return {key: _formatted(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_formatted(item, values) for item in value]
    if not isinstance(value, str) or "}" not in value:
        return value
    return _IN_A_FACTORY.sub(lambda found: _BRACES.get(found[0]) or _placed(found, values), value)


def _placed(found: re.Match[str], values: Mapping[str, str]) -> str:
    return values.get(found["placeholder"], found[0]) if found["placeholder"] else found[0]


def _variable(found: re.Match[str], variables: Mapping[str, object]) -> object:
    """A variable's value, or the default as plain data."""
    if found["variable"] in variables:
        return variables[found["variable"]]
    return _plain(str(found["otherwise"]).strip())


def _plain(text: str) -> object:
    """A default as a catalog's reader would take it: a word, a number, or a text that may be quoted."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _listed(names: Mapping[str, object] | frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "no arguments"


def _shown(text: str) -> str:
    """A text as it can be shown: cut, and with what cannot be seen written out."""
    cut = text[:_LONGEST_SHOWN]
    return (repr(cut) if text.isprintable() else ascii(cut)) + ("…" if cut != text else "")


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
