//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// user makes a machine of somebody who has no clone: a folder, a store, and
// github.com where the fake one is.
func (h *hub) user(t *testing.T, token string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{dir: dir}
	w.env = append(append([]string{}, h.w.env...), "GITHUB_API_URL="+h.s.URL, "MODYARD_STORE="+filepath.Join(dir, "store"),
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url."+h.s.URL+"/.insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/")
	if token != "" {
		w.env = append(w.env, "GITHUB_TOKEN="+token)
	}
	return w
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const remotePipeline = `apiVersion: modyard.dev/v1
kind: Pipeline
name: remote
registries: {acme: github.com/acme/modules@main}
inputs: {text: {type: file, format: txt, path: text.txt}}
steps:
  count:
    module: acme/word-count@^1
    inputs: {text: "${{ inputs.text }}"}
outputs: {total: "${{ steps.count.outputs.total }}"}
`

// TestRemoteRegistry: a registry on GitHub is read without a clone, and not
// asked for what is known.
func TestRemoteRegistry(t *testing.T) {
	h := newHub(t, "")
	w := h.user(t, "")
	at := "github.com/acme/modules"
	if out := w.run(t, w.dir, "modyard", "list", "--registry", at); !strings.Contains(out, "word-count  1.0.0") {
		t.Errorf("list: %s", out)
	}
	if out := w.run(t, w.dir, "modyard", "show", "word-count", "--registry", "https://"+at+".git@main"); !strings.Contains(out, "param   least") {
		t.Errorf("show: %s", out)
	}
	if out := w.run(t, w.dir, "modyard", "search", "words", "--registry", at); !strings.Contains(out, "word-count") {
		t.Errorf("search: %s", out)
	}
	write(t, filepath.Join(w.dir, "pipeline.yaml"), remotePipeline)
	write(t, filepath.Join(w.dir, "text.txt"), "one two three\n")
	w = h.user(t, "") // nothing is cached
	write(t, filepath.Join(w.dir, "pipeline.yaml"), remotePipeline)
	write(t, filepath.Join(w.dir, "text.txt"), "one two three\n")
	h.s.Forget()
	w.run(t, w.dir, "modyard", "plan", "pipeline.yaml")
	if got := h.s.Requests(); len(got) > 5+2 {
		t.Errorf("to plan took %q", got)
	}
	h.s.Forget()
	w.run(t, w.dir, "modyard", "plan", "pipeline.yaml")
	if got := h.s.Requests(); len(got) != 1 {
		t.Errorf("to plan again took %q", got)
	}
	if out := w.run(t, w.dir, "modyard", "run", "pipeline.yaml"); !strings.Contains(out, "total  3") {
		t.Errorf("run: %s", out)
	}
	if out := w.run(t, w.dir, "modyard", "--offline", "run", "pipeline.yaml", "--force", "count"); !strings.Contains(out, "total  3") {
		t.Errorf("run offline: %s", out)
	}
	// A lock pins the commit: the host is not asked, whatever it has by now.
	w.run(t, w.dir, "modyard", "lock", "pipeline.yaml")
	first := h.head(t, "main")
	if lock, err := os.ReadFile(filepath.Join(w.dir, "pipeline.lock.yaml")); err != nil || !strings.Contains(string(lock), "acme: "+first) {
		t.Errorf("the lock is %s", lock)
	}
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "minor")
	h.commit(t, "second")
	h.push(t, "main")
	h.s.Forget()
	if out := w.run(t, w.dir, "modyard", "plan", "pipeline.yaml"); !strings.Contains(out, "word-count@1.0.0") || len(h.s.Requests()) != 0 {
		t.Errorf("locked: %s, took %q", out, h.s.Requests())
	}
	if out := w.run(t, w.dir, "modyard", "outdated", "pipeline.yaml"); !strings.Contains(out, "1.0.0  active  1.1.0  1.1.0") {
		t.Errorf("outdated: %s", out)
	}
	if out := w.run(t, w.dir, "modyard", "affected", "word-count@1.0.0", "--registry", at); !strings.Contains(out, `pipeline.yaml, step "count": acme/word-count@^1 has it in its lock`) {
		t.Errorf("affected: %s", out)
	}
	w.run(t, w.dir, "modyard", "upgrade", "pipeline.yaml")
	if out := w.run(t, w.dir, "modyard", "run", "pipeline.yaml"); !strings.Contains(out, "total  3") {
		t.Errorf("after the upgrade: %s", out)
	}
	// What is not there is said, and looked for nowhere else.
	for location, want := range map[string]string{
		"github.com/acme/none":                         "it is not there, or it is private",
		"github.com/acme/modules@nope":                 `acme/modules has no branch, tag or commit "nope"`,
		"https://github.com/acme/none":                 "it is not there, or it is private",
		"https://github.com/acme/modules/tree/main/ml": "write github.com/acme/modules/ml@main",
		"github.com/acme":                              "write github.com/OWNER/REPO@REF",
	} {
		if out := w.fails(t, w.dir, "modyard", "list", "--registry", location); !strings.Contains(out, want) {
			t.Errorf("%s: %s", location, out)
		}
	}
}

// TestPrivateRegistry: with a token what is private is read, and the token is
// in no output and no child's environment.
func TestPrivateRegistry(t *testing.T) {
	h := newHub(t, "")
	h.repo.Private = true
	w := h.user(t, "alice-token")
	write(t, filepath.Join(w.dir, "pipeline.yaml"), strings.Replace(remotePipeline, "steps:\n", "steps:\n  env:\n    run: {command: [sh, -c, 'env > $0', \"${{ outputs.env }}\"]}\n    outputs: {env: {type: file}}\n", 1))
	write(t, filepath.Join(w.dir, "text.txt"), "one two three\n")
	w.run(t, w.dir, "modyard", "run", "pipeline.yaml", "-o", "out")
	err := filepath.WalkDir(w.dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		if strings.Contains(string(data), "alice-token") {
			t.Errorf("the token is in %s", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if out := h.user(t, "").fails(t, w.dir, "modyard", "plan", "pipeline.yaml", "--registry", "x"); !strings.Contains(out, "it is private") {
		t.Errorf("without a token: %s", out)
	}
}

// TestProposeModule: somebody without a clone proposes a module, and then
// better; what breaks the rules is not proposed.
func TestProposeModule(t *testing.T) {
	h := newHub(t, "")
	h.s.Token("bob-token", "bob", "write", "bob/none")
	w := h.user(t, "bob-token")
	dir := filepath.Join(w.dir, "greet")
	write(t, filepath.Join(dir, "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: greet\ndescription: Greets.\nowners: [bob]\n")
	write(t, filepath.Join(dir, "src", "greet.py"), "print('hello')\n")
	version := "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: greet\nversion: 1.0.0\ndescription: Greets.\noutputs: {text: {type: file}}\nrun: {command: [cp, greet.py, '${{ outputs.text }}']}\nsnapshot: {folder: ../src}\n"
	write(t, filepath.Join(dir, "versions", "1.0.0.yaml"), version+"colour: red\n")
	if out := w.fails(t, w.dir, "modyard", "propose", "greet", "--to", "github.com/acme/modules"); !strings.Contains(out, `unknown key "colour"`) || len(h.repo.Pulls()) > 0 {
		t.Errorf("bad: %s", out)
	}
	write(t, filepath.Join(dir, "versions", "1.0.0.yaml"), version)
	for i, want := range []string{"opened acme/modules#", "updated acme/modules#"} {
		if i > 0 {
			write(t, filepath.Join(dir, "src", "greet.py"), "print('hello, again')\n")
		}
		cmd := w.command(w.dir, "modyard", "propose", "greet", "--to", "github.com/acme/modules")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "the branch is in the fork bob/modules") {
			t.Fatalf("%v: %s", err, out)
		}
	}
	pulls := h.repo.Pulls()
	if len(pulls) != 1 || pulls[0].Title != "Add greet 1.0.0" || !strings.Contains(pulls[0].Body, "a maintainer must look") {
		t.Fatalf("the pull requests are %+v", pulls)
	}
	// What was proposed passes the check of the registry, as it is in git.
	fork := h.s.Repo("bob", "modules")
	clone := filepath.Join(w.dir, "clone")
	w.run(t, w.dir, "git", "clone", "-q", "-b", "modyard/add/greet", "file://"+fork.Dir, clone)
	if out := w.run(t, clone, "modyard", "test", "greet"); out != "" {
		t.Errorf("test: %s", out)
	}
	if out := w.fails(t, clone, "modyard", "check", "--base", h.head(t, "main")); !strings.Contains(out, "0 problems") {
		t.Errorf("check: %s", out)
	}
	// A version that pipelines of the registry would have.
	w = h.user(t, "alice-token")
	dir = filepath.Join(w.dir, "word-count")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(h.clone, "modules", "word-count"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "versions", "1.0.0.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "versions", "1.0.1.yaml"), strings.ReplaceAll(string(text), "1.0.0", "1.0.1"))
	write(t, filepath.Join(dir, "src", "count.py"), "# quicker\n")
	w.run(t, w.dir, "modyard", "propose", "word-count", "--to", "github.com/acme/modules")
	pulls = h.repo.Pulls()
	if body := pulls[len(pulls)-1].Body; !strings.Contains(body, "<code>pipeline.yaml</code>, step <code>count</code>") {
		t.Errorf("what it reaches: %s", body)
	}
	// The same for a version's state.
	out, err := w.command(w.dir, "modyard", "deprecate", "word-count@1.0.0", "--reason", "slow", "--pr", "--registry", "github.com/acme/modules").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "opened acme/modules#") {
		t.Fatalf("deprecate: %v: %s", err, out)
	}
	if got := h.repo.Git("show", "modyard/deprecate/word-count-1.0.0:modules/word-count/module.yaml"); !strings.Contains(got, "1.0.0: {state: deprecated, reason: slow}") {
		t.Errorf("module.yaml is %s", got)
	}
}

// TestProposeAgainst: a proposal leaves the branch of a colleague alone.
func TestProposeAgainst(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	h.branch(t, "modyard/add/word-count")
	h.append(t, "modules/word-count/src/count.py", "# carol's\n")
	h.commit(t, "carol's")
	h.push(t, "modyard/add/word-count")
	head := h.repo.Git("rev-parse", "modyard/add/word-count")
	h.repo.OpenPull("modyard/add/word-count", "main", "Quicker", "carol")
	h.branch(t, "main")
	w := h.user(t, "alice-token")
	dir := filepath.Join(w.dir, "word-count")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(h.clone, "modules", "word-count"))); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "src", "count.py"), "# alice's\n")
	const want = "acme/modules#1, by carol, proposes it already, from the branch acme:modyard/add/word-count"
	if out := w.fails(t, w.dir, "modyard", "propose", "word-count", "--to", "github.com/acme/modules"); !strings.Contains(out, want) {
		t.Errorf("it printed\n%s\nwant %q", out, want)
	}
	if now := h.repo.Git("rev-parse", "modyard/add/word-count"); now != head {
		t.Errorf("the branch was at %s and is at %s", head, now)
	}
}

