"""A server, and the client of OpenAI that asks it: python examples/serve_openai.py [MODEL]

Needs pip install '.[serve]' openai.
"""

import re
import subprocess
import sys

from openai import OpenAI

model = sys.argv[1] if len(sys.argv) > 1 else "minilm"
server = subprocess.Popen([sys.executable, "-m", "bertpass", "serve", f"mine={model}", "--port", "0"],
                          stderr=subprocess.PIPE, text=True)
try:
    # port 0 takes a free one, which the log names
    address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.]+:\d+", line)))
    client = OpenAI(base_url=f"{address}/v1", api_key="-", max_retries=10)
    answer = client.embeddings.create(model="mine", input=["A man is eating food.", "Somebody eats."])
    print([len(each.embedding) for each in answer.data], answer.usage)
finally:
    server.terminate()
    server.communicate()
