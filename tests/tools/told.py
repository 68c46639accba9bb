"""The faults that the sources can tell, as they stand there: read from their syntax, nothing is run.

What is put into a text is a hole, `{}`. A text is cut into its clauses where `agent/faults_zh.py` cuts it.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.faults_zh import said

FAULTS = {"ValueError", "TypeError", "ConfigFault", "WorldFault", "LineLost", "NoReply", "BadReply", "Refused", "Stop"}
ADDS = ("told.add", "told.lines.append", "self.put", "self.rename", "self.said.append", "self._refused", "refuse")
LISTS = {  # functions whose lists are faults
    "__post_init__", "faults", "fault", "infinite", "faults_of", "worst_scan", "compared", "_rivals", "_decoded",
    "_punctuated",
}  # fmt: skip
HINTS = {"nearest", "_choices"}  # functions that give the end of a text


def clauses(path: Path) -> dict[str, str]:
    """Every clause of a module that may be told, and the function where it stands."""
    tree = ast.parse(path.read_text("utf-8"))
    found: dict[str, str] = {}
    for name, function in _functions(tree, ""):
        names = _names(tree.body) | _names(ast.walk(function))
        for expression in _told(function):
            for text in _texts(expression, names):
                for clause in cut(text):
                    found.setdefault(clause, name)
    return found


def cut(text: str) -> list[str]:
    """The clauses that have words of their own, as templates have them.

    >>> cut("{}: no channel is called `{}`"), cut("{}; {}: `{}` is missing"), cut("url {}: write it")
    (['no channel is called `{}`'], ['`{}` is missing'], ['url {}', 'write it'])
    """
    parts = re.split(r": (?=(?:[^`]*`[^`]*`)*[^`]*$)", text)
    return [part for part in parts if re.search("[A-Za-z]{2}", re.sub(r"`\{\}`", "", part))]


def _functions(node: ast.AST, above: str) -> Iterator[tuple[str, ast.AST]]:
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.ClassDef):
            yield from _functions(one, f"{above}{one.name}.")
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{above}{one.name}", one


def _told(function: ast.AST) -> Iterator[ast.expr]:
    """What is told: raised, added, or in a list of faults."""
    lists = getattr(function, "name", "") in LISTS
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in FAULTS or called.endswith(ADDS):
                for given in node.args[-1:] if called.endswith(ADDS) else node.args:
                    yield from given.elts if isinstance(given, ast.List) else [given]
            elif lists and called.endswith(".append"):
                yield node.args[0]
        elif isinstance(node, ast.List) and lists:
            yield from node.elts
        elif isinstance(node, ast.ListComp) and lists:
            yield node.elt
        elif isinstance(node, ast.Return) and lists and isinstance(node.value, ast.JoinedStr | ast.IfExp):
            yield node.value


def _names(nodes: Iterable[ast.AST]) -> dict[str, list[ast.expr]]:
    """What each name is set to."""
    names: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                pairs = zip(target.elts, node.value.elts, strict=False) if both else [(target, node.value)]
                for one, value in pairs:
                    if isinstance(one, ast.Name):
                        names.setdefault(one.id, []).append(value)
        elif isinstance(node, ast.NamedExpr):
            names.setdefault(node.target.id, []).append(node.value)
    return names


def _texts(node: ast.AST, names: dict[str, list[ast.expr]]) -> list[str]:
    """What an expression may say; a hole for what is known only when it runs."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else ["{}"]
    if isinstance(node, ast.JoinedStr):
        parts = [_texts(part, names) for part in node.values]
        return ["".join(one) for one in itertools.product(*parts)]
    if isinstance(node, ast.FormattedValue):
        return ["{}"] if node.format_spec else _texts(node.value, names)
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, names), *_texts(node.orelse, names)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        both = [a + b for a in _texts(node.left, names) for b in _texts(node.right, names)]
        return [text if re.search("[a-z]", text) else "{}" for text in both]
    if isinstance(node, ast.Name) and node.id in names:
        rest = {name: values for name, values in names.items() if name != node.id}
        before = [value for value in names[node.id] if value.lineno <= node.lineno]
        return list(dict.fromkeys(text for value in before[-1:] for text in _texts(value, rest))) or ["{}"]
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in HINTS:
        return [""]
    return ["{}"]


NAMES = r"`[^`]*`|(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|(?:[\w.~-]*/)+[\w.*~-]*"  # in quotes, and paths
SENTENCE = re.compile(r"\b[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}\b")  # three words in a row
FACTS = re.compile(r"`[^`]+`|\d[\d.]*|^\S+?:\d+(?=: )")  # names, numbers, the place


def untold(line: str) -> str:
    """What is wrong with a fault in Chinese: an English sentence is left, or a fact is lost. Empty if nothing.

    >>> untold("site.toml:3: rule `a`: no channel is called `b`"), untold("this has no text in Chinese")
    ('', 'this has no text in Chinese')
    """
    says = said(line)
    lost = Counter(FACTS.findall(line)) - Counter(FACTS.findall(says))
    return says if SENTENCE.search(re.sub(NAMES, "|", says)) or lost else ""
