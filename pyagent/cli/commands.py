"""The commands. Each imports what it needs when it runs, so that a light one starts at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="Recurrent language agents: train one, evaluate it, talk with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]


@app.command()
def train(
    level: Annotated[str | None, typer.Argument(help="The task to learn; the main job's if left out.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything; 0 if left out.")] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Also go on with supervised learning for as long as RL took.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
    run_folder: Annotated[
        Path | None, typer.Option(help="Where the run is kept; a new one in runs/ if left out.")
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="The same job in seconds, to see that it runs.")] = False,
) -> None:
    """Train an agent: demonstrations, supervised learning, reinforcement learning, evaluation on unseen seeds."""
    from pyagent.cli.training import new_run, resumed_run, train_run

    with _plain_errors():
        if resume is None:
            folder, config = new_run(level, seed, run_folder, tiny)
        elif (level, seed, run_folder, tiny) == (None, None, None, False):
            folder, config = resumed_run(resume)
        else:
            raise ValueError("--resume: the run's own settings hold; only --control may be given with it")
    raise typer.Exit(train_run(folder, config, control, Console()))


@app.command("eval")
def evaluate(
    run: RunArgument,
    episodes: Annotated[int, typer.Option(min=1, help="How many seeds, one episode each.")] = 512,
    first_seed: Annotated[int, typer.Option(min=0, help="Leave out this many of the evaluation seeds.")] = 0,
    level: Annotated[str | None, typer.Option(help="Another task than the one of the run.")] = None,
) -> None:
    """Evaluate a run's agent on levels that training never plays, next to random actions."""
    console = Console()
    with _plain_errors():
        from pyagent.agents import LanguageAgent
        from pyagent.envs import evaluation_seeds, make
        from pyagent.evaluation import RandomPolicy, evaluate_seeds, evaluation_table
        from pyagent.learning.run_folder import RunFolder

        env_id = level or RunFolder.open(run).read_config()["level"]
        agent = LanguageAgent.load(run).eval()
        env = make(env_id)
        seeds = evaluation_seeds(episodes, first_seed)
    policies = {"random": RandomPolicy(env.action_space), "agent": agent}
    with console.status("playing"):
        results = {name: evaluate_seeds(policy, lambda: make(env_id), seeds) for name, policy in policies.items()}
    console.print(evaluation_table(results, title=env_id))


@app.command()
def chat(run: RunArgument) -> None:
    """Talk with a run's agent: see what it reads, how likely each action is, and its reply."""
    from pyagent.cli.chat import HELP, Conversation

    console = Console()
    with _plain_errors():
        from pyagent.agents import LanguageAgent

        agent = LanguageAgent.load(run).eval()
    if sys.stdin.isatty():
        console.print(HELP, highlight=False)
    Conversation(agent, console).hold(_typed_lines(console))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Few shapes and few rounds: at most 90 s.")] = False,
    peers: Annotated[str, typer.Option(help="Whom to compare with: torch, or all (pyagent[peers]).")] = "torch",
    keyword: Annotated[str, typer.Option("-k", help="Only cases whose name matches, as pytest's -k.")] = "",
    threads: Annotated[list[int] | None, typer.Option(min=1, help="Threads of every case; may be repeated.")] = None,
    output: Annotated[Path, typer.Option(help="Where the report is written.")] = Path("build/benchmarks"),
) -> None:
    """Run the benchmark suite: each case verified, then timed against its peers, then drawn in a report."""
    options = [f"--peers={peers}", *(["--quick"] if quick else []), *(["-k", keyword] if keyword else [])]
    options += [f"--threads={count}" for count in threads or ()]
    with _plain_errors():
        suite = import_module("pyagent.benchmarks.suite")  # in a checkout it stands where pyright does not look
        finished = suite.run(output, options)
    for path in finished.written:
        typer.echo(path)
    raise typer.Exit(finished.status)


@app.command()
def labels(
    level: Annotated[str, typer.Argument(help="The task to learn.")] = "pyagent/GoToLocal-v0",
    sizes: Annotated[
        list[int] | None, typer.Option("--size", min=2, help="Demonstrations to learn from; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Learners of each size.")] = 3,
    episodes: Annotated[int, typer.Option(min=1, help="New levels that each of them plays.")] = 256,
    dropout: Annotated[float, typer.Option(min=0, max=0.99, help="Share of a turn that is hidden.")] = 0.0,
    output: Annotated[Path, typer.Option(help="Where table and curve are written.")] = Path("build/labels"),
) -> None:
    """Draw the learning curve against the number of labels: what more demonstrations would gain."""
    console = Console()
    with _plain_errors():
        from pyagent.learning.label_curve import label_curve, label_table, write_label_curve

        chosen = sizes or [25, 50, 100, 200, 400]
        told = label_curve(level, chosen, seeds=seeds, episodes=episodes, dropout=dropout, announce=console.print)
    console.print(label_table(told))
    for path in write_label_curve(told, output, level):
        typer.echo(path)


@app.command()
def tasks() -> None:
    """List the environments an agent can be trained on."""
    with _plain_errors():
        from pyagent.envs import games
        from pyagent.envs import tasks as levels
        from pyagent.envs.games import MAX_STEPS
    console = Console()
    _print_table(
        console,
        ("task", "mission", "distractors", "steps at most"),
        [(task.id, task.description, "yes" if task.distractors else "no", str(task.max_steps)) for task in levels()],
    )
    console.print("\nGames for learners in Python, not `train`: pip install 'pyagent[textworld]'\n", markup=False)
    _print_table(
        console,
        ("game", "what there is to do", "steps at most"),
        [(game.id, game.description, str(MAX_STEPS)) for game in games()],
    )


@app.command()
def info() -> None:
    """Show versions, instruction sets, threads, and which backends are ready."""
    from pyagent.info import report

    typer.echo(report())


def _print_table(console: Console, headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """In a narrow terminal the second column, the description, is the one that wraps."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if header == "steps at most" else "left", no_wrap=number != 1)
    for row in rows:
        table.add_row(*row)
    console.print(table)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """End with one line, and no traceback, where the user's input or set-up is at fault."""
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        typer.echo(f"pyagent: {error}", err=True)
        raise typer.Exit(1) from error


def _typed_lines(console: Console) -> Iterator[str]:
    """Lines from the terminal with a prompt, or from a pipe without one."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    while True:
        try:
            yield console.input("[bold]> [/bold]")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
