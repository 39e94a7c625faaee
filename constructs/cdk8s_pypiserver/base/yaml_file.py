"""YAML files of specs, which remember the line of each value and take no key twice."""

from pathlib import Path
from typing import Any

import yaml

from .problems import NO_VALUE, Problem, SpecError
from .problems import Path as ValuePath

_MERGE = "tag:yaml.org,2002:merge"
_MOST_VALUES = 100_000
"""Values that a file may hold once its aliases are written out; a few lines of them can stand for billions."""


class YamlFile:
    """A file of YAML.

    Attributes:
        value: What is in it.
        repeated: A problem for each key that is there twice.
    """

    def __init__(self, path: Path, subject: str) -> None:
        """Read the file.

        Args:
            path: The file.
            subject: What is to be made of it, for the error.

        Raises:
            SpecError: it is not YAML; names the line.
            OSError: it cannot be read.
        """
        self._path, self._subject = path, subject
        self._sizes: dict[int, int | None] = {}
        self.repeated: list[Problem] = []
        self.value: Any = None
        try:
            self._loader = yaml.SafeLoader(path.read_bytes())
            self._root = self._loader.get_single_node()
            if self._root is None:
                return
            if self._size(self._root, ()) > _MOST_VALUES:
                raise self._error(1, f"stands for more than {_MOST_VALUES} values once its aliases are written out")
            self.value = self._loader.construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark.line + 1 if mark else 1, f"is not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise self._error(1, f"is not YAML: {' '.join(str(error).split())}") from None
        except RecursionError:
            raise self._error(1, "is nested too deeply") from None

    def line_of(self, path: ValuePath) -> int:
        """Return the line of a value, or of what should hold it."""
        node, line = self._root, 1
        for part in path:
            found = self._child(node, part)
            if found is None:
                break
            node, line = found
        return line

    def _error(self, line: int, reason: str) -> SpecError:
        return SpecError(self._subject, [Problem((), NO_VALUE, reason, str(self._path), line)])

    def _size(self, node: yaml.Node, path: ValuePath) -> int:
        """Return how many values a node stands for; notes keys that are there twice on the way."""
        known = self._sizes.get(id(node), 0)
        if known is None:
            raise self._error(node.start_mark.line + 1, "holds itself through an alias")
        if known:
            return known
        self._sizes[id(node)] = None
        size = 1
        if isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                self._size(key, path)
                name, line = str(key.value), key.start_mark.line + 1
                if (key.tag, name) in lines and key.tag != _MERGE:
                    reason = f"is there twice, in lines {lines[key.tag, name]} and {line}"
                    self.repeated.append(Problem((*path, name), NO_VALUE, reason, line=line))
                lines[key.tag, name] = line
                size += self._size(value, (*path, name))
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self._size(value, (*path, index)) for index, value in enumerate(node.value))
        elif node.tag != _MERGE:
            self._check(node)
        self._sizes[id(node)] = size
        return size

    def _check(self, node: yaml.Node) -> None:
        try:
            self._loader.construct_object(node)
        except (ValueError, OverflowError):
            reason = f"looks like a number or a date and is none; put it in quotes if it is text: {node.value[:50]}"
            raise self._error(node.start_mark.line + 1, reason) from None

    def _child(self, node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, int] | None:
        """Return the node below this one with its line: that of its key, or of its own beginning in a list."""
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            return node.value[part], node.value[part].start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            # The last one counts, as for the value; what is merged in has been put in front by the constructor.
            for key, value in reversed(node.value):
                if str(self._loader.construct_object(key)) == part:
                    return value, key.start_mark.line + 1
        return None
