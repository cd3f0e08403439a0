#!/usr/bin/env bash
# Run what the hard dependencies alone must be enough for: bash scripts/check_core.sh BIN, the folder of the environment's
# programs. In that environment counterpoint is installed without extras.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$1

"$bin/counterpoint" --help >/dev/null
"$bin/counterpoint" list losses >/dev/null
"$bin/counterpoint" list methods >/dev/null
"$bin/counterpoint" papers show clip-rocket >/dev/null
"$bin/counterpoint" compare --help >/dev/null
"$bin/counterpoint" check barlow-twins >/dev/null

# The first Python block of README, a loss alone.
{
  printf '%s\n' 'import torch' 'import counterpoint as cp' 'torch.manual_seed(0)' \
    'image_embeddings = torch.randn(8, 4, requires_grad=True)' 'text_embeddings = torch.randn(8, 4)' \
    'optimizer = torch.optim.SGD([image_embeddings], lr=0.1)'
  awk '/^```$/{block = 0} block; /^```python$/ && !first {block = first = 1}' README.md
  printf '%s\n' 'assert image_embeddings.grad.isfinite().all()'
} | "$bin/python" -

# A command that needs an extra fails with one line that names it.
if line=$("$bin/counterpoint" compare clip slip --data emoji --dry-run 2>&1 >/dev/null); then
  echo "counterpoint compare ran without the extra study: the environment has more than the hard dependencies" >&2
  exit 1
fi
if ! [[ $line =~ ^"counterpoint compare: "[a-zA-Z0-9_-]+" is not installed; run: pip install 'counterpoint[study]'"$ ]]; then
  echo "counterpoint compare without extras must fail with one line that names the extra; it printed: $line" >&2
  exit 1
fi
echo "The hard dependencies are enough for losses, lists and help; $line"
