"""`completion`: scripts for shells, made from the parser."""

import argparse
import sys
from typing import Any

from we_upload.cli.parser import build_parser

_BASH = """\
# we-upload completion for bash. Load it with: source <(we-upload completion bash)
_we_upload() {{
    local word=${{COMP_WORDS[COMP_CWORD]}}
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    if [[ $word == -* ]]; then
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
        return
    fi
    case ${{COMP_WORDS[1]}} in
        completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$word")) ;;
        *) compopt -o default ;;
    esac
}}
complete -F _we_upload we-upload
"""
_ZSH = """\
#compdef we-upload
# we-upload completion for zsh. Load it with: source <(we-upload completion zsh)
_we_upload() {{
    local -a commands
    commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    case $words[2] in
{cases}
    esac
}}
compdef _we_upload we-upload
"""


def completion(options: Any) -> None:
    """Print the script for a shell."""
    commands = _commands()
    sys.stdout.write({"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell](commands))


def _commands() -> dict[str, tuple[str, list[argparse.Action]]]:
    """Return help and options of each command."""
    parser = build_parser()
    # argparse has no public way to read what a parser has.
    [group] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 - see above
    summaries = {choice.dest: choice.help or "" for choice in group._choices_actions}  # noqa: SLF001 - see above
    options = {name: [action for action in command._actions if action.option_strings] for name, command in group.choices.items()}  # noqa: SLF001 - see above
    return {name: (summaries[name], actions) for name, actions in options.items()}


def _flags(actions: list[argparse.Action]) -> list[str]:
    return [flag for action in actions for flag in action.option_strings]


def _bash(commands: dict[str, tuple[str, list[argparse.Action]]]) -> str:
    cases = "\n".join(
        f'            {name}) COMPREPLY=($(compgen -W "{" ".join(_flags(actions))}" -- "$word")) ;;'
        for name, (_, actions) in commands.items()
    )
    return _BASH.format(commands=" ".join(commands), cases=cases)


def _zsh(commands: dict[str, tuple[str, list[argparse.Action]]]) -> str:
    def quoted(text: str) -> str:
        return text.replace("'", "").replace("[", "(").replace("]", ")").replace(":", " -")

    described = "\n".join(f"        '{name}:{quoted(summary)}'" for name, (summary, _) in commands.items())
    cases = []
    for name, (_, actions) in commands.items():
        arguments = " ".join(
            f"'{flag}[{quoted(action.help or '')}]{'' if action.nargs == 0 else ':value:_files'}'"
            for action in actions
            for flag in action.option_strings
        )
        rest = "'*:shell:(bash zsh fish)'" if name == "completion" else "'*:file:_files'"
        cases.append(f"        {name}) _arguments {arguments} {rest} ;;")
    return _ZSH.format(commands=described, cases="\n".join(cases))


def _fish(commands: dict[str, tuple[str, list[argparse.Action]]]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    lines = ["# we-upload completion for fish. Load it with: we-upload completion fish | source"]
    lines += [
        f"complete -c we-upload -n __fish_use_subcommand -f -a {name} -d {quoted(summary)}" for name, (summary, _) in commands.items()
    ]
    for name, (_, actions) in commands.items():
        for action in actions:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in action.option_strings)
            needs = "" if action.nargs == 0 else " -r"
            lines.append(f"complete -c we-upload -n '__fish_seen_subcommand_from {name}' {flags}{needs} -d {quoted(action.help or '')}")
    lines.append("complete -c we-upload -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'")
    return "\n".join(lines) + "\n"
