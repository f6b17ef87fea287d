"""States of a worktree that cannot be saved whole: it is kept as it is, and the reason told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.worktrees import snapshot
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import RemovalResult, Workspace
from tests.integration.worktrees.conftest import Place, photograph
from tests.integration.worktrees.states import UNSAVABLE


@pytest.mark.parametrize(("reason", "script"), UNSAVABLE)
@pytest.mark.parametrize("end", [WorktreeManager.retire, WorktreeManager.undo])
def test_work_is_kept_and_the_reason_told(
    workspaces: WorktreeManager,
    workspace: Workspace,
    place: Place,
    reason: str,
    script: str,
    end: Callable[[WorktreeManager, Workspace], RemovalResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "MOST_FILES", 500)  # in place of twenty thousand, which take their time to write
    place.leave(workspace.directory, script)
    before, index = photograph(place.base), (place.repository / ".git/worktrees/spec_1/index").read_bytes()
    removal = end(workspaces, workspace)
    assert not removal.removed
    assert not removal.branch_deleted
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(removal.kept_reason)
    assert str(workspace.worktree) in (removal.kept_reason or "")
    assert (place.repository / ".git/worktrees/spec_1/index").read_bytes() == index
    assert {path for path in photograph(place.base) if b"/objects/" not in path} == {
        path for path in before if b"/objects/" not in path
    }
    assert place.saved() == set()
