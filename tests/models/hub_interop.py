"""One step with the real huggingface_hub, for test_hub_interop.c: hub_interop.py STEP ID. Prints a folder or nothing; fails loudly."""
import os
import sys

import huggingface_hub
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

WANTED = ["*.json", "model*.safetensors", "*.jinja", "tokenizer.model", "*.tiktoken", "*.txt"]  # as MLX tools ask for
step, repo = sys.argv[1:3]
if step == "download":
    print(snapshot_download(repo, allow_patterns=WANTED))
elif step == "offline":
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = snapshot_download(repo, allow_patterns=WANTED, local_files_only=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        path = hf_hub_download(repo, name, local_files_only=True)
        assert os.path.dirname(path) == folder, path
        with open(path, "rb") as file:
            file.read()
    print(folder)
elif step == "scan":
    info = scan_cache_dir()
    assert not info.warnings, info.warnings
    found = [r for r in info.repos if r.repo_id == repo]
    assert len(found) == 1 and found[0].repo_type == "model", info.repos
    revisions = list(found[0].revisions)
    assert len(revisions) == 1 and "main" in revisions[0].refs, revisions
    assert found[0].nb_files == 4, found[0]
    print(found[0].size_on_disk)
elif step == "delete":
    info = scan_cache_dir()
    for found in info.repos:
        if found.repo_id == repo:
            info.delete_revisions(*(r.commit_hash for r in found.revisions)).execute()
elif step == "version":
    print(huggingface_hub.__version__)
else:
    sys.exit("no such step")
