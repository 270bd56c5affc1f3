#!/bin/sh
# The steps of container/Dockerfile in plain virtual environments of this machine, where no container can be built: the
# wheels, an installation from them without network, and a server that becomes ready, embeds and ends with 0 at SIGTERM.
# Takes some minutes, and a C++ compiler. PYTHON names the interpreter (default python3.11).
set -eu
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3.11}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# what .dockerignore lets in
mkdir "$work/source" "$work/source/container"
cp -r bertpass constraints.txt pyproject.toml setup.py README.md LICENSE "$work/source"
cp container/wheels.sh container/install.sh "$work/source/container"
find "$work/source" \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +

"$PYTHON" -m venv "$work/build"
"$PYTHON" -m venv "$work/run"
(cd "$work/source" && PATH="$work/build/bin:$PATH" sh container/wheels.sh "$work/wheels")
PATH="$work/run/bin:$PATH" sh container/install.sh "$work/wheels"
echo "installed: $(du -sh "$work/run" | cut -f1)"

cd "$work"
BERTPASS_SERVE_PORT=0 "$work/run/bin/bertpass" serve minilm 2>"$work/log" &
server=$!
"$work/run/bin/python" - "$work/log" <<'CHECK'
import json, re, sys, time, urllib.error, urllib.request

end, url = time.monotonic() + 120, None
while time.monotonic() < end:
    found = re.search(r"listening at (\S+)", open(sys.argv[1]).read())
    try:
        if found and urllib.request.urlopen(found[1] + "/ready").status == 200:
            url = found[1]
            break
    except urllib.error.URLError:
        pass
    time.sleep(0.1)
if url is None:
    sys.exit(open(sys.argv[1]).read())
body = json.dumps({"inputs": ["a text", "another"]}).encode()
request = urllib.request.Request(url + "/embed", body, {"Content-Type": "application/json"})
rows = json.load(urllib.request.urlopen(request))
print(f"{url}: {len(rows)} embeddings of {len(rows[0])} numbers")
assert "<!DOCTYPE html>" in urllib.request.urlopen(url).read().decode()
CHECK
kill -TERM "$server"
wait "$server"
echo "ended with 0"
