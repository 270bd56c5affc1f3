"""An answer out of a text of any length: python examples/answer.py MODEL QUESTION FILE"""

import sys
from pathlib import Path

import bertpass

if len(sys.argv) != 4:
    sys.exit(__doc__)
model = bertpass.load(sys.argv[1])
context = Path(sys.argv[3]).read_text(encoding="utf-8")
found = model.answer(sys.argv[2], context)
print(f"{found.text!r}  score {found.score:.3f}, characters {found.start} to {found.end}")
assert context[found.start:found.end] == found.text
