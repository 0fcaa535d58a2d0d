"""`aar fetch`: what a task needs from the hub, shown and then brought."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from aar.cli.screen import screen


def fetch(name: str, sets: Sequence[str], dry_run: bool) -> None:
    """Show every repository with commit, licence and size; then download what is missing."""
    from aar.data.fetch import demand_space, download, plan, size, token_source
    from aar.tasks import load_task

    spec, _ = load_task(name, sets)
    console = screen()
    wanted = plan(spec)
    if not wanted:
        console.print(f"{spec.name}: names nothing on the hub; there is nothing to fetch")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("field", "repository", "revision", "licence", "size", "to download"):
        table.add_column(column, no_wrap=column in ("size", "to download"), overflow="fold")
    for w in wanted:
        revision = w.commit[:12] if w.revision == w.commit else f"{w.revision} ({w.commit[:12]})"
        licence = escape(w.licence) + (", gated" if w.gated else "")
        missing = size(w.missing) if w.missing else "cached"
        table.add_row(w.field, escape(w.repo), escape(revision), licence, size(w.bytes), missing)
    console.print(table)
    console.print(f"token: {token_source()}; {size(sum(w.missing for w in wanted))} to download", highlight=False)
    demand_space(wanted)
    if dry_run:
        return
    for w in wanted:
        console.print(f"{escape(w.repo)} -> {escape(str(download(w)))}", highlight=False, soft_wrap=True)
    console.print(f"{spec.name}: complete; without network:  HF_HUB_OFFLINE=1 aar run {name}", soft_wrap=True)
