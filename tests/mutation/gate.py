"""Takes each check of the gate, and of presence, away, one at a time, and wants a test to notice.

    python -m tests.mutation.gate [--only TEXT]

A mutant is the source with one ``raise`` that refuses turned into nothing, or one condition
negated. It is written over the module in a copy of the checkout, where the focused tests then run.
Exit code 1 and a list if any mutant survives. Not part of the suite: it takes some minutes.
"""

import argparse
import ast
import copy
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
IGNORED = shutil.ignore_patterns(".git", ".venv", "node_modules", "var", "__pycache__", ".*_cache")
TIMEOUT_S = 180
REFUSAL = re.compile(r"[Rr]efused|Invalid|Expired|Blocked|Reused")

REALTIME = [
    "tests/realtime/secured",
    *(
        f"tests/realtime/test_{name}.py"
        for name in (
            "seating", "guard", "hub", "tenure", "kicks", "roster", "admission", "ownactions",
            "attendance",
        )
    ),
]  # fmt: skip
AGENTS = "tests/realtime/agents"
TARGETS: dict[str, list[str]] = {
    "security/gate.py": ["tests/security/gate"],
    "security/tokens.py": ["tests/security/test_tokens.py"],
    "security/sessions.py": ["tests/security/sessions", "tests/security/test_blocks.py"],
    "realtime/secured.py": REALTIME,
    "realtime/enveloped.py": [AGENTS, "tests/engine/namespace"],
    "realtime/agents/namespace.py": [AGENTS],
    "realtime/agents/hints.py": [AGENTS],
    "realtime/seating.py": REALTIME,
    "realtime/guard.py": REALTIME,
    "realtime/tenure.py": REALTIME,
    "realtime/roster.py": REALTIME,
    "realtime/ownactions.py": REALTIME,
    "realtime/admission.py": REALTIME,
    "realtime/presence.py": ["tests/realtime/test_presence.py"],
    "realtime/replicas.py": ["tests/realtime/test_replicas.py"],
    "realtime/crowd.py": ["tests/realtime/test_crowd.py"],
    "realtime/processes.py": ["tests/realtime/test_processes.py"],
    "realtime/attendance.py": REALTIME,
}


@dataclass(frozen=True)
class Mutant:
    """A module without one of its checks."""

    path: str
    line: int
    what: str
    source: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.what}"


def mutants(path: str) -> Iterator[Mutant]:
    """One for each refusal that is dropped, and one for each condition that is negated."""
    tree = ast.parse((CHECKOUT / path).read_text("utf-8"))
    for index, node in enumerate(ast.walk(tree)):
        for what, change in CHANGES:
            if change(copy.deepcopy(node)) is not None:
                changed = copy.deepcopy(tree)
                replace(changed, index, change)
                source = ast.unparse(ast.fix_missing_locations(changed))
                yield Mutant(path, getattr(node, "lineno", 0), what, source)


def replace(tree: ast.AST, index: int, change: "Change") -> None:
    """Change the node that ``ast.walk`` comes to at that place."""
    wanted = list(ast.walk(tree))[index]
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is wanted:
                setattr(parent, name, change(wanted))
            elif isinstance(value, list) and any(each is wanted for each in value):
                value[[each is wanted for each in value].index(True)] = change(wanted)


class Change:
    """What is done to a node; None for one that it does not concern."""

    def __call__(self, node: ast.AST) -> ast.AST | None:
        raise NotImplementedError


class WithoutRefusal(Change):
    """``raise Refused(...)`` becomes ``pass``: the check is made and nothing follows."""

    def __call__(self, node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
            return None
        return ast.Pass() if REFUSAL.search(ast.unparse(node.exc.func)) else None


class Negated(Change):
    """``if a:`` becomes ``if not a:``."""

    def __call__(self, node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.If | ast.IfExp) or "TYPE_CHECKING" in ast.unparse(node.test):
            return None
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return node


class Widened(Change):
    """``a <= b`` becomes ``a < b`` and the like: the edge moves by one."""

    EDGES: dict[type[ast.cmpop], type[ast.cmpop]] = {  # noqa: RUF012 - a constant table
        ast.Lt: ast.LtE,
        ast.LtE: ast.Lt,
        ast.Gt: ast.GtE,
        ast.GtE: ast.Gt,
    }

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.Compare) or self.at >= len(node.ops):
            return None
        other = self.EDGES.get(type(node.ops[self.at]))
        if other is None:
            return None
        node.ops[self.at] = other()
        return node


class Shortened(Change):
    """``a and b`` becomes ``a``, or ``b``: one of two conditions is not asked."""

    def __init__(self, kept: int) -> None:
        self.kept = kept

    def __call__(self, node: ast.AST) -> ast.AST | None:
        if not isinstance(node, ast.BoolOp) or len(node.values) <= self.kept:
            return None
        return node.values[self.kept]


CHANGES: list[tuple[str, Change]] = [
    ("refusal dropped", WithoutRefusal()),
    ("condition negated", Negated()),
    ("edge moved", Widened(0)),
    ("second edge moved", Widened(1)),
    ("only the first condition", Shortened(0)),
    ("only the second condition", Shortened(1)),
]


class Copy:
    """A copy of the checkout, in which one module at a time is spoiled."""

    def __init__(self, where: Path) -> None:
        self.where = where / "checkout"
        shutil.copytree(CHECKOUT, self.where, ignore=IGNORED)

    def passes(self, path: str, source: str) -> bool:
        """Whether the focused tests pass with that source in place of the module's."""
        file = self.where / path
        genuine = file.read_text("utf-8")
        file.write_text(source, "utf-8")
        try:
            return self._run(TARGETS[path])
        finally:
            file.write_text(genuine, "utf-8")

    def _run(self, tests: list[str]) -> bool:
        command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*command, *tests],
                cwd=self.where,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False  # a mutant that hangs is noticed as well
        return done.returncode == 0


def survivors(only: str) -> list[Mutant]:
    """The mutants that no test notices."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        checkout = Copy(Path(folder))
        for path in TARGETS:
            genuine = (CHECKOUT / path).read_text("utf-8")
            if only in path and not checkout.passes(path, genuine):
                sys.exit(f"the tests of {path} fail as they are")
            for mutant in mutants(path) if only in path else ():
                lives = checkout.passes(path, mutant.source)
                print("SURVIVED" if lives else "died    ", mutant, flush=True)  # noqa: T201 - a command
                found += [mutant] if lives else []
    return found


def main() -> int:
    """Run every mutant of the modules whose path contains ``--only``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a module's path")
    alive = survivors(parser.parse_args().only)
    print(f"{len(alive)} mutants survived")  # noqa: T201 - a command
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
