"""Trims GitHub's OpenAPI description to what githubtest serves.

    npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
    python3 trim.py package/generated/api.github.com.json openapi.json.gz

openapi.json.gz is from version 23.0.2. Texts and examples are left out.
"""
import gzip
import json
import sys

REPO = "/repos/{owner}/{repo}"
KEEP = {
    "/user": "get",
    REPO: "get",
    REPO + "/forks": "post",
    REPO + "/commits": "get",
    REPO + "/commits/{ref}": "get",
    REPO + "/compare/{basehead}": "get",
    REPO + "/git/trees/{tree_sha}": "get",
    REPO + "/git/blobs/{file_sha}": "get",
    REPO + "/git/ref/{ref}": "get",
    REPO + "/git/matching-refs/{ref}": "get",
    REPO + "/git/refs": "post",
    REPO + "/git/refs/{ref}": "patch delete",
    REPO + "/git/blobs": "post",
    REPO + "/git/trees": "post",
    REPO + "/git/commits": "post",
    REPO + "/pulls": "get post",
    REPO + "/pulls/{pull_number}": "get patch",
    REPO + "/issues/{issue_number}/comments": "get post",
    REPO + "/issues/comments/{comment_id}": "patch delete",
    REPO + "/issues/{issue_number}/timeline": "get",
    REPO + "/releases": "get post",
    REPO + "/releases/tags/{tag}": "get",
    REPO + "/releases/{release_id}": "patch",
    REPO + "/collaborators/{username}/permission": "get",
}
# These match the rest of the path in kin-openapi's gorillamux.
SLASHES = {"ref": "ref:.+", "basehead": "basehead:.+", "tag": "tag:.+", "tree_sha": "tree_sha:.+"}
DROP = {"description", "title", "summary", "example", "examples", "externalDocs", "tags", "callbacks", "servers", "default"}


def clean(x, names=False):
    """Drops texts. names: the keys of x are the description's own names."""
    if isinstance(x, list):
        return [clean(v) for v in x]
    if not isinstance(x, dict):
        return x
    out = {}
    for k, v in x.items():
        if not names and (k in DROP or k.startswith("x-")):
            continue
        if k in ("enum", "required") and not names:
            out[k] = v
        else:
            out[k] = clean(v, names=not names and k in ("properties", "responses", "content", "headers"))
    return out


def refs(x):
    if isinstance(x, dict):
        if isinstance(x.get("$ref"), str):
            yield x["$ref"]
        x = x.values()
    elif not isinstance(x, list):
        return
    for v in x:
        yield from refs(v)


def main(source, target):
    with open(source) as f:
        full = json.load(f)
    out = {"openapi": full["openapi"], "info": {"title": "GitHub", "version": "trimmed"}, "paths": {}, "components": {}}
    for path, methods in KEEP.items():
        item = {m: clean(full["paths"][path][m]) for m in methods.split()}
        for name, pattern in SLASHES.items():
            path = path.replace("{" + name + "}", "{" + pattern + "}")
        out["paths"][path] = item
    todo = list(refs(out["paths"]))
    while todo:
        _, _, kind, name = todo.pop().split("/")
        have = out["components"].setdefault(kind, {})
        if name not in have:
            have[name] = clean(full["components"][kind][name])
            todo += refs(have[name])
    described(out)
    with open(target, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(json.dumps(out, separators=(",", ":"), sort_keys=True).encode())


def described(out):
    """Gives every response the description it must have."""
    answers = list(out["components"].get("responses", {}).values())
    for item in out["paths"].values():
        for operation in item.values():
            answers += operation["responses"].values()
    for answer in answers:
        if "$ref" not in answer:
            answer["description"] = ""


main(*sys.argv[1:])
