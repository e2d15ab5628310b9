"""The example's documents, read once for several tests."""

from __future__ import annotations

from examples.hospital.world import SPECS
from tenon.core.documents import Document, parse_documents
from tenon.core.specs import Spec


def parsed() -> list[Document]:
    """Every document of the example's folder."""
    return [
        document for path in sorted(SPECS.glob("*.yaml")) for document in parse_documents(path.read_text(), path.name)
    ]


def documents() -> dict[tuple[str, str], Spec]:
    """By kind and name."""
    return {(document.kind, document.spec.name): document.spec for document in parsed()}
