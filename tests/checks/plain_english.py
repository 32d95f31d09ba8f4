"""Checks that comments, docstrings, messages, names of tests and documents are written in plain technical English (CONTRIBUTING.md).

Usage: python -m tests.checks.plain_english [--list] [PATH ...]

It fails on each word of `BANNED`, and when `BANNED` and `RARE` words exceed `RARE_MAX_PER_1000`. `--list` also prints the rare ones.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

BANNED = re.compile(
    r"\b(who(?:m)?ever|whatever|nobody|somebody|everybody|lets? go|letting go|(?:is|are|was|were) told|what (?:would|is) (?:be )?missed"
    r"|says|doors?|houses?|keeps? (?:the )?books|patience|patient|lives|forgiv\w+|meddl\w+|errands?|knobs?"
    r"|at the word of|takes? the word|own words)\b",
    re.IGNORECASE,
)
"""Indefinite actors and figures of speech. Name the actor (caller, client, owner, worker) and use the standard term."""
RARE = re.compile(r"\b(asks?|asked|asking)\b", re.IGNORECASE)
"""Allowed where a person is asked a question; otherwise: request, call, query, read."""
RARE_MAX_PER_1000 = 0.5

SUFFIXES = (".py", ".md", ".html", ".js", ".ts", ".tsx", ".css", ".toml", ".yml", ".yaml")
EXCEPTIONS = {
    "tests/checks/plain_english.py": "holds the list",
    "lambda_app/core/security/common_passwords.txt": "data",
}
MESSAGE_WORDS_MIN = 3
"""A string literal of at least so many words is a message."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A word at a place."""

    path: str
    line: int
    word: str
    text: str


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of text that people read, with their line numbers."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) >= MESSAGE_WORDS_MIN:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name.replace("_", " ")


def findings_in(path: Path, pattern: re.Pattern[str], root: Path = ROOT) -> list[Finding]:
    """Return each place where the pattern matches."""
    name = path.relative_to(root).as_posix()
    return [Finding(name, line, match.group(0), text.strip()) for line, text in texts_of(path) for match in pattern.finditer(text)]


def tracked_files() -> list[Path]:
    """Return the text files that git tracks."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=ROOT, text=True)
    paths = [ROOT / name for name in listed.split("\0") if name.endswith(SUFFIXES) and name not in EXCEPTIONS]
    return [path for path in paths if path.is_file()]


def main(arguments: list[str]) -> int:
    """Print the findings and return the exit status."""
    is_listing = "--list" in arguments
    given = [Path(name).resolve() for name in arguments if name != "--list"]
    paths = [path for path in tracked_files() if not given or any(path == one or one in path.parents for one in given)]
    banned = [finding for path in paths for finding in findings_in(path, BANNED)]
    rare = [finding for path in paths for finding in findings_in(path, RARE)]
    words = sum(len(re.findall(r"[A-Za-z']+", text)) for path in paths for _, text in texts_of(path))
    for finding in [*banned, *(rare if is_listing else [])]:
        print(f"{finding.path}:{finding.line}: {finding.word!r} in: {finding.text[:120]}")
    rate = 1000 * (len(banned) + len(rare)) / max(1, words)
    print(f"{words} words, {len(banned)} banned, {len(rare)} rare, {rate:.2f} per 1,000 words")
    return 1 if banned or rate > RARE_MAX_PER_1000 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