// TestProposeFolder: what is proposed is the folder as it is: with what git would
// ignore, and without what it has no more; published versions stay.
func TestProposeFolder(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	write(t, filepath.Join(h.clone, ".gitignore"), "*.bin\n")
	write(t, filepath.Join(h.clone, "modules", "word-count", "docs", "more.md"), "More.\n")
	write(t, filepath.Join(h.clone, "modules", "word-count", "src", "old.py"), "")
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
	h.commit(t, "ignore")
	h.push(t, "main")
	w := h.user(t, "alice-token")
	dir := filepath.Join(w.dir, "word-count")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(h.clone, "modules", "word-count"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "versions", "1.0.1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"docs", "src/old.py", "versions/1.0.0.yaml"} {
		if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(gone))); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "src", "weights.bin"), "w")
	write(t, filepath.Join(dir, "notes.bin"), "of no version")
	write(t, filepath.Join(dir, ".gitignore"), ".env\nsecret.json\n")
	write(t, filepath.Join(dir, ".env"), "TOKEN=x")
	write(t, filepath.Join(dir, "src", "secret.json"), "{}")
	write(t, filepath.Join(dir, "src", ".modyardignore"), "secret.json\n")
	write(t, filepath.Join(dir, "src", "old.py", "now_a_folder.py"), "")
	write(t, filepath.Join(dir, "versions", "1.0.2.yaml"), strings.ReplaceAll(string(text), "1.0.1", "1.0.2"))
	w.run(t, w.dir, "modyard", "propose", "word-count", "--to", "github.com/acme/modules")
	var got []string
	for line := range strings.Lines(h.repo.Git("diff", "--no-renames", "--name-status", "main", "modyard/add/word-count")) {
		got = append(got, strings.ReplaceAll(strings.TrimSpace(line), "\t", " "))
	}
	if want := []string{"A modules/word-count/.gitignore", "A modules/word-count/src/.modyardignore", "D modules/word-count/src/old.py", "A modules/word-count/src/old.py/now_a_folder.py", "A modules/word-count/src/weights.bin", "A modules/word-count/versions/1.0.2.yaml"}; !slices.Equal(got, want) {
		t.Errorf("it differs by %q", got)
	}
	h.w.run(t, h.clone, "git", "fetch", "-q", "origin")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-f", "-B", "proposed", "origin/modyard/add/word-count")
	h.w.run(t, h.clone, "git", "clean", "-q", "-ffdx")
	if out, err := h.w.command(h.clone, "modyard", "check", "--base", "origin/main").CombinedOutput(); err != nil {
		t.Errorf("check: %v: %s", err, out)
	}
}

