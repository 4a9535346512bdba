"""XML recordings, told apart by their root element. Entities are refused, so that no file can grow or reach beyond itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ecgcam.errors import EcgcamError
from ecgcam.files import one_line
from ecgcam.records.aecg import read_aecg
from ecgcam.records.record import Record
from ecgcam.records.sierra import read_sierra

# No recording nests its elements so deep.
_DEEPEST = 200

# Within so many bytes an XML file comes to its root.
_BEGINNING = 1 << 16

# Root element -> its reader.
_ROOTS: dict[str, Callable[[Path, Element, float | None, tuple[str, ...] | None], Record]] = {
    "AnnotatedECG": read_aecg,
    "restingecgdata": read_sierra,
}
# Roots of formats that are known and not read.
_KNOWN = {"RestingECG": "GE MUSE XML", "CardiologyXML": "GE CardioSoft XML", "ECG": "an ECG in XML of a maker's own"}


def read_xml(path: Path, fs: float | None, lead_names: tuple[str, ...] | None) -> Record:
    """Read an HL7 annotated ECG or a Philips Sierra ECG.

    Raises
    ------
    EcgcamError
        If it is no XML, an XML of another kind, declares entities, or is damaged.
    """
    root = tree_of(path)
    if root.tag not in _ROOTS:
        raise EcgcamError(
            f"{path}: is {_KNOWN.get(root.tag, f'XML of another kind, <{root.tag[:40]}>')}, which is not read; "
            "HL7 aECG and Philips Sierra XML are"
        )
    return _ROOTS[root.tag](path, root, fs, lead_names)


def may_be_recording(path: Path) -> bool:
    """Whether an XML file is an ECG, or no readable XML, which may be a damaged one; only its beginning is read."""
    roots: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda tag, _: roots.append(_local(tag))
    try:
        with path.open("rb") as file:
            while not roots and file.tell() < _BEGINNING and (part := file.read(4096)):
                parser.Parse(part)
    except (expat.ExpatError, LookupError, ValueError, OSError):  # an error behind the root says nothing
        pass
    return not roots or roots[0] in _ROOTS or roots[0] in _KNOWN


def tree_of(path: Path) -> Element:
    """Return the root of an XML file, tags and attributes without their namespaces.

    Raises
    ------
    EcgcamError
        If it is no XML, declares entities, or nests absurdly deep.
    """
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise EcgcamError(f"{path}: elements nested more than {_DEEPEST} deep; not a recording")
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
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise EcgcamError(f"{path}: not a readable XML file ({one_line(error)}); copy the file again") from error
    return builder.close()


def _local(name: str) -> str:
    return name.rsplit(" ", 1)[-1]
