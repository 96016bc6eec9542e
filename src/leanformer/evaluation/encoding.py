"""The place of `leanformer.evaluation.inputs.encoding` in version 0.1, importable for one more version."""

import sys

from leanformer.evaluation.inputs import encoding

sys.modules[__name__] = encoding
