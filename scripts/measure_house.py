"""How the house stands: rooms, floors and arrows of src/prusc, its longest functions and files, and one new setting.

    python scripts/measure_house.py            # this checkout
    python scripts/measure_house.py OTHER/src  # another one, such as that of an older commit

Prints a table for docs/concepts/house.md. A *floor* is a level of the imports between the entries of src/prusc; an
*arrow* is an import of one entry by another.
"""

import argparse
import ast
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE)
    package = parser.parse_args().source / "prusc"
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(package.rglob("*.py"))}
    functions = [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in trees}
    arrows = find_arrows(trees, package)
    longest = max(map(measure_body, functions), key=lambda item: item[1])
    rows = {
        "modules and folders at the root": count_entries(package),
        "floors of imports at the root": count_floors(arrows),
        "arrows at the root": sum(len(targets) for targets in arrows.values()),
        "modules": len(trees),
        "longest file": describe(max(lengths.items(), key=lambda item: item[1]), package),
        "files over 300 lines": sum(length > 300 for length in lengths.values()),
        "longest function, docstring left out": describe(longest, package),
        "functions over 50 lines, docstring left out": sum(measure_body(one)[1] > 50 for one in functions),
        "most parameters": describe(max(map(count_parameters, functions), key=lambda item: item[1]), package),
        "functions with more than 7 parameters": sum(count_parameters(one)[1] > 7 for one in functions),
        "source files that name one setting of the stages (mean, most)": describe_settings(trees),
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")


def describe(item: tuple[Path | str, int], package: Path) -> str:
    """Return a figure and where it is."""
    return f"{item[1]} ({str(item[0]).removeprefix(f'{package}/')})"


def describe_settings(trees: dict[Path, ast.Module]) -> str:
    """Return in how many files a setting of the stages is named, its definition among them."""
    stages = next(path for path in trees if path.as_posix().endswith(("config_stages.py", "config/stages.py")))
    fields = {
        node.target.id
        for config in trees[stages].body
        if isinstance(config, ast.ClassDef)
        for node in config.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    names = {
        path: {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        | {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg}
        for path, tree in trees.items()
    }
    # Words that mean other things as well would count those.
    common = {
        "steps",
        "batch_size",
        "learning_rate",
        "weight_decay",
        "split",
        "flip",
        "candidates",
        "include",
        "exclude",
    }
    counts = {field: sum(field in found for found in names.values()) for field in fields - common}
    most = max(counts, key=lambda field: counts[field])
    return f"{sum(counts.values()) / len(counts):.1f}, {counts[most]} ({most})"


def count_entries(package: Path) -> int:
    """Count modules and folders, but not what Python asks for."""
    return sum(
        (path.is_dir() and path.name != "__pycache__") or (path.suffix == ".py" and not path.name.startswith("__"))
        for path in package.iterdir()
    )


def find_arrows(trees: dict[Path, ast.Module], package: Path) -> dict[str, set[str]]:
    """Return the entries that each entry of the package imports."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        room = path.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "prusc" and len(parts) > 1 and parts[1] != room and not room.startswith("__"):
                    arrows[room].add(parts[1])
    return arrows


def count_floors(arrows: dict[str, set[str]]) -> int:
    """Return the length of the longest chain of imports."""
    known: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in known:
            known[room] = 1  # In a circle, which import-linter forbids, the count stays finite.
            known[room] = 1 + max((floor(other) for other in arrows.get(room, ())), default=0)
        return known[room]

    return max(map(floor, list(arrows)))


def measure_body(function: tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]) -> tuple[str, int]:
    """Return a function's name and the number of its lines after the docstring."""
    path, node = function
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return f"{path}:{node.name}", (body[-1].end_lineno or 0) - body[0].lineno + 1


def count_parameters(function: tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]) -> tuple[str, int]:
    """Return a function's name and the number of its parameters, self left out."""
    path, node = function
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return f"{path}:{node.name}", len([name for name in names if name not in ("self", "cls")])


if __name__ == "__main__":
    main()
