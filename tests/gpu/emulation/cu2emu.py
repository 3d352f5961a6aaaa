"""Rewrites what a host C++ compiler cannot parse of CUDA C++: shared memory and launches. All else is in the headers
beside this file, and what is left over here is a compile error there."""

from __future__ import annotations

import re

ALIGNMENT = r"(?:(?:__align__\(\d+\)|alignas\(\d+\))\s+)?"
DYNAMIC_SHARED = re.compile(
    rf"extern\s+__shared__\s+{ALIGNMENT}(?P<type>[\w:]+(?:\s+[\w:]+)?)\s+(?P<name>\w+)\s*\[\s*\]\s*;"
)
STATIC_SHARED = re.compile(
    rf"(?<!\w)__shared__\s+{ALIGNMENT}(?P<type>[\w:]+(?:<[^;]*?>)?)\s+(?P<name>\w+)(?P<sizes>(?:\s*\[[^\]]*\])*)\s*;"
)
LAUNCH = re.compile(r"(?P<kernel>\w+(?:<[^<>;]*>)?)\s*<<<(?P<configuration>.*?)>>>\s*\(", re.DOTALL)

# The lambda makes the type of every declaration another one, and with it the memory.
SHARED_REFERENCE = (
    r"using \g<name>_shared_t = \g<type> \g<sizes>; "
    r"\g<name>_shared_t& \g<name> = emu::shared<\g<name>_shared_t>([]{});"
)


def rewrite(text: str, path: str) -> str:
    """CUDA C++ as C++ for the emulation's headers, with the line numbers of `path`."""
    text = DYNAMIC_SHARED.sub(r"\g<type>* \g<name> = (\g<type>*)emu::dynamic_shared();", text)
    text = STATIC_SHARED.sub(SHARED_REFERENCE, text)
    text = LAUNCH.sub(r"emu_launcher(\g<kernel>, \g<configuration>)(", text)
    return f'#line 1 "{path}"\n{text}'
