"""Manifests as YAML that every reader takes for the same: PyYAML and those of Kubernetes.

They look as if PyYAML had written them, which to be loaded and to write them takes a twentieth of a synth.
"""

import json
import re
from functools import cache
from typing import Any

from cdk8s_pypiserver.base.manifest import Manifest

_PRINTABLE = re.compile(r"[ -~\n]*")
_ESCAPED = re.compile(r'[^ -~]|["\\]')
_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
# No indicator in front, and nothing that would end it on the way: a colon or a comment.
_PLAIN = re.compile(r"(?!---|\.\.\.|[-?:](?: |$))[^ #,\[\]{}&*!|>'\"%@`](?:(?:[^ :]|:(?! |$)| (?!#))*[^ :])?")
# What YAML 1.1 (https://yaml.org/type/), JSON or YAML 1.2 takes for a boolean, nothing, a number or a date.
_NO_TEXT = re.compile(
    r"""
    (?: y|yes|n|no|true|false|on|off|null | Y|Yes|N|No|True|False|On|Off|Null | YES|NO|TRUE|FALSE|ON|OFF|NULL | ~|=|<< )
    | [-+]? (?: 0b[01_]+ | 0[oO]?[0-7_]+ | 0x[0-9a-fA-F_]+ | \d[\d_]* (?: :[0-5]?\d )+ (?: \.[\d_]* )? )
    | [-+]? (?: \d[\d_]* )? \.? [\d_]* (?: [eE][-+]?\d+ )?
    | [-+]? \.(?: inf|Inf|INF ) | \.(?: nan|NaN|NAN )
    | \d{4}-\d\d?-\d\d? (?: (?: [Tt]|[ ]+ ) \d\d?:\d\d:\d\d (?: \.\d* )? (?: [ ]* (?: Z|[-+]\d\d? (?: :\d\d )? ) )? )?
    """,
    re.VERBOSE,
)


def to_yaml(document: Manifest) -> str:
    """Return the document as YAML, fields in their order; the names of fields may have 1000 characters at most."""
    return f"{_block(document, '')}\n"


def _block(value: Any, indent: str) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return the lines of a mapping or a list, or the only one of anything else, the first without its indent."""
    if isinstance(value, dict) and value:
        return f"\n{indent}".join([f"{_line(key)}:{_after_key(item, indent)}" for key, item in value.items()])
    if isinstance(value, list) and value:
        return f"\n{indent}".join([f"- {_block(item, indent + '  ')}" for item in value])
    return _scalar(value, indent)


def _after_key(value: Any, indent: str) -> str:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict) and value:
        return f"\n{indent}  {_block(value, indent + '  ')}"
    if isinstance(value, list) and value:
        return f"\n{indent}{_block(value, indent)}"
    return f" {_scalar(value, indent + '  ')}"


def _scalar(value: Any, indent: str) -> str:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(value, str):
        text = json.dumps(value, allow_nan=False)
        # YAML 1.1 knows no exponent without a dot.
        return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text
    if "\n" not in value or value[0] in " \n" or value[-1] == " " or " \n" in value or not _PRINTABLE.fullmatch(value):
        return _line(value)
    # Of the line ends in the end, YAML keeps one, none or all.
    kept = "-" if value[-1] != "\n" else "+" if value[-2] == "\n" else ""
    lines = "\n".join(f"{indent}{line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    return f"|{kept}\n{lines}"


@cache
def _line(value: str) -> str:
    """Return a text on one line, in quotes where a reader would not take it for a text else."""
    if "\n" in value or not _PRINTABLE.fullmatch(value):
        return f'"{_ESCAPED.sub(_escape, value)}"'
    if _PLAIN.fullmatch(value) and not _NO_TEXT.fullmatch(value):
        return value
    return "'{}'".format(value.replace("'", "''"))


def _escape(found: re.Match[str]) -> str:
    letter, code = found[0], ord(found[0])
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"  # noqa: PLR2004
