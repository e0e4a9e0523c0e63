"""Manifests as YAML: one file, or a folder with a file for each section and each tenant."""

import dataclasses
import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import yaml

FORMAT = 1
TENANTS = "tenants"
_FORMAT_KEY = "manifest"
_HEADER = "# Written by `yumen export`; `yumen apply` reads it.\n"
_MAX_BYTES = 256 << 20

Object = dict[str, Any]


class ManifestError(Exception):
    """A manifest cannot be read or written; the message says where and why."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """An object of a section, and the file in which it stands."""

    file: str
    value: Object


Sections = dict[str, list[Entry]]


class _Loader(yaml.SafeLoader):
    """YAML as JSON has it: no dates, and no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML reads it so
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse what would silently win over something else."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is no text: put it in quotes", node.start_mark
                )
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key} stands here twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """YAML without anchors, lists indented below their key."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write everything out."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent lists."""
        super().increase_indent(flow, indentless=False)


def read(path: Path) -> Sections:
    """Return the sections of the file *path*, or of all `*.yaml` files below the folder *path*.

    Raises:
        ManifestError: a file is missing, is no YAML, or is no manifest.
    """
    sections: Sections = {}
    for file in _files(path):
        for section, entries in _read_file(file).items():
            sections.setdefault(section, []).extend(entries)
    return sections


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(itertools.chain(path.rglob("*.yaml"), path.rglob("*.yml")))
    visible = [each for each in found if not _is_hidden(each.relative_to(path))]
    if not visible:
        raise ManifestError(f"{path} holds no .yaml file.")
    return visible


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_file(path: Path) -> Sections:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ManifestError(f"{path} is larger than {_MAX_BYTES >> 20} MB.")
        loaded = yaml.load(data.decode("utf-8"), _Loader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise ManifestError(f"Cannot read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(loaded, dict) or loaded.pop(_FORMAT_KEY, None) != FORMAT:
        raise ManifestError(f"{path} is no manifest: it must say `{_FORMAT_KEY}: {FORMAT}`.")
    try:
        return {name: entries(str(path), name, value) for name, value in loaded.items()}
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def entries(file: str, section: str, value: Any) -> list[Entry]:
    """Return the objects of a section in *file*.

    Raises:
        ManifestError: *value* is no list of objects.
    """
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ManifestError(f"{section}: must be a list of objects.")
    return [Entry(file, each) for each in value]


def write(stream: TextIO, sections: Iterable[tuple[str, Iterable[Object]]]) -> None:
    """Write a manifest in one piece."""
    stream.write(_HEADER)
    _dump({_FORMAT_KEY: FORMAT}, stream)
    for section, objects in sections:
        stream.write("\n")
        written = 0
        for written, each in enumerate(objects, start=1):
            if written == 1:
                stream.write(f"{section}:\n")
            _dump([each], stream, indent=2)
        if not written:
            stream.write(f"{section}: []\n")


def write_folder(folder: Path, sections: Iterable[tuple[str, Iterable[Object]]]) -> None:
    """Write a file for each section, and one for each tenant into `tenants/`.

    Files there that an earlier export wrote and this one does not are removed, others left alone.

    Raises:
        ManifestError: the folder cannot be written.
    """
    try:
        written = set(_write_files(folder, sections))
        for old in (*folder.glob("*.yaml"), *(folder / TENANTS).glob("*.yaml")):
            if old not in written and _is_ours(old):
                old.unlink()
    except OSError as error:
        raise ManifestError(f"Cannot write {error.filename}: {error.strerror}.") from error


def _write_files(folder: Path, sections: Iterable[tuple[str, Iterable[Object]]]) -> Iterator[Path]:
    (folder / TENANTS).mkdir(parents=True, exist_ok=True)
    for section, objects in sections:
        if section != TENANTS:
            yield _write_file(folder / f"{section}.yaml", section, objects)
            continue
        for each in objects:
            yield _write_file(folder / TENANTS / f"{each['id']}.yaml", section, [each])


def _write_file(path: Path, section: str, objects: Iterable[Object]) -> Path:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        write(file, [(section, objects)])
    temporary.replace(path)
    return path


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline() == _HEADER


def _dump(value: Any, stream: TextIO, indent: int = 0) -> None:
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )
    stream.writelines(" " * indent + line for line in text.splitlines(keepends=True))


def secret_of(reference: Any, folder: Path, environ: Mapping[str, str]) -> str | None:
    """Return the secret that *reference* names, None when there is none in its place.

    Raises:
        ManifestError: it is no reference, or its file cannot be read.
    """
    match reference:
        case {"env": str(name), **rest} if not rest:
            return environ.get(name)
        case {"file": str(name), **rest} if not rest:
            try:
                return (folder / name).read_text(encoding="utf-8").rstrip("\r\n")
            except FileNotFoundError:
                return None
            except (OSError, UnicodeDecodeError) as error:
                raise ManifestError(f"cannot read {folder / name}: {error}") from error
    raise ManifestError(
        "must be {env: NAME} or {file: PATH}: a manifest names a secret and does not hold it"
    )
