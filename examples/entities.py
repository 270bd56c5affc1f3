"""Named entities with their places in the text: python examples/entities.py MODEL TEXT ..."""

import sys

import bertpass

if len(sys.argv) < 3:
    sys.exit(__doc__)
model = bertpass.load(sys.argv[1])
for text, entities in zip(sys.argv[2:], model.tag(sys.argv[2:]), strict=True):
    print(text)
    for each in entities:
        print(f"  {each.label:6} {each.score:.3f}  {each.start:4}-{each.end:<4} {each.text}")