// TestProposeBranch: a branch is replaced if a proposal has made all that is on
// it, and a pull request is for the branch that is named.
func TestProposeBranch(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	h.w.run(t, h.clone, "git", "push", "-q", "origin", "HEAD:refs/heads/next")
	w := h.user(t, "alice-token")
	propose := func(reason string, args ...string) string {
		t.Helper()
		out, _ := w.command(w.dir, "modyard", append([]string{"deprecate", "word-count@1.0.0", "--reason", reason, "--pr", "--registry"}, args...)...).CombinedOutput()
		if strings.Contains(string(out), os.TempDir()) {
			t.Errorf("it tells of a folder that nobody knows: %s", out)
		}
		return string(out)
	}
	const at, branch = "github.com/acme/modules", "modyard/deprecate/word-count-1.0.0"
	next := branchOf("deprecate", "word-count-1.0.0", "@next")
	if out := propose("slow", at+"@none"); !strings.Contains(out, `there is no branch, tag or commit "none"`) {
		t.Errorf("no branch: %s", out)
	}
	if out := propose("slow", at+"@"+h.head(t, "HEAD")); !strings.Contains(out, "has no branch") {
		t.Errorf("a commit: %s", out)
	}
	// Somebody's branch of that name.
	h.branch(t, "theirs")
	h.append(t, "notes", "x")
	h.commit(t, "theirs")
	h.push(t, "HEAD:refs/heads/"+branch)
	theirs := h.repo.Git("rev-parse", branch)
	if out := propose("slow", at); !strings.Contains(out, "has a commit that no proposal has made: "+theirs[:12]) || h.repo.Git("rev-parse", branch) != theirs {
		t.Errorf("a branch of somebody: %s", out)
	}
	h.push(t, "--delete", branch)
	for _, reason := range []string{"slow", "slow for @everyone"} {
		if out := propose(reason, at+"@next"); !strings.Contains(out, "ed acme/modules#1\n") {
			t.Fatalf("%s", out)
		}
	}
	pull := h.repo.Pull(1)
	if pull.Base != "next" || pull.Title != "Deprecate word-count@1.0.0" || !strings.Contains(pull.Body, "version 1.0.0&#58; deprecated&#58; slow for &#64;&#8288;everyone") {
		t.Errorf("the pull request is %+v", pull)
	}
	// To have merged the base into it is no change of it.
	h.w.run(t, h.clone, "git", "fetch", "-q", "origin")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-B", "moved", "origin/next")
	h.append(t, "notes", "z")
	h.commit(t, "next moves on")
	h.push(t, "HEAD:refs/heads/next")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-B", "merged", "origin/"+next)
	h.w.run(t, h.clone, "git", "merge", "-q", "--no-ff", "-m", "Merge branch 'next'", "moved")
	h.push(t, "HEAD:refs/heads/"+next)
	if out := propose("slow, still", at+"@next"); !strings.Contains(out, "updated acme/modules#1\n") {
		t.Errorf("after an update of the branch: %s", out)
	}
	// What a maintainer has added to it stays.
	h.w.run(t, h.clone, "git", "fetch", "-q", "origin")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-B", "added", "origin/"+next)
	h.append(t, "notes", "y")
	h.commit(t, "a maintainer's")
	h.push(t, "HEAD:refs/heads/"+next)
	if out := propose("other", at+"@next"); !strings.Contains(out, "has a commit that no proposal has made") {
		t.Errorf("a maintainer's commit: %s", out)
	}
}

// TestProposePrivate: the token that reads the API brings the files of what is
// private, too, and is left nowhere.
func TestProposePrivate(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	h.repo.Private = true
	to, err := url.Parse(h.s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(to))
	t.Cleanup(s.Close)
	w := h.user(t, "alice-token")
	temp := t.TempDir()
	w.env = append(w.env, "GITHUB_SERVER_URL="+s.URL, "GIT_SSL_NO_VERIFY=1", "TMPDIR="+temp)
	at := strings.TrimPrefix(s.URL, "https://") + "/acme/modules"
	out, err := w.command(w.dir, "modyard", "deprecate", "word-count@1.0.0", "--reason", "slow", "--pr", "--registry", at).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "opened acme/modules#1") {
		t.Fatalf("%v: %s", err, out)
	}
	for _, dir := range []string{w.dir, temp} {
		if text := content(t, dir); strings.Contains(text, "alice-token") {
			t.Errorf("the token is in %s", dir)
		}
	}
	w.env = append(w.env, "GITHUB_TOKEN=")
	if out := w.fails(t, w.dir, "modyard", "deprecate", "word-count@1.0.0", "--reason", "slow", "--pr", "--registry", at); !strings.Contains(out, "it is private") {
		t.Errorf("without a token: %s", out)
	}
}

