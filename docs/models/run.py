#!/usr/bin/env python3
"""Runs the symbolic models of SPA/2, and tells whether they say what is claimed.

run.py            runs every model, writes FAMILY.txt and spa2.txt anew; the tools are $PROVERIF
                  and $VERIFPAL, or in the PATH
run.py --check    runs nothing: are the stored outputs those of these models, and as expected?
run.py --write D  writes every model to the folder D, to be read
run.py FAMILY     runs the models of one family
"""

import concurrent.futures
import hashlib
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).parent
FAMILIES = ["core", "confirm", "newkeys", "unlink", "replay"]
VERDICTS = [("is true.", "proved"), ("is false.", "attack"), ("cannot be proved.", "unknown")]


def digest(scenario):
    return hashlib.sha256(scenario.source.encode()).hexdigest()


def verdicts(output):
    """One word a query, in order, from the summary at the end of ProVerif's output."""
    results = re.findall(r"^(?: - )?(?:Query|Observational) .*$", output, re.MULTILINE)
    ends = [[word for end, word in VERDICTS if line.endswith(end)] for line in results]
    return [words[0] for words in ends if words]


def run(program, scenario):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.pv"
        path.write_text(scenario.source)
        done = subprocess.run([program, path], capture_output=True, text=True, timeout=1800)
    _, _, summary = done.stdout.partition("Verification summary:")
    found = verdicts(summary)
    if len(found) != len(scenario.expected):
        raise SystemExit(f"{scenario.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found


def entry(scenario, found):
    lines = [f"model:  {scenario.name}", f"sha256: {digest(scenario)}"]
    return lines + [f"{word:8}{label}" for label, word in zip(scenario.expected, found)] + [""]


VERIFPAL_SAYS = [
    "PASS confidentiality? svc",
    "PASS confidentiality? answer",
    "FAIL authentication? Client -> Server: sealed",  # A duplicate: it has no used ids.
    "PASS authentication? Server -> Client: ack",
]


def verifpal_lines(version, found):
    digest = hashlib.sha256((HERE / "spa2.vp").read_bytes()).hexdigest()
    return [f"tool:   Verifpal {version}", "", "model:  spa2.vp", f"sha256: {digest}", *found]


def run_verifpal(program):
    """Runs the one model of Verifpal; tells whether it says what is expected."""
    done = subprocess.run([program, "verify", HERE / "spa2.vp"], capture_output=True, text=True)
    version = re.search(r"Verifpal (\d+\.\d+\.\d+)", done.stdout)[1]
    _, _, report = done.stdout.partition("completed for")
    found = re.findall(r"^ +(PASS|FAIL) [+x] ([^[\n]*\?[^[\n]*)", report, re.MULTILINE)
    found = [f"{word} {query.strip()}" for word, query in found]
    (HERE / "spa2.txt").write_text("\n".join(verifpal_lines(version, found)) + "\n")
    print("\n".join(f"spa2.vp: {line}" for line in found), flush=True)
    return found == VERIFPAL_SAYS


def check_verifpal():
    lines = (HERE / "spa2.txt").read_text().splitlines()
    version = lines[0].split()[-1]
    if lines != verifpal_lines(version, VERIFPAL_SAYS):
        yield "spa2.txt is not the output of spa2.vp: run docs/models/run.py spa2"


def check(family, scenarios):
    """What is wrong with the stored output, as lines."""
    lines = (HERE / f"{family}.txt").read_text().splitlines()
    made = [entry(scenario, scenario.expected.values()) for scenario in scenarios]
    if not re.fullmatch(r"tool:   ProVerif \d+\.\d+", lines[0]):
        yield f"{family}.txt names no tool"
    if lines[2:] + [""] != sum(made, []):
        yield f"{family}.txt is not the output of these models: run docs/models/run.py {family}"


def main():
    arguments = sys.argv[1:]
    chosen = [name for name in [*FAMILIES, "spa2"] if name in arguments] or [*FAMILIES, "spa2"]
    verifpal = "spa2" in chosen
    chosen = [name for name in chosen if name in FAMILIES]
    families = {name: importlib.import_module(name).SCENARIOS for name in chosen}
    if arguments[:1] == ["--check"]:
        wrong = [line for name, found in families.items() for line in check(name, found)]
        wrong += check_verifpal()
        print("\n".join(wrong) or f"{1 + sum(map(len, families.values()))} models, as stored")
        sys.exit(bool(wrong))
    if arguments[:1] == ["--write"]:
        folder = pathlib.Path(arguments[1])
        folder.mkdir(parents=True, exist_ok=True)
        for name, found in families.items():
            for number, scenario in enumerate(found):
                text = f"(* {scenario.name} *)\n{scenario.source}"
                (folder / f"{name}-{number:02}.pv").write_text(text)
        return
    unexpected = 0
    if verifpal and (program := os.environ.get("VERIFPAL") or shutil.which("verifpal")):
        unexpected += not run_verifpal(program)
    elif verifpal:
        print("spa2.vp: NOT RUN, no Verifpal here (see docs/models/README.md)", flush=True)
    program = os.environ.get("PROVERIF") or shutil.which("proverif")
    if chosen and not program:
        print(f"{', '.join(chosen)}: NOT RUN, no ProVerif here (see docs/models/README.md)")
    if not chosen or not program:
        sys.exit(unexpected != 0)
    help_text = subprocess.run([program, "-help"], capture_output=True, text=True).stdout
    version = re.search(r"Proverif (\d+\.\d+)", help_text)[1]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, scenarios in families.items():
            lines = [f"tool:   ProVerif {version}", ""]
            for scenario, found in zip(scenarios, pool.map(lambda s: run(program, s), scenarios)):
                lines += entry(scenario, found)
                good = found == list(scenario.expected.values())
                unexpected += not good
                told = "as expected" if good else f"UNEXPECTED, not {scenario.expected}"
                print(f"{name}: {scenario.name}: {', '.join(found)}: {told}", flush=True)
            (HERE / f"{name}.txt").write_text("\n".join(lines))
    sys.exit(unexpected != 0)


if __name__ == "__main__":
    main()
