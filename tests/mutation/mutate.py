"""Mutation test of the room src/state: one small wrong change of its source at a time, and whether its tests see it.

usage: mutate.py [--build build/dev] [--count 60] [--seed 1] [--only FILE] [--list] [--report FILE]

A mutant is one operator swapped, one comparison off by one, one condition negated or switched off, one call removed, or one constant changed. Only the
changed source is compiled; its object stands before the library on the link line of rapt_state_test, which therefore uses it. The quick tests run first,
the others where those pass. Printed at the end: the score, and each survivor. Survivors that equivalent.txt explains are counted apart: no test can kill
them. Build rapt_state_test of the build directory before. --count 0 takes every mutant; the sample of a seed is always the same.
"""

import argparse
import json
import os
import pathlib
import random
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "rapt_state_test"
QUICK_SECONDS = 0.2  # a test that takes no longer is run first
MEMORY = 12 << 30

SWAPS = [
    (r"<=", "<"), (r">=", ">"), (r"(?<= )<(?= )", "<="), (r"(?<= )>(?= )", ">="), (r"==", "!="), (r"!=", "=="), (r"&&", "||"), (r"\|\|", "&&"),
    (r"(?<= )\+(?= )", "-"), (r"(?<= )-(?= )", "+"), (r"(?<= )\*(?= )", "/"), (r"(?<= )/(?= )", "*"), (r"(?<= )%(?= )", "/"), (r"\+=", "-="),
    (r"\|=", "="), (r"(?<= )\|(?= )", "&"), (r"(?<= )&(?= )", "|"), (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"\+\+(?=\w)", "--"),
    (r"<<", ">>"), (r">>", "<<"),
]
CONSTANT = re.compile(r"(?<![\w.'])(\d[\d']*|0x[0-9a-fA-F]+)(?=u?\b)(?![\w.]*\.)")
CALL = re.compile(r"^[ \t]*(?!return\b|throw\b|if\b|for\b|while\b|switch\b|else\b|static_assert\b|raise\b|refuse\b|fail\b|const\b|case\b)"
                  r"(?:[\w:]+(?:\.|->))*[\w:]+\([^;{}]*\);[ \t]*$|^[ \t]*[+-]{2}\w+;[ \t]*$", re.MULTILINE)


def masked(text):
    """The text with comments, literals, preprocessor lines and template heads as spaces, character for character."""
    pattern = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9])'(?:\\.|[^'\\\n])'|^[ \t]*#[^\n]*|^template[^\n]*", re.DOTALL | re.MULTILINE)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def closing(text, start):
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    return -1


class Mutant:
    def __init__(self, file, text, begin, end, new):
        self.file, self.source = file, text[:begin] + new + text[end:]
        first = text.rfind("\n", 0, begin) + 1
        last = text.find("\n", end)
        self.line = text.count("\n", 0, begin) + 1
        self.old_line = " ".join(text[first:last].split())
        self.new_line = " ".join((text[first:begin] + new + text[end:last]).split())

    def key(self):
        return f"{self.file.name}: {self.old_line} => {self.new_line}"


def mutants_of(file):
    text = file.read_text()
    code = masked(text)
    found = []

    def add(begin, end, new):
        found.append(Mutant(file, text, begin, end, new))

    for pattern, new in SWAPS:
        for m in re.finditer(pattern, code):
            line = text[text.rfind("\n", 0, m.start()) + 1:text.find("\n", m.end())]
            if not (m[0] == "+" and ('"' in line or "string(" in line)):  # texts can not be subtracted
                add(m.start(), m.end(), new)
    for m in CONSTANT.finditer(code):
        digits = m[1].replace("'", "")
        value = int(digits, 8 if re.match(r"0\d", digits) else 0)
        add(m.start(), m.end(), str(value + 1))
        if value > 0:
            add(m.start(), m.end(), str(value - 1))
    for m in re.finditer(r"\bif \(", code):
        end = closing(code, m.end() - 1)
        condition = text[m.end():end]
        if ";" not in condition and not re.search(r"[^=!<>]=[^=]", condition):
            add(m.end(), end, f"!({condition})")
            add(m.end(), end, f"({condition}) && false")
    for m in CALL.finditer(code):
        add(m.start(), m.end(), "")
    return found