// TestEnterprise: another GitHub server is known by GH_HOST, its API is below
// /api/v3, and its token is its own.
func TestEnterprise(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	h.repo.Private = true
	to, err := url.Parse(h.s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(http.StripPrefix("/api/v3", httputil.NewSingleHostReverseProxy(to)))
	t.Cleanup(s.Close)
	w := h.user(t, "")
	certs := filepath.Join(w.dir, "certs.pem")
	write(t, certs, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	host := strings.TrimPrefix(s.URL, "https://")
	at := host + "/acme/modules@main"
	w.env = append(w.env, "SSL_CERT_FILE="+certs, "GITHUB_TOKEN=alice-token")
	if out := w.fails(t, w.dir, "modyard", "list", "--registry", at); !strings.Contains(out, "there is no registry in the folder") {
		t.Errorf("not known: %s", out)
	}
	w.env = append(w.env, "GH_HOST="+host)
	if out := w.fails(t, w.dir, "modyard", "list", "--registry", at); !strings.Contains(out, "it is private") {
		t.Errorf("the token of another server: %s", out)
	}
	w.env = append(w.env, "GH_ENTERPRISE_TOKEN=alice-token")
	for _, location := range []string{at, "https://" + at} {
		if out := w.run(t, w.dir, "modyard", "list", "--registry", location); !strings.Contains(out, "word-count  1.0.0") {
			t.Errorf("list: %s", out)
		}
	}
	write(t, filepath.Join(w.dir, "pipeline.yaml"), strings.Replace(remotePipeline, "github.com/acme/modules@main", at, 1))
	write(t, filepath.Join(w.dir, "text.txt"), "one two three\n")
	if out := w.run(t, w.dir, "modyard", "run", "pipeline.yaml"); !strings.Contains(out, "total  3") {
		t.Errorf("run: %s", out)
	}
}

// TestBranchOf: two proposals have two branches, whose names git takes.
func TestBranchOf(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, kind := range []string{"add", "enable", "upgrade"} {
		for _, scope := range []string{"", "ml", "@next", "ml@next"} {
			for _, about := range []string{"a", "a-b", "a/b", "a b", "a..b", "a.lock", ".a", "x.yaml", "x.yml", "enable-a", "é", "è", strings.Repeat("x", 300), strings.Repeat("x", 300) + "y", "a~b", "a@{b", "-a"} {
				got := branchOf(kind, about, scope)
				if first, twice := seen[got]; twice {
					t.Errorf("%q and %q have the branch %s", first, kind+" "+about+" "+scope, got)
				}
				seen[got] = kind + " " + about + " " + scope
				if scope != "" {
					continue
				}
				if err := exec.Command("git", "check-ref-format", "--branch", got).Run(); err != nil {
					t.Errorf("%q has the branch %s: %v", about, got, err)
				}
			}
		}
	}
	if got := branchOf("deprecate", "word-count-1.0.0", ""); got != "modyard/deprecate/word-count-1.0.0" {
		t.Error(got)
	}
}

// many pushes 20 more modules, and whatever else was changed.
func (h *hub) many(t *testing.T) {
	t.Helper()
	for i := range 20 {
		name := fmt.Sprintf("m%02d", i)
		write(t, filepath.Join(h.clone, "modules", name, "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: "+name+"\ndescription: Does something with words.\n")
	}
	h.commit(t, "many")
	h.push(t, "main")
}

// indexed makes a registry of many modules whose index is to be signed, and
// returns where its images are.
func (h *hub) indexed(t *testing.T, index string) (images string) {
	t.Helper()
	images = imageHost(t) + "/acme"
	key, err := os.ReadFile(filepath.Join(h.w.dir, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(h.clone, "key.pub"), string(key))
	h.append(t, "registry.yaml", "images: "+images+"\nindex: "+index+"\npolicy: {keys: [key.pub]}\n")
	h.many(t)
	return images
}

// TestIndex: the index makes a search of a registry on GitHub a few requests,
// however many modules there are; what has changed since is read itself.
func TestIndex(t *testing.T) {
	h := newHub(t, "index: gh-pages\n")
	h.many(t)
	maintainer := h.user(t, "alice-token")
	maintainer.env = append(maintainer.env, "GITHUB_REPOSITORY=acme/modules")
	for _, want := range []string{"has the index of", "is that of"} {
		h.s.Forget()
		out, err := maintainer.command(h.clone, "modyard", "index", "--push").CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("%v: %s", err, out)
		}
		if got := h.s.Requests(); len(got) > 6 {
			t.Errorf("to put the index took %q", got)
		}
	}
	if got := h.repo.Git("show", "gh-pages:modyard/v1/modules/word-count.jsonl"); !strings.HasPrefix(got, `{"version":"1.0.0","digest":"sha256:`) {
		t.Errorf("a module's file is %s", got)
	}
	search := func() string {
		t.Helper()
		w := h.user(t, "")
		h.s.Forget()
		return w.run(t, w.dir, "modyard", "search", "words", "--registry", "github.com/acme/modules")
	}
	out := search()
	if got := h.s.Requests(); len(got) > 7 || strings.Count(out, "\n") != 22 {
		t.Errorf("to search took %q: %s", got, out)
	}
	// A module changes, and nobody has made the index anew.
	write(t, filepath.Join(h.clone, "modules", "m07", "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: m07\ndescription: Does nothing.\n")
	h.commit(t, "change")
	h.push(t, "main")
	if out := search(); strings.Contains(out, "m07") || strings.Count(out, "\n") != 21 || len(h.s.Requests()) > 8 {
		t.Errorf("after a change: %s %q", out, h.s.Requests())
	}
	if out := maintainer.fails(t, h.w.dir, "modyard", "-C", "acme", "index"); !strings.Contains(out, "give --out DIR or --push") {
		t.Errorf("without a place: %s", out)
	}
	maintainer.run(t, h.clone, "modyard", "index", "--out", filepath.Join(h.w.dir, "site"))
	if _, err := os.Stat(filepath.Join(h.w.dir, "site", "modyard", "v1", "search.json")); err != nil {
		t.Error(err)
	}
}

// TestIndexLies: what an index on a branch says is held against what the commit
// that is read shows by itself.
func TestIndexLies(t *testing.T) {
	t.Parallel()
	h := newHub(t, "index: gh-pages\n")
	maintainer := h.user(t, "alice-token")
	maintainer.env = append(maintainer.env, "GITHUB_REPOSITORY=acme/modules")
	maintainer.run(t, h.clone, "modyard", "index", "--push")
	good := h.repo.Git("show", "gh-pages:modyard/v1/search.json")
	h.w.run(t, h.clone, "git", "fetch", "-q", "origin")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-f", "-B", "gh-pages", "origin/gh-pages")
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{`"registry":"acme"`, `"registry":"another"`, `it is of the registry "another"`},
		{`"versions":["1.0.0"]`, `"versions":["1.0.0","9.9.9"]`, `it names versions of "word-count" that are not there`},
		{`"version":"1.0.0"`, `"version":"9.9.9"`, `it names versions of "word-count" that are not there`},
		{`"description":"`, `"description":"\u001b[2J`, `the search file has control characters: "\x1b[2J`},
		{`"state":"active"`, `"state":"\u202e"`, "the search file has control characters"},
		{`"format":1`, `"format":2`, "the search file has the format 2"},
		{`{`, `[`, "the search file cannot be read"},
	} {
		lie := strings.Replace(good, c.from, c.to, 1)
		if lie == good && c.from != "" {
			t.Fatalf("there is no %s", c.from)
		}
		write(t, filepath.Join(h.clone, "modyard", "v1", "search.json"), lie)
		h.commit(t, "lie")
		h.push(t, "gh-pages")
		w := h.user(t, "")
		out, err := w.command(w.dir, "modyard", "list", "--registry", "github.com/acme/modules").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "word-count  1.0.0    active  text,example  Counts the words of a text.") {
			t.Errorf("%s: %v: %s", c.to, err, out)
		}
		if warned := strings.Contains(string(out), "warning: the index on the branch gh-pages is not used: "+c.want); warned != (c.want != "") {
			t.Errorf("%s: %s", c.to, out)
		}
	}
}

// TestIndexBoth: a signed index is on the branch and beside the images; where the
// policy names who may sign, what is on the branch is not read.
func TestIndexBoth(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	at := h.indexed(t, "gh-pages")
	maintainer := h.user(t, "alice-token")
	maintainer.env = append(maintainer.env, "GITHUB_REPOSITORY=acme/modules")
	out, err := maintainer.command(h.clone, "modyard", "index", "--push", "--key", filepath.Join(h.w.dir, "key.pem")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "the branch gh-pages of acme/modules has the index of") || !strings.Contains(string(out), at+"/modyard.index:latest is the index of ") {
		t.Fatalf("%v: %s", err, out)
	}
	h.w.run(t, h.clone, "git", "fetch", "-q", "origin")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-f", "-B", "gh-pages", "origin/gh-pages")
	write(t, filepath.Join(h.clone, "modyard", "v1", "search.json"), strings.ReplaceAll(h.repo.Git("show", "gh-pages:modyard/v1/search.json"), "Does something", "Lies about something"))
	h.commit(t, "lie")
	h.push(t, "gh-pages")
	w := h.user(t, "")
	h.s.Forget()
	out, err = w.command(w.dir, "modyard", "search", "words", "--registry", "github.com/acme/modules").CombinedOutput()
	if err != nil || strings.Count(string(out), "  Does something with words.\n") != 20 || strings.Contains(string(out), "warning") || len(h.s.Requests()) > 7 {
		t.Errorf("%v: %s %q", err, out, h.s.Requests())
	}
}

// TestIndexImage: the index beside the images is used if somebody has signed it
// who may, and as far as it is of the commit that is read.
func TestIndexImage(t *testing.T) {
	h := newHub(t, "")
	at := h.indexed(t, "oci")
	if out := h.w.fails(t, h.clone, "modyard", "index", "--push"); !strings.Contains(out, "nobody signs the index") {
		t.Errorf("without a key: %s", out)
	}
	search := func(most int) string {
		t.Helper()
		w := h.user(t, "")
		h.s.Forget()
		out, err := w.command(w.dir, "modyard", "search", "words", "--registry", "github.com/acme/modules").CombinedOutput()
		if err != nil || strings.Count(string(out), "  Does something with words.\n") != 20 {
			t.Errorf("search: %v: %s", err, out)
		}
		if got := h.s.Requests(); len(got) > most {
			t.Errorf("to search took %d requests: %q", len(got), got)
		}
		return string(out)
	}
	const all = 60 // requests: an index saves some of them
	if out := search(all); !strings.Contains(out, "warning: the index beside the images is not used: it is not there") {
		t.Errorf("without an index: %s", out)
	}
	push := func(key string) {
		t.Helper()
		if out, err := h.w.command(h.clone, "modyard", "index", "--push", "--key", filepath.Join(h.w.dir, key)).CombinedOutput(); err != nil || !strings.Contains(string(out), at+"/modyard.index:latest is the index of ") {
			t.Fatalf("%v: %s", err, out)
		}
	}
	push("other.pem")
	if out := search(all); !strings.Contains(out, "is not used: it is signed by none of those who may sign") {
		t.Errorf("signed by another: %s", out)
	}
	push("key.pem")
	if out := search(7); strings.Contains(out, "warning") {
		t.Errorf("with an index: %s", out)
	}
	// An index of an older commit holds for what has not changed since.
	write(t, filepath.Join(h.clone, "modules", "m07", "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: m07\ndescription: Does something else.\ntags: [words]\n")
	write(t, filepath.Join(h.clone, "modules", "m20", "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: m20\ndescription: Does something with words.\n")
	h.commit(t, "change")
	h.push(t, "main")
	if out := search(10); !strings.Contains(out, "m07") || !strings.Contains(out, "Does something else.") {
		t.Errorf("after a change: %s", out)
	}
	// Who may write images and not sign cannot say anything else of the registry.
	fake, err := name.ParseReference(at + "/modyard.index:latest")
	if err != nil {
		t.Fatal(err)
	}
	forge(t, fake, func(m map[string]any) {
		config := m["config"].(map[string]any)
		claim, err := base64.StdEncoding.DecodeString(config["data"].(string))
		if err != nil {
			t.Fatal(err)
		}
		claim = bytes.Replace(claim, []byte(`"registry":"acme"`), []byte(`"registry":"acne"`), 1)
		config["data"] = base64.StdEncoding.EncodeToString(claim)
		config["digest"] = fmt.Sprintf("sha256:%x", sha256.Sum256(claim))
	})
	if out := search(all); !strings.Contains(out, "is not used: ") {
		t.Errorf("forged: %s", out)
	}
}

// forge changes the manifest under a tag.
func forge(t *testing.T, ref name.Reference, change func(m map[string]any)) {
	t.Helper()
	d, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(d.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+ref.Context().RegistryStr()+"/v2/"+ref.Context().RepositoryStr()+"/manifests/"+ref.Identifier(), bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", string(d.MediaType))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
}

// TestWorkflowRun: the check of a fork's pull request, made again in a workflow
// that may write, finds the pull request, its base, though that has moved on
// since, and comments.
func TestWorkflowRun(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	h.s.Token("bob-token", "bob", "write", "bob/none")
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.s.URL+"/repos/acme/modules/forks", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Authorization", "Bearer bob-token")
	post.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(post)
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%v: %v", resp, err)
	}
	resp.Body.Close()
	fork := h.s.Repo("bob", "modules")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-b", "topic")
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
	h.commit(t, "new")
	h.w.run(t, h.clone, "git", "push", "-q", "file://"+fork.Dir, "topic")
	head := h.head(t, "HEAD")
	h.branch(t, "main")
	write(t, filepath.Join(h.clone, "modules", "greet", "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: greet\ndescription: Greets.\n")
	h.commit(t, "main moves on")
	h.push(t, "main")
	number := h.repo.OpenPull("bob:topic", "main", "Change", "bob").Number
	w := h.user(t, "write-token")
	deep, shallow := filepath.Join(w.dir, "deep"), filepath.Join(w.dir, "shallow")
	w.run(t, w.dir, "git", "clone", "-q", "--filter=blob:none", "-b", "topic", h.s.URL+"/bob/modules", deep)
	w.run(t, w.dir, "git", "clone", "-q", "--depth=1", "-b", "topic", h.s.URL+"/bob/modules", shallow)
	check := func(dir, sha string) (string, error) {
		t.Helper()
		file := h.payload(t, "workflow_run.json", func(e map[string]any) {
			run := e["workflow_run"].(map[string]any)
			run["head_sha"], run["head_branch"] = sha, "topic"
			run["head_repository"].(map[string]any)["owner"].(map[string]any)["login"] = "bob"
		})
		out, err := w.command(dir, "modyard", "check", "--event", file).CombinedOutput()
		return string(out), err
	}
	if out, err := check(shallow, head); err == nil || !strings.Contains(out, "no common history") || !strings.Contains(out, "hint: check out with fetch-depth: 0") {
		t.Errorf("a shallow clone: %v: %s", err, out)
	}
	for _, sha := range []string{strings.Repeat("1", 40), head} {
		if out, err := check(deep, sha); err != nil || strings.Contains(out, "comment:") != (sha == head) {
			t.Errorf("%v: %s", err, out)
		}
	}
	if got := h.ours(number); len(got) != 1 || !strings.Contains(got[0], "modyard: good") || strings.Contains(got[0], "greet") {
		t.Errorf("comments %q", got)
	}
}

// TestNotOfThePull: a check of something else than the pull request says so, and
// not that it is good; an older one leaves the comment to the newer.
func TestNotOfThePull(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	number, event := h.newVersion(t, "word-count", "patch")
	head := h.head(t, "HEAD")
	run := h.payload(t, "workflow_run.json", func(e map[string]any) {
		run := e["workflow_run"].(map[string]any)
		run["head_sha"], run["head_branch"] = head, "topic"
		run["head_repository"].(map[string]any)["owner"].(map[string]any)["login"] = "acme"
	})
	h.branch(t, "main")
	for _, event := range []string{event, run} {
		if j := h.check(t, event, "GITHUB_TOKEN=write-token"); j.code != exitProblems || !strings.Contains(j.err, "is not of the pull request, whose last commit is "+head[:12]) || j.outputs != "" {
			t.Errorf("exit code %d: %s", j.code, j.all())
		}
	}
	if got := h.ours(number); len(got) != 0 {
		t.Errorf("comments %q", got)
	}
	h.w.run(t, h.clone, "git", "checkout", "-q", "topic")
	h.append(t, "notes", "x")
	h.commit(t, "more")
	h.push(t, "topic")
	now := h.head(t, "HEAD")
	newer := h.pullRequest(t, number, nil)
	for _, c := range []struct{ event, at, says string }{{newer, now, "comment: http"}, {event, head, "note: the pull request is at " + now[:12] + " by now"}} {
		h.w.run(t, h.clone, "git", "checkout", "-q", c.at)
		if j := h.check(t, c.event, "GITHUB_TOKEN=write-token"); j.code != exitGood || !strings.Contains(j.err, c.says) || !strings.Contains(j.summary, "Of <code>"+c.at[:12]+"</code>.") {
			t.Errorf("exit code %d: %s", j.code, j.all())
		}
	}
	if got := h.ours(number); len(got) != 1 || !strings.Contains(got[0], "Of <code>"+now[:12]+"</code>.") {
		t.Errorf("comments %q", got)
	}
}

// TestRequirementLines: the report says which packages came and went.
func TestRequirementLines(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	file := filepath.Join(h.clone, "modules", "word-count", "versions", "1.0.0.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hash := "--hash=sha256:" + strings.Repeat("0", 64)
	version := func(number, requirements string) {
		t.Helper()
		write(t, filepath.Join(h.clone, "modules", "word-count", "src", "requirements.txt"), requirements)
		with := strings.Replace(strings.ReplaceAll(string(text), "1.0.0", number), "\nrun:\n", "\nrun:\n  environment: {python: {version: \"3.9\", requirements: requirements.txt}}\n", 1)
		write(t, filepath.Join(filepath.Dir(file), number+".yaml"), with)
		h.w.run(t, h.clone, "modyard", "check", "--fix")
	}
	version("1.0.1", "# pinned\nnumpy==1.0.0 "+hash+"\npandas==2.0.0 \\\n    "+hash+"\n")
	h.commit(t, "one")
	h.push(t, "main")
	h.branch(t, "topic")
	version("1.0.2", "pandas==2.0.0 "+hash+"\nnumpy==1.1.0 "+hash+"\nevil==6.6.6 "+hash+"\n")
	h.commit(t, "two")
	h.push(t, "topic")
	number := h.repo.OpenPull("topic", "main", "Change", "alice").Number
	j := h.check(t, h.pullRequest(t, number, nil), "GITHUB_TOKEN=write-token")
	for _, want := range []string{"Requirements in <code>requirements.txt</code>:", "- <code>-numpy==1.0.0</code>\n- <code>&#43;evil==6.6.6</code>\n- <code>&#43;numpy==1.1.0</code>\n"} {
		if !strings.Contains(j.summary, want) {
			t.Errorf("the report lacks %q: %s", want, j.all())
		}
	}
	if !strings.Contains(j.err, "    +evil==6.6.6\n") || strings.Contains(j.summary, "pandas") {
		t.Errorf("%s", j.all())
	}
}

// TestMergedSince: what others have merged since the event is not of the pull
// request, where what is checked out is GitHub's merge of it with a newer base.
func TestMergedSince(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	old := h.head(t, "origin/main")
	number, _ := h.newVersion(t, "word-count", "patch")
	head := h.head(t, "HEAD")
	h.branch(t, "main")
	write(t, filepath.Join(h.clone, "modules", "greet", "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: greet\ndescription: Greets.\n")
	h.commit(t, "main moves on")
	h.push(t, "main")
	h.w.run(t, h.clone, "git", "checkout", "-q", "-B", "merge", "main")
	h.w.run(t, h.clone, "git", "merge", "-q", "--no-ff", "-m", "merge", head)
	j := h.check(t, h.pullRequest(t, number, func(e map[string]any) {
		pull := e["pull_request"].(map[string]any)
		pull["base"].(map[string]any)["sha"], pull["head"].(map[string]any)["sha"] = old, head
	}), "GITHUB_TOKEN=write-token")
	if j.code != exitGood || strings.Contains(j.all(), "greet") || !strings.Contains(j.summary, "word-count&#64;1.0.1") {
		t.Errorf("exit code %d: %s", j.code, j.all())
	}
	// A merge of somebody's own with what nobody has merged is none of GitHub's.
	h.branch(t, "evil")
	write(t, filepath.Join(h.clone, ".github", "workflows", "evil.yml"), "on: push\n")
	h.commit(t, "evil")
	h.w.run(t, h.clone, "git", "merge", "-q", "--no-ff", "-m", "merge", head)
	j = h.check(t, h.pullRequest(t, number, func(e map[string]any) {
		e["pull_request"].(map[string]any)["head"].(map[string]any)["sha"] = head
	}), "GITHUB_TOKEN=write-token")
	if j.code != exitProblems || !strings.Contains(j.err, "is not of the pull request") {
		t.Errorf("exit code %d: %s", j.code, j.all())
	}
}

// TestPublishEvents: what events publish that are not as usual.
func TestPublishEvents(t *testing.T) {
	t.Parallel()
	h := newHub(t, "images: "+imageHost(t)+"/acme\n")
	maintainer := h.user(t, "write-token")
	maintainer.env = append(maintainer.env, "GITHUB_REPOSITORY=acme/modules")
	publish := func(ref, before string) (string, int) {
		t.Helper()
		event := h.payload(t, "push.json", func(e map[string]any) { e["ref"], e["before"] = ref, before })
		cmd := maintainer.command(h.clone, "modyard", "publish", "--event", event, "--release", "--key", filepath.Join(h.w.dir, "key.pem"))
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	h.w.run(t, h.clone, "git", "fetch", "-q", "origin")
	for tag, want := range map[string]string{
		"infra/v2":           "note: the tag infra/v2 is of no module here",
		"infra/v2.0.0":       "note: the tag infra/v2.0.0 is of no module here",
		"word-coun/v1.0.0":   "nothing to publish; did you mean word-count/v1.0.0?",
		"word-count/v1.0":    "the tag word-count/v1.0 names no version",
		"word-count/v01.0.0": "names no version",
		"word-count/v7.0.0":  "version 7.0.0 of module \"word-count\" does not exist",
	} {
		h.w.run(t, h.clone, "git", "tag", tag)
		code := exitProblems
		if strings.Contains(want, "nothing to publish") || strings.HasPrefix(want, "note: ") {
			code = exitGood
		}
		if out, got := publish("refs/tags/"+tag, noCommit); got != code || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d: %s", tag, got, out)
		}
	}
	if n := len(h.repo.Releases()); n != 0 {
		t.Errorf("there are %d releases", n)
	}
	// A push that has replaced the branch says not what was added.
	if out, code := publish("refs/heads/main", strings.Repeat("1", 40)); code != exitGood || !strings.Contains(out, "which is gone") || len(h.repo.Releases()) != 1 {
		t.Errorf("a branch that was replaced: exit code %d: %s", code, out)
	}
	// To repeat costs no request a version.
	for range 12 {
		h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
	}
	h.commit(t, "many")
	h.push(t, "main")
	h.w.run(t, h.clone, "git", "fetch", "-q", "origin")
	for _, c := range []struct {
		name  string
		least int
		most  int
	}{{"the first time", 2 * 12, 60}, {"again", 1, 2}} {
		h.s.Forget()
		if out, code := publish("refs/heads/other", noCommit); code != exitGood || len(h.repo.Releases()) != 13 {
			t.Fatalf("exit code %d, %d releases: %s", code, len(h.repo.Releases()), out)
		}
		if got := h.s.Requests(); len(got) < c.least || len(got) > c.most {
			t.Errorf("%s: %d requests: %q", c.name, len(got), got)
		}
	}
}

// TestUpgradePull: newer versions are proposed to the repository that the
// pipeline's clone came from, whose files stay as they are.
func TestUpgradePull(t *testing.T) {
	h := newHub(t, "")
	h.s.Token("dev-token", "dev", "write", "acme/app")
	app := h.s.Repo("acme", "app")
	w := h.user(t, "dev-token")
	dir := filepath.Join(w.dir, "app")
	file := filepath.Join(dir, "ml", "pipeline.yaml")
	write(t, file, remotePipeline)
	write(t, filepath.Join(dir, "ml", "text.txt"), "one two three\n")
	w.run(t, dir, "git", "init", "-q", "-b", "main")
	w.run(t, dir, "modyard", "lock", "ml/pipeline.yaml")
	w.run(t, dir, "git", "add", "-A")
	w.run(t, dir, "git", "commit", "-q", "-m", "first")
	if out := w.fails(t, dir, "modyard", "upgrade", "--pr", "ml/pipeline.yaml"); !strings.Contains(out, "names no origin") {
		t.Errorf("no origin: %s", out)
	}
	w.run(t, dir, "git", "remote", "add", "origin", "file://"+app.Dir)
	w.run(t, dir, "git", "push", "-q", "origin", "main")
	if out := w.fails(t, dir, "modyard", "upgrade", "--pr", "ml/pipeline.yaml"); !strings.Contains(out, "came from elsewhere") {
		t.Errorf("another origin: %s", out)
	}
	w.run(t, dir, "git", "remote", "set-url", "origin", "git@github.com:acme/app.git")
	propose := func(want string, args ...string) {
		t.Helper()
		out, err := w.command(filepath.Join(dir, "ml"), "modyard", append([]string{"upgrade", "--pr", "pipeline.yaml"}, args...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	propose("nothing to propose: acme/app has it as it is")
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "minor")
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--version", "2.0.0", "--param", "kind:string=@all")
	h.w.run(t, h.clone, "modyard", "deprecate", "word-count@1.0.0", "--reason", "slow for @everyone")
	h.commit(t, "more")
	h.push(t, "main")
	propose("would write ml/pipeline.lock.yaml", "--dry-run")
	propose("opened acme/app#")
	propose("updated acme/app#", "--latest")
	pulls := app.Pulls()
	if len(pulls) != 1 || pulls[0].Title != "Upgrade word-count to 2.0.0" {
		t.Fatalf("the pull requests are %+v", pulls)
	}
	for _, want := range []string{"| <code>count</code> | <code>acme/word-count&#64;^1</code> | <code>1.0.0</code> | <code>2.0.0</code> |", "is deprecated: slow for &#64;&#8288;everyone", "kind"} {
		if !strings.Contains(pulls[0].Body, want) {
			t.Errorf("the text lacks %q: %s", want, pulls[0].Body)
		}
	}
	if got := app.Git("show", ""+branchOf("upgrade", "ml/pipeline.yaml", "")+":ml/pipeline.yaml"); got != strings.Replace(strings.TrimSpace(remotePipeline), "^1", "^2.0.0", 1) && got != strings.Replace(remotePipeline, "^1", "^2.0.0", 1) {
		t.Errorf("the pipeline is %s", got)
	}
	if got := app.Git("show", ""+branchOf("upgrade", "ml/pipeline.yaml", "")+":ml/pipeline.lock.yaml"); !strings.Contains(got, "version: 2.0.0") {
		t.Errorf("the lock is %s", got)
	}
	if out := w.run(t, dir, "git", "status", "--short"); out != "" {
		t.Errorf("the clone has changed: %s", out)
	}
	// What the latest does not fit is said by its place in the repository.
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--version", "3.0.0", "--param", "size:integer")
	h.commit(t, "breaking")
	h.push(t, "main")
	if out := w.fails(t, dir, "modyard", "upgrade", "--pr", "--latest", "ml/pipeline.yaml"); !strings.Contains(out, `ml/pipeline.yaml:`) || !strings.Contains(out, `param "size"`) || strings.Contains(out, "proposal") {
		t.Errorf("what does not fit: %s", out)
	}
}

// TestOpenedRegistry: a registry that a part of a command has opened is good
// for the others, when that part has ended.
func TestOpenedRegistry(t *testing.T) {
	h := newHub(t, "")
	env := map[string]string{"GITHUB_API_URL": h.s.URL, "GITHUB_TOKEN": "read-token", "MODYARD_STORE": filepath.Join(t.TempDir(), "store")}
	a := &app{ctx: t.Context(), stdio: stdio{out: io.Discard, err: io.Discard}, lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	part, end := context.WithCancel(t.Context())
	defer end()
	for _, ctx := range []context.Context{part, t.Context()} {
		reg, diags, err := a.openRegistry(ctx, "github.com/acme/modules", "", ".")
		end()
		if err == nil {
			err = diags.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
		if ctx == part {
			continue
		}
		m, diags, err := reg.Module("word-count")
		if err != nil || diags.Err() != nil || len(m.Versions) != 1 {
			t.Errorf("%v, %v, %v", m, diags, err)
		}
	}
}
