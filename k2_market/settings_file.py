"""A YAML file that a user writes, read such that every refusal names the line.

The text is read as a tree of nodes, not as values: a node knows where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from k2_market.errors import UsageError


class Misconfigured(UsageError):
    """The file says something that cannot be done; the message names the line and the way out."""


@dataclass(frozen=True)
class SettingsFile:
    """A file by the name that messages give it."""

    name: str

    def tree(self, text: str, if_empty: str) -> Node:
        """The nodes of ``text``; ``if_empty`` says what to write. Raises Misconfigured."""
        try:
            tree = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise Misconfigured(
                f"{self.name}, line {line}: this is no YAML: {error.problem}. Correct the line, "
                "or the indentation of those around it."
            ) from None
        except yaml.YAMLError as error:
            raise Misconfigured(f"{self.name}: this is no YAML: {error}.") from None
        if tree is None:
            raise Misconfigured(f"{self.name} is empty. {if_empty}")
        return tree

    def mapping(
        self, node: Node, path: str, keys: tuple[str, ...] | None, if_none: str = ""
    ) -> dict[str, Node]:
        """The entries by key: exactly ``keys``, or any where None. Each key once.

        Where any key will do, ``if_none`` says what to write instead of something else. Raises
        Misconfigured.
        """
        if not isinstance(node, MappingNode):
            expected = allowed(keys) if keys else if_none
            raise self.refusal(node, path, f"{shown(node)} has no entries of its own", expected)
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else shown(key)
            here = f"{path}.{name}" if path else name
            if name in found:
                raise self.refusal(key, here, "stands there twice", "Leave one of them out.")
            if keys is not None and name not in keys:
                raise self.refusal(key, here, "is not known", allowed(keys))
            found[name] = value
        for missing in (k for k in keys or () if k not in found):
            here = f"{path}.{missing}" if path else missing
            raise self.refusal(node, here, "is missing", f"Add `{missing}:` there.")
        return found

    def refusal(self, node: Node, path: str, found: str, expected: str) -> Misconfigured:
        """The error for what stands at ``node``, which is called ``path``."""
        where = f"{self.name}, line {node.start_mark.line + 1}"
        return Misconfigured(f"{where}{', ' + path if path else ''}: {found}. {expected}")


def allowed(names: Mapping[str, object] | Iterable[str]) -> str:
    """The sentence that says which names there are."""
    return f"Allowed: {', '.join(names)}."


def shown(node: Node) -> str:
    """What stands there, for a message."""
    if isinstance(node, ScalarNode):
        return repr(node.value)
    return "a list" if isinstance(node, SequenceNode) else "a group of entries"
