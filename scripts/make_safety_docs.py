"""Put the table of promises into docs/safety.md: `make_safety_docs.py FILE`.

The file holds what `hand-imitation bench safety --full --soak 10 --json` printed.
"""

import json
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'safety.md'
BEGIN, END = '<!-- table begins -->', '<!-- table ends -->'


def table(outcomes: list[dict]) -> str:
    """Return the outcomes as a table in Markdown."""
    lines = ['| promise | fault | bound | measured | held |', '|---|---|---|---|---|']
    for outcome in outcomes:
        cells = [outcome[key] for key in ('promise', 'fault', 'bound', 'measured')]
        cells.append('yes' if outcome['held'] else '**no**')
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Read the file named on the command line, and write the page."""
    outcomes = json.loads(Path(sys.argv[1]).read_text())
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f'{before}{BEGIN}\n{table(outcomes)}\n{END}{after}')
    print(f'{len(outcomes)} promises in {PAGE}')


if __name__ == '__main__':
    main()
