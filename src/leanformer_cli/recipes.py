"""The verb that lists recipes."""

import json

from leanformer_cli.application import app
from leanformer_cli.options import AsJson, show


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the recipes that come with leanformer.

    `leanformer pretrain --recipe NAME` and `leanformer compare --recipe NAME` use them. The size and the tokens are
    those of a run without --hours, --minutes and --tokens.
    """
    from leanformer.recipes import table

    rows = table()
    print(json.dumps(rows, indent=2)) if as_json else show({"recipes": rows}, False, False)
