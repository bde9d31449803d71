"""Decides one SMT problem for halmos: `solve.py PROBLEM.smt2` prints what a solver prints.

Two solvers begin at the same time and the first one that knows is heard. Sums of many words cost a solver that thinks in
bits hours; cvc5, told to read words as integers, adds them up at once. What shuffles bits is Yices' business.
"""

import subprocess
import sys
from pathlib import Path

YICES = Path(sys.executable).parent / "yices-smt2"
ANSWERS = ("sat", "unsat")


def think_in_integers(problem: str) -> None:
    """Prints cvc5's answer, and its model where there is one."""
    import cvc5

    solver = cvc5.Solver()
    solver.setOption("solve-bv-as-int", "sum")
    solver.setOption("produce-models", "true")
    parser = cvc5.InputParser(solver)
    parser.setFileInput(cvc5.InputLanguage.SMT_LIB_2_6, problem)
    symbols = parser.getSymbolManager()
    while not (command := parser.nextCommand()).isNull():
        print(command.invoke(solver, symbols), end="", flush=True)


def decide(problem: str) -> str:
    """What the first solver that knows says, or the last one that does not."""
    programs = [
        [str(YICES), "--smt2-model-format", "--bvconst-in-decimal", problem],
        [sys.executable, __file__, "--integers", problem],
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = [subprocess.Popen(program, **pipes) for program in programs]
    answer = "unknown"
    try:
        while running:
            for process in list(running):
                try:
                    answer = process.communicate(timeout=0.05)[0]
                except subprocess.TimeoutExpired:
                    continue
                running.remove(process)
                if answer.startswith(ANSWERS):
                    return answer
    finally:
        for process in running:
            process.kill()
            process.wait()
    return answer


if __name__ == "__main__":
    if sys.argv[1] == "--integers":
        think_in_integers(sys.argv[2])
    else:
        print(decide(sys.argv[1]), end="")