class Workshop:
    """Compiles, links and runs mutants of one build directory."""

    def __init__(self, build):
        self.build = build.resolve()
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="rapt-mutation-"))
        self.compile = {pathlib.Path(e["file"]).resolve(): shlex.split(e["command"]) for e in json.loads((self.build / "compile_commands.json").read_text())}
        commands = subprocess.run(["ninja", "-C", str(self.build), "-t", "commands", TARGET], capture_output=True, text=True, check=True).stdout
        self.link = next(c for c in reversed(commands.splitlines()) if f"-o tests/{TARGET}" in c)
        self.tests = [("*", None)]  # what to run, one after the other, with limits in seconds

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)

    def make(self, mutant):
        """The path of the test executable with this mutant; None where it does not compile."""
        source, binary = self.scratch / mutant.file.name, self.scratch / TARGET
        source.write_text(mutant.source)
        command = list(self.compile[mutant.file])
        command[command.index("-o") + 1] = str(source.with_suffix(".o"))
        command[command.index("-c") + 1] = str(source)
        # Undefined behaviour shall not be what decides: no optimisation. The library's own warnings are not errors here.
        command = [a for a in command if not re.match(r"-O\d|-g\d?$|-Werror|-W[^l]", a)] + ["-O0", "-w"]
        if subprocess.run(command, cwd=self.build, capture_output=True).returncode != 0:
            return None
        link = self.link.replace(f"-o tests/{TARGET}", f"-o {binary} {source.with_suffix('.o')}", 1)
        if subprocess.run(link, shell=True, cwd=self.build, capture_output=True).returncode != 0:
            return None
        return binary

    def run(self, binary, tests, limit, extra=()):
        place = self.scratch / "run"
        place.mkdir()

        def limits():
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        try:
            ended = subprocess.run([str(binary), f"--gtest_filter={tests}", "--gtest_brief=1", "--gtest_fail_fast", *extra], cwd=place, capture_output=True,
                                   env={**os.environ, "TMPDIR": str(place), "RAPT_KILLS": "10"}, timeout=limit, preexec_fn=limits,
                                   start_new_session=True, errors="replace")
            return ended.returncode == 0, ended.stdout
        except subprocess.TimeoutExpired:
            return False, "too long"
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def measure(self):
        """The unchanged tests must pass; how long each takes sorts them."""
        report = self.scratch / "baseline.json"
        passed, output = self.run(self.build / "tests" / TARGET, "*", None, [f"--gtest_output=json:{report}"])
        if not passed:
            sys.exit(f"the unchanged tests fail:\n{output}")
        times = {f"{s['name']}.{t['name']}": float(t["time"][:-1]) for s in json.loads(report.read_text())["testsuites"] for t in s["testsuite"]}
        quick = [t for t, seconds in times.items() if seconds <= QUICK_SECONDS]
        slow = sorted(times.keys() - set(quick), key=times.get)
        self.tests = [(":".join(names), 20 + 4 * sum(times[t] for t in names)) for names in (quick, slow) if names]

    def is_killed(self, binary):
        return any(not self.run(binary, names, limit)[0] for names, limit in self.tests)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "dev")
    options.add_argument("--count", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only")
    options.add_argument("--list", action="store_true")
    options.add_argument("--report", type=pathlib.Path)
    chosen = options.parse_args()

    everything = [m for f in sorted((ROOT / "src" / "state").glob("*.cpp")) if chosen.only in (None, f.name) for m in mutants_of(f)]
    sample = everything if chosen.count == 0 else random.Random(chosen.seed).sample(everything, min(chosen.count, len(everything)))
    if chosen.list:
        print(*(f"{m.file.name}:{m.line}: {m.old_line}  =>  {m.new_line}" for m in sample), f"{len(sample)} of {len(everything)}", sep="\n")
        return
    known = {}
    for line in (pathlib.Path(__file__).parent / "equivalent.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            mutant, _, reason = line.partition(" ## ")
            known[mutant] = reason

    report = open(chosen.report, "w") if chosen.report else sys.stdout
    workshop = Workshop(chosen.build)
    killed, survivors, equivalent, stillborn = 0, [], [], 0
    try:
        workshop.measure()
        for number, mutant in enumerate(sample, 1):
            binary = workshop.make(mutant)
            if binary is None:
                stillborn, verdict = stillborn + 1, "does not compile"
            elif workshop.is_killed(binary):
                killed, verdict = killed + 1, "killed"
            elif mutant.key() in known:
                equivalent.append(mutant)
                verdict = "equivalent"
            else:
                survivors.append(mutant)
                verdict = "SURVIVED"
            print(f"{number}/{len(sample)} {verdict}: {mutant.file.name}:{mutant.line}: {mutant.old_line}  =>  {mutant.new_line}", file=report, flush=True)
    finally:
        workshop.close()
    judged = killed + len(survivors)
    for mutant in survivors:
        print(f"survivor {mutant.file.name}:{mutant.line}\n{mutant.key()}", file=report)
    print(f"{len(sample)} of {len(everything)} mutants (seed {chosen.seed}): {killed} killed, {len(survivors)} survived, {len(equivalent)} equivalent, "
          f"{stillborn} do not compile; score {100 * killed / max(judged, 1):.1f} %", file=report)
    sys.exit(1 if 10 * killed < 9 * judged else 0)


main()
