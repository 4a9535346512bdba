"""XML recordings, recognised by their root element. Entities are refused: no file can grow or reach beyond itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.records.channels import ReadOptions
from ecgcam.records.record import Record

# No recording nests its elements so deep.
_DEEPEST = 200

# Within so many bytes an XML file comes to its root.
_BEGINNING = 1 << 16

# Root elements of the formats that are read, and of others that are known.
_READ = {"AnnotatedECG", "restingecgdata", "RestingECG"}
_NOT_READ = {"CardiologyXML": "GE CardioSoft XML", "ECG": "an ECG in XML of a maker's own"}

ReadRoot = Callable[[Path, Element, ReadOptions], Record]


def read_xml(path: Path, options: ReadOptions, *, root: str, read: ReadRoot) -> Record:
    """Read an XML file with the reader of its root element.

    Raises
    ------
    EcgcamError
        If it is not XML, an XML of another kind, declares entities, or is damaged.
    """
    tree = tree_of(path)
    if tree.tag != root:
        kind = _NOT_READ.get(tree.tag, f"XML of another kind, <{tree.tag[:40]}>")
        raise EcgcamError(
            f"{path}: is {kind}, which is not supported; export it as HL7 aECG, Philips Sierra or GE MUSE XML"
        )
    return read(path, tree, options)


def has_root(path: Path, beginning: bytes, *, root: str) -> bool:
    """Whether a file is XML with this root element; only its beginning is read."""
    return root_of(path, beginning) == root


def root_of(path: Path, beginning: bytes) -> str | None:
    """Return the name of an XML file's root element; None if the first 64 KiB have none, or are not XML."""
    if not any(mark in beginning[:64] for mark in (b"<", b"<\0", b"\0<")):
        return None
    roots: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda tag, _: roots.append(_local(tag))
    try:
        parser.Parse(beginning)
        if not roots and len(beginning) < _BEGINNING:
            with path.open("rb") as file:
                file.seek(len(beginning))
                parser.Parse(file.read(_BEGINNING - len(beginning)))
    except (expat.ExpatError, LookupError, ValueError, OSError):  # an error behind the root does not matter
        pass
    return roots[0] if roots else None


def may_be_recording(path: Path) -> bool:
    """Whether an XML file in a folder is reported if it cannot be read: an ECG's, or no readable XML; others are skipped."""
    try:
        with path.open("rb") as file:
            root = root_of(path, file.read(_BEGINNING))
    except OSError:
        return True
    return root is None or root in _READ or root in _NOT_READ


def tree_of(path: Path) -> Element:
    """Return the root of an XML file, tags and attributes without their namespaces.

    Raises
    ------
    EcgcamError
        If it is not XML, declares entities, or nests absurdly deep.
    """
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise EcgcamError(f"{path}: elements nested more than {_DEEPEST} deep; choose another file")
        builder.start(_local(tag), {_local(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(tag))

    def entity(*_: object) -> int:
        raise EcgcamError(
            f"{path}: declares XML entities, which are never expanded; save the file without a document type"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = parser.ExternalEntityRefHandler = entity
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except EcgcamError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise EcgcamError(f"{path}: not a readable XML file ({one_line(error)}); copy the file again") from error
    return builder.close()


def _local(name: str) -> str:
    return name.rsplit(" ", 1)[-1]
