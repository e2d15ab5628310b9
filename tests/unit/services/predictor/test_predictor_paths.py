"""Which paths are predictions."""

import pytest

from services.predictor.api_http import paths
from services.predictor.api_http.paths import Path, parse_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v2/models/late/infer", Path("infer", None, "late", None)),
        ("/v2/models/late/versions/7/infer", Path("infer", None, "late", "7")),
        ("/v1/models/late:predict", Path("predict", None, "late", None)),
        ("/tenants/acme/v2/models/late/infer", Path("infer", "acme", "late", None)),
        ("/tenants/acme/v2/models/late/versions/7/infer", Path("infer", "acme", "late", "7")),
        ("/tenants/acme/v1/models/late:predict", Path("predict", "acme", "late", None)),
        ("/tenants//v2/models/late/infer", None),
        ("/tenants/a/b/v2/models/late/infer", None),
        ("/v2/models/late", None),
        ("/v2/models//infer", None),
        ("/v2/models/a/b/infer", None),
        ("/v1/models/late:predict/x", None),
        ("/metrics", None),
    ],
)
def test_paths_are_told_apart(path: str, found: Path | None) -> None:
    """Twice, because the second time it is only looked up."""
    assert parse_path(path) == found
    assert parse_path(path) == found


def test_what_is_remembered_is_bounded() -> None:
    """However many and however long the paths that callers invent."""
    for number in range(paths._KEPT + 100):
        parse_path(f"/v2/models/m{number}/infer")
    parse_path("/v2/models/" + "m" * 10_000 + "/infer")
    assert len(paths._known) <= paths._KEPT
    assert max(map(len, paths._known)) <= paths._LONGEST
