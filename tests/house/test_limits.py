"""Limits are one file that everybody adds to: a name that is given twice would change the first one's meaning."""

import ast
from collections import Counter
from pathlib import Path

LIMITS = Path(__file__).parents[2] / "app" / "kit" / "limits.py"


def test_no_limit_is_given_twice() -> None:
    assigned = [node for node in ast.parse(LIMITS.read_text()).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [
        target for node in assigned for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    names = Counter(target.id for target in targets if isinstance(target, ast.Name))
    assert len(names) > 50
    assert [name for name, count in names.items() if count > 1] == []
