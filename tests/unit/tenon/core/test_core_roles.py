"""Roles: three that are always there, and the names of arms."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from tenon.core.roles import ROLES, Role


def test_the_three_roles_are_one_object_each() -> None:
    """However they are spelled into being."""
    assert [Role(name) is role for name, role in zip(("stable", "canary", "shadow"), ROLES, strict=True)] == [True] * 3
    assert Role(Role.SHADOW) is Role.SHADOW
    assert [role.answers for role in ROLES] == [True, True, False]


def test_an_arm_is_a_text_like_any_other() -> None:
    """Equal by name, a key of dicts, and as it was after copying and storing."""
    arm = Role("b-2")
    assert (arm == "b-2", arm.value, arm.is_arm, arm.answers, {"b-2": 1}[arm]) == (True, "b-2", True, True, 1)
    assert type(arm.value) is str
    assert json.dumps([arm]) == '["b-2"]'
    for again in (copy.deepcopy(arm), pickle.loads(pickle.dumps(arm))):
        assert (again, again.value) == (arm, "b-2")


@pytest.mark.parametrize("name", ["", "B", "2b", "a b", "ä", "a" * 11, None, 3, "stable\n"])
def test_what_cannot_be_a_role(name: object) -> None:
    """Odd names are refused: they would become labels of metrics and names of columns."""
    with pytest.raises(ValueError, match="is not a role"):
        Role(name)
