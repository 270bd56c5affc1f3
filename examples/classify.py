"""Labels of texts by a fine-tuned classifier: python examples/classify.py MODEL TEXT ...

MODEL is a bundle, such as finetune_csv.py writes, or a folder in Hugging Face's layout.
"""

import sys

import bertpass

if len(sys.argv) < 3:
    sys.exit(__doc__)
model = bertpass.load(sys.argv[1])
for text, found in zip(sys.argv[2:], model.predict(sys.argv[2:]), strict=True):
    print(f"{found.label}  {found.score:.3f}  {text}")
